"""Closing all connections of a factory on shutdown, and waiting for the last to go."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred

__all__ = ["Drain"]

P = TypeVar("P")


class Drain(Generic[P]):
    """A mix-in for a factory that can close all its connections.

    Attributes:
        protocols: The protocols of the connections that are open now.
    """

    protocols: Collection[P]
    _drained: Deferred[None] | None = None

    def drain(self, close: Callable[[P], object]) -> Deferred[None]:
        """Close every connection.

        Args:
            close: Called with each protocol; begins to close its connection.

        Returns:
            Fires when the last connection is gone.
        """
        drained: Deferred[None] = Deferred()
        self._drained = drained
        for protocol in list(self.protocols):
            close(protocol)
        self.connection_ended()
        return drained

    def connection_ended(self) -> None:
        """Note that ``protocols`` has become smaller; call it after each connection's end."""
        if self._drained is not None and not self.protocols:
            drained, self._drained = self._drained, None
            drained.callback(None)
