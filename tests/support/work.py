"""The work that turns say they have done."""

from __future__ import annotations

from support.core import Server

__all__ = ["each_turn"]


def each_turn(server: Server) -> list[int]:
    """Return a list that gets the work of each turn."""
    cork = server.broker.cork
    work: list[int] = []

    class Noting(type(cork)):  # type: ignore[misc]
        def __exit__(self, *_: object) -> None:
            super().__exit__()
            work.append(self.work)

        __slots__ = ()

    cork.__class__ = Noting
    return work
