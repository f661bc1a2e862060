"""Statistics of a broker."""

from __future__ import annotations

from collections.abc import Mapping

from rtchat.core.broker.browser import Browsers
from rtchat.core.broker.queue import Queue
from rtchat.core.broker.reply_queues import ReplyQueues
from rtchat.core.broker.router import Router

__all__ = ["Statistics"]


class Statistics:
    """Current counts of topics, queues, messages and subscriptions.

    Args:
        router: The router, with its topics and providers.
        queues: The queues, by name.
        reply_queues: The temporary queues.
        browsers: The browsers of queues.
    """

    __slots__ = ("_browsers", "_queues", "_reply_queues", "_router")

    def __init__(
        self,
        router: Router,
        queues: Mapping[str, Queue],
        reply_queues: ReplyQueues,
        browsers: Browsers,
    ) -> None:
        self._browsers = browsers
        self._router = router
        self._queues = queues
        self._reply_queues = reply_queues

    @property
    def topic_count(self) -> int:
        """The number of topics and patterns with subscriptions."""
        return len(self._router.topics) + sum(
            provider.topic_count for provider in self._router.providers
        )

    @property
    def queue_count(self) -> int:
        """The number of queues with messages or consumers."""
        return len(self._queues)

    @property
    def queued_count(self) -> int:
        """The number of messages in queues, unacknowledged ones included."""
        return sum(map(len, self._queues.values()))

    @property
    def subscription_count(self) -> int:
        """The number of subscriptions of all kinds."""
        return (
            sum(map(len, self._router.topics.values()))
            + sum(provider.subscription_count for provider in self._router.providers)
            + sum(queue.consumer_count for queue in self._queues.values())
            + len(self._reply_queues)
            + len(self._browsers)
        )
