"""How many queues each session has created."""

from __future__ import annotations

from rtchat.errors import LimitExceeded

__all__ = ["NewQueues"]


class NewQueues:
    """Counts the queues that exist, by the session that created them, while that is there."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def admit(self, creator: str, limit: int, more: int = 1) -> None:
        """Make sure that a session may create so many queues more.

        Raises:
            LimitExceeded: It may not.
        """
        if self._counts.get(creator, 0) + more > limit:
            raise LimitExceeded(
                f"more than {limit} queues created",
                "Queues that this session has created and that still have messages or consumers "
                "count. The limit is queue.max_per_session of the server.",
            )

    def created(self, creator: str) -> None:
        """Count a queue; the server's own, with "" as creator, are not counted."""
        if creator:
            self._counts[creator] = self._counts.get(creator, 0) + 1

    def removed(self, creator: str) -> None:
        """Count a queue no more: it is unused."""
        if creator in self._counts:
            self._counts[creator] -= 1

    def forget(self, creator: str) -> None:
        """Forget a session that has ended."""
        self._counts.pop(creator, None)
