"""Rights: what sessions may read and write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from rtchat.errors import NoRight

__all__ = ["Rights"]

_MAX_PARTS = 256
"""How much equal rights remember, in parts of routes of some 200 bytes: each user may have rights
of its own. A route has one, one for each target, and one for each 64 characters of its name."""


class _Target(Protocol):
    """One destination that gets a SEND."""

    @property
    def name(self) -> str:
        """The destination."""


class _Route(Protocol):
    """The route of a SEND; see :class:`~rtchat.core.broker.router.Route`."""

    @property
    def destination(self) -> str:
        """The destination, which may be composite."""

    @property
    def is_small(self) -> bool:
        """Whether it may be remembered."""

    @property
    def targets(self) -> Sequence[_Target]:
        """All that get it."""


class Rights:
    """What sessions may read and write; those with equal rights share one.

    Heads of SENDs are shared by all sessions, so what a head remembers says nothing about rights.
    What was found out is remembered here.

    Args:
        may_read: Returns whether they may subscribe to a destination or pattern.
        may_write: Returns whether they may send to a destination, which is not composite.
        work: The work of either; see :mod:`rtchat.core.flow.turns`.

    Attributes:
        may_read, may_write, work: As above.
        routes: The routes that they may send to, as far as they have tried.
    """

    __slots__ = ("__weakref__", "_parts", "may_read", "may_write", "routes", "work")

    def __init__(
        self, may_read: Callable[[str], bool], may_write: Callable[[str], bool], work: int = 1
    ) -> None:
        self.may_read = may_read
        self.may_write = may_write
        self.work = work
        self.routes: set[_Route] = set()
        self._parts = 0

    def check_read(self, destination: str) -> None:
        """Check a SUBSCRIBE.

        Args:
            destination: A destination or pattern.

        Raises:
            NoRight: They may not read all that it stands for.
        """
        if not self.may_read(destination):
            raise NoRight("read", destination)

    def check_write(self, route: _Route) -> int:
        """Check a SEND, each destination that gets it.

        Args:
            route: The route.

        Returns:
            The work of it.

        Raises:
            NoRight: They may not write to one of them.
        """
        if route in self.routes:
            return 0
        for target in route.targets:
            if not self.may_write(target.name):
                # A name that the client has not written is not revealed.
                is_own = target.name in map(str.strip, route.destination.split(","))
                raise NoRight("write", target.name if is_own else route.destination)
        if route.is_small:  # others are not remembered anywhere, and may be many bytes
            parts = 1 + len(route.targets) + len(route.destination) // 64
            self._parts += parts
            if self._parts > _MAX_PARTS:
                self.routes.clear()
                self._parts = parts
            self.routes.add(route)
        return len(route.targets) * self.work
