"""Statistics of a broker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sized

from rtchat.core.broker.browser import Browsers
from rtchat.core.broker.queue import Queue
from rtchat.core.broker.reply_queues import ReplyQueues
from rtchat.core.broker.router import Router
from rtchat.core.flow.outbound import Cork
from rtchat.core.flow.turns import TURN_WORK

__all__ = ["Statistics"]

_MANY = 1000
"""With more queues and topics, their contents are counted in parts."""

_FRESH_S = 1.0
"""So long such a count holds."""

_COUNTED_AT_ONCE = 100
_COUNT_WORK = 25


class Statistics:
    """Current counts of topics, queues, messages and subscriptions.

    Args:
        router: The router, with its topics and providers.
        queues: The queues, by name.
        reply_queues: The temporary queues.
        browsers: The browsers of queues.
        cork: The cork of the server.
    """

    __slots__ = (
        "_browsers",
        "_cork",
        "_counted",
        "_counting",
        "_queues",
        "_reply_queues",
        "_router",
        "_when",
    )

    def __init__(
        self,
        router: Router,
        queues: Mapping[str, Queue],
        reply_queues: ReplyQueues,
        browsers: Browsers,
        cork: Cork,
    ) -> None:
        self._cork = cork
        self._counted = (0, 0, 0)
        self._counting: Iterator[None] | None = None
        self._when: float | None = None  # when the last count began
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
        """The number of messages in queues, unacknowledged ones included.

        With very many queues it is as of some time ago; see :meth:`_count`.
        """
        return self._count()[0]

    @property
    def subscription_count(self) -> int:
        """The number of subscriptions of all kinds; with very many topics as of some time ago."""
        _, consumers, subscribers = self._count()
        return (
            subscribers
            + sum(provider.subscription_count for provider in self._router.providers)
            + consumers
            + len(self._reply_queues)
            + len(self._browsers)
        )

    def _count(self) -> tuple[int, int, int]:
        """Return how many messages and consumers queues have, and how many subscriptions topics.

        Anyone may ask. So where there are many queues or topics, a question has them counted again
        in turns of their own, if that was not done within the last second, and the answer is the
        count before. Only the first one is made at once.
        """
        queues, topics = self._queues, self._router.topics
        if len(queues) + len(topics) <= _MANY or self._when is None:
            self._when = None if len(queues) + len(topics) <= _MANY else self._cork.ticks
            self._counted = (
                sum(map(len, queues.values())),
                sum(queue.consumer_count for queue in queues.values()),
                sum(map(len, topics.values())),
            )
        elif self._counting is None and not self._when <= self._cork.ticks < self._when + _FRESH_S:
            self._when = self._cork.ticks
            self._counting = self._count_again()
            self._cork.put_off(self._go_on)
        return self._counted

    def _go_on(self) -> None:
        """Go on counting."""
        assert self._counting is not None
        for _ in self._counting:
            self._cork.work += _COUNT_WORK
            if self._cork.work >= TURN_WORK:
                self._cork.put_off(self._go_on)
                return
        self._counting = None

    def _count_again(self) -> Iterator[None]:
        """Count; stop after some."""
        messages = consumers = subscribers = 0
        every: list[Sized] = [*self._queues.values(), *self._router.topics.values()]
        for number, one in enumerate(every):
            if isinstance(one, Queue):
                messages += len(one)
                consumers += one.consumer_count
            else:
                subscribers += len(one)
            if number % _COUNTED_AT_ONCE == 0:
                yield
        self._counted = messages, consumers, subscribers
