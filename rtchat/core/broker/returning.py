"""The return of what ended sessions have not acknowledged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter

from rtchat.core.broker.queue import Queue
from rtchat.core.broker.subscription import Entry, Source, Subscription
from rtchat.core.flow.outbound import Cork
from rtchat.core.flow.turns import TURN_WORK

__all__ = ["return_all"]

_MOST_RETURNED = 250
"""So many messages are returned before the length of the turn is looked at."""

_seq_of = attrgetter("seq")


def return_all(
    holders: Mapping[Source, Sequence[Subscription]], cork: Cork, *, has_failed: bool
) -> Iterator[None]:
    """Return all unacknowledged messages; yield where the turn has to end.

    Args:
        holders: For each source, the ended subscriptions with its messages.
        cork: The cork of the server.
        has_failed: Whether the oldest delivery of each subscription counts as failed.
    """
    for source, subscriptions in holders.items():
        if cork.work >= TURN_WORK:
            yield
        entries: list[Entry] = []
        for subscription in subscriptions:
            some = subscription.take_all()
            if some and has_failed:
                some[0].failures += 1
            entries += some
        cork.work += len(entries) // 2
        if isinstance(source, Queue):
            yield from _return_to(source, entries, cork)
        else:
            source.returned(entries, requeue=True)


def _return_to(queue: Queue, entries: list[Entry], cork: Cork) -> Iterator[None]:
    """Return messages to their queue.

    Until the last one is counted as returned, no consumer gets any of them: the next one gets them
    in their original order.
    """
    queue.forget_leavers()
    entries.sort(key=_seq_of)
    kept: list[Entry] = []
    for start in range(0, len(entries), _MOST_RETURNED):
        if cork.work >= TURN_WORK:
            yield
        kept += queue.keep_or_reject(entries[start : start + _MOST_RETURNED], requeue=True)
    queue.take_back(kept)
