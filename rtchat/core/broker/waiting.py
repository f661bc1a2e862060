"""Sessions that wait before a SEND or COMMIT takes effect, in lines by destination."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Waiter", "WaitingLines"]


class Waiter(Protocol):
    """A session, as far as it may have to wait. Waiters are compared by identity."""

    @property
    def can_hold_deliveries(self) -> bool:
        """Whether it may hold deliveries while it waits."""

    def stop_waiting(self) -> None:
        """Called when it may try its frame again; it is in no line any more."""


class WaitingLines:
    """The sessions that wait, by destination, in the order of their arrival.

    A session waits in one line at a time, and none of its frames is processed meanwhile.
    """

    __slots__ = ("_holders", "_lines", "_places")

    def __init__(self) -> None:
        self._lines: dict[str, dict[Waiter, None]] = {}
        self._places: dict[object, str] = {}
        self._holders: dict[Waiter, str] = {}  # those of them that may hold deliveries

    def __contains__(self, name: str) -> bool:
        """Return whether any session waits for this destination."""
        return name in self._lines

    def join(self, name: str, waiter: Waiter) -> None:
        """Add a session at the end of a line."""
        self._lines.setdefault(name, {})[waiter] = None
        self._places[waiter] = name
        if waiter.can_hold_deliveries:
            self._holders[waiter] = name

    def leave(self, waiter: Waiter) -> None:
        """Remove a session, which may be in no line."""
        name = self._places.pop(waiter, None)
        if name is not None:
            self._holders.pop(waiter, None)
            line = self._lines[name]
            del line[waiter]
            if not line:
                del self._lines[name]

    def resume(self, waiter: Waiter) -> None:
        """Remove a session from its line, and let it try its frame again."""
        self.leave(waiter)
        waiter.stop_waiting()

    def resume_first(self, name: str) -> None:
        """Resume the session that has waited longest for a destination."""
        self.resume(next(iter(self._lines[name])))

    def line(self, name: str) -> list[Waiter]:
        """Return the sessions that wait for a destination, in order."""
        return list(self._lines.get(name, ()))

    def place_of(self, session: object) -> str:
        """Return the destination that a session waits for; "" if it does not wait."""
        return self._places.get(session, "")

    def places_of_holders(self) -> set[str]:
        """Return what the waiting sessions wait for that may hold deliveries."""
        return set(self._holders.values())
