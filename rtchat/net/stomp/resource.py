"""``/ws``: STOMP over WebSocket, straight into the broker."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.interfaces import IAddress
from twisted.web.server import Request
from typing_extensions import override

from rtchat.core.access.hosts import Target
from rtchat.core.access.rules import AccessList, Source
from rtchat.errors import AccessDenied
from rtchat.net.connection.limits import SourceLimiter
from rtchat.net.websocket.factory import WebSockets
from rtchat.net.websocket.upgrade import UpgradeResource
from rtchat.net.websocket.visitors import UserNeeded, Visitors

__all__ = ["StompSocket"]


class StompSocket(UpgradeResource):
    """``/ws``: STOMP straight into the broker.

    Args:
        websockets: Serves the clients.
        access: The access list.
        targets: The names of this server's own STOMP listeners. A source that may reach one of
            them through the gateway may reach the broker here. Read for every request, because
            the list grows while the ports open.
        limiter: Says whether there is room for one more client; by default there always is.
        visitors: Finds out who uses a page, for the rules that ask; None if there are none.
    """

    def __init__(
        self,
        websockets: WebSockets,
        access: AccessList,
        targets: Sequence[Target],
        limiter: SourceLimiter | None = None,
        visitors: Visitors | None = None,
    ) -> None:
        super().__init__(visitors)
        self._limiter = limiter
        self._websockets = websockets
        self._access = access
        self._targets = targets

    @override
    def open(self, source: Source, request: Request) -> WebSockets:
        if any(self._access.allows(source, target) for target in self._targets):
            if self._access.asks:
                self._check_who(source)
            return self._websockets
        if not self._targets:
            raise AccessDenied("there is no stomp:// listener whose clients could come here")
        self._access.check(source, self._targets[0])
        return self._websockets

    def _check_who(self, source: Source) -> None:
        """Raise ``UserNeeded`` unless a rule lets anybody in from this source."""
        whos = self._access.who_may_choose(source, self._targets)
        if not whos:
            return
        if self.visitors is None:
            raise AccessDenied("its rules ask for a user, and nothing knows any")
        raise UserNeeded(self._websockets, whos)

    @override
    def is_full(self, client: IAddress) -> bool:
        return self._limiter is not None and self._limiter.refused(client) is not None
