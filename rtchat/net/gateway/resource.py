"""``/tcp/HOST:PORT``: the gateway's resource."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.web.server import Request
from typing_extensions import override

from rtchat.core.access.hosts import Target
from rtchat.core.access.rules import AccessList, Source
from rtchat.errors import AccessDenied
from rtchat.net.gateway.targets import Targets
from rtchat.net.web.requests import header_values
from rtchat.net.websocket.factory import WebSockets
from rtchat.net.websocket.upgrade import STOMP_SUBPROTOCOLS, UpgradeResource
from rtchat.net.websocket.visitors import UserNeeded, Visitors

__all__ = ["TcpSocket"]


_MAX_KNOWN = 256  # decisions kept: pairs of a page and a path; each takes a few hundred bytes


class TcpSocket(UpgradeResource):
    """``/tcp/HOST:PORT``: a WebSocket to any target that the access list allows.

    ``/tcp/`` alone lists these targets.

    Args:
        access: The access list.
        websockets: Returns the factory that serves the WebSockets to one target.
        own: This server's own STOMP listeners, which ``/tcp/`` marks.
        visitors: Finds out who uses a page, for the rules that ask; None if there are none.
    """

    # MQTT is the same over WebSocket and TCP, and its clients in browsers require the name.
    subprotocols = (*STOMP_SUBPROTOCOLS, "mqtt", "binary")

    def __init__(
        self,
        access: AccessList,
        websockets: Callable[[Target], WebSockets],
        own: Sequence[Target] = (),
        visitors: Visitors | None = None,
    ) -> None:
        super().__init__(visitors)
        self._access = access
        self._websockets = websockets
        self._targets = Targets(access, own, visitors)
        self._known: dict[tuple[Source, bytes], WebSockets] = {}

    @override
    def render(self, request: Request) -> bytes | int:
        # Any other protocol to upgrade to, such as h2c, is ignored ("A server MAY ignore a received
        # Upgrade header field", RFC 9110, 7.8).
        wanted = ",".join(header_values(request, "Upgrade")).lower()
        if request.postpath == [b""] and "websocket" not in wanted and request.method != b"OPTIONS":
            answer: bytes | int = self._targets.render(request)
            return answer
        return super().render(request)

    @override
    def open(self, source: Source, request: Request) -> WebSockets:
        # The rules do not change while the server runs, so a decision holds. One that depends on
        # who uses the page is made each time.
        asked = (source, request.path)
        if (known := self._known.get(asked)) is not None:
            return known
        # The raw path, not request.postpath: decoding escapes could only disguise a target.
        raw = b"/".join(request.path.split(b"/")[1 + len(request.prepath or ()) :])
        try:
            target = Target.parse(raw.decode("ascii"))
        except ValueError as error:
            raise AccessDenied(f"not HOST:PORT ({error})") from None
        whos = self._access.who_may(source, target)
        if whos and self.visitors is None:
            raise AccessDenied(f"its rules ask for a user, and nothing knows any: {target}")
        websockets = self._websockets(target)
        if whos:
            raise UserNeeded(websockets, whos)
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[asked] = websockets
        return websockets
