"""The HTTP upgrade: checks before a WebSocket opens."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from twisted.internet.interfaces import IAddress
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from typing_extensions import override

from rtchat.core.access.hosts import Target
from rtchat.core.access.rules import AccessList, AccessRule, Source
from rtchat.core.websocket.deflate import Agreement, Deflate, agree
from rtchat.errors import AccessDenied
from rtchat.net.connection.client_address import ClientAddress
from rtchat.net.twisted_internals import override_peer
from rtchat.net.web.channel import UpgradableConnection
from rtchat.net.web.requests import (
    RefusalPage,
    client_of,
    credentials_of,
    header_values,
    log_refusal,
    single_value,
)
from rtchat.net.websocket.factory import WebSockets
from rtchat.net.websocket.offers import OfferLog, declined_offers
from rtchat.net.websocket.transport import WebSocket
from rtchat.net.websocket.txws_adapter import clean_request
from rtchat.net.websocket.visitors import (
    UserNeeded,
    Visit,
    Visitors,
    ask_who,
    finish_with,
    log_in_page,
)
from rtchat.text import escaped

__all__ = ["STOMP_SUBPROTOCOLS", "UpgradeResource", "WebSocketResource"]


STOMP_SUBPROTOCOLS = ("v12.stomp", "v11.stomp", "v10.stomp")
"""Best first; the best one that the client offers is chosen."""

_REFUSED = (
    "This server's access list does not allow this connection.\n"
    "The server's log says why; the list is the section [access] of its configuration.\n"
)

_FULL = "Too many connections are open, in total or from your address; try again later.\n"
_RETRY_AFTER_S = "30"

_ANYBODY: frozenset[str] = frozenset()

_NOT_A_WEBSOCKET = (
    "This address speaks WebSocket: open it with new WebSocket(...) or a WebSocket client.\n"
)


@dataclass(frozen=True, slots=True)
class _Upgrade:
    """A valid WebSocket handshake.

    Attributes:
        key: ``Sec-WebSocket-Key``.
        subprotocol: The best one offered that is known, or None.
        agreed: The compression to agree upon, or None.
        declined: Sentences about what the client offers and the server cannot take.
    """

    key: str
    subprotocol: str | None
    agreed: Deflate | None
    declined: Sequence[str] = ()


def _read_upgrade(
    request: Request, known: Sequence[str], *, may_deflate: bool
) -> _Upgrade | RefusalPage:
    """Validate a handshake (RFC 6455, 4.2.1); return it, or the page that refuses it."""

    def tokens(name: str) -> list[str]:
        values = ",".join(header_values(request, name))
        return [token.strip() for token in values.split(",") if token.strip()]

    if request.method != b"GET":
        return RefusalPage(405, _NOT_A_WEBSOCKET, {"Allow": "GET"})
    wants = {token.lower() for token in tokens("Upgrade")}
    if "websocket" not in wants:
        return RefusalPage(426, _NOT_A_WEBSOCKET, {"Upgrade": "websocket"})
    if request.clientproto != b"HTTP/1.1":
        return RefusalPage(400, "A WebSocket begins with an HTTP/1.1 request.\n")
    if "upgrade" not in {token.lower() for token in tokens("Connection")}:
        return RefusalPage(400, "The header Connection: Upgrade is missing.\n")
    if tokens("Sec-WebSocket-Version") != ["13"]:
        text = "This server speaks version 13 of the WebSocket protocol (RFC 6455).\n"
        return RefusalPage(426, text, {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"})
    keys = header_values(request, "Sec-WebSocket-Key")
    try:
        is_key = len(keys) == 1 and len(base64.b64decode(keys[0], validate=True)) == 16
    except (binascii.Error, ValueError):
        is_key = False
    if not is_key:
        return RefusalPage(400, "Sec-WebSocket-Key must be 16 bytes in base64, once.\n")
    extensions = ",".join(header_values(request, "Sec-WebSocket-Extensions"))
    try:
        agreement = agree(extensions)
    except ValueError as error:
        return RefusalPage(400, f"{error}.\n")
    offered = tokens("Sec-WebSocket-Protocol")
    chosen = next((name for name in known if name in offered), None)
    declined: Sequence[str] = ()
    if not may_deflate:
        agreement = Agreement(None, agreement.unknown)
    if agreement.unknown or agreement.unmet or (offered and chosen is None):
        declined = declined_offers(offered if chosen is None else (), known, agreement)
    return _Upgrade(keys[0].strip(), chosen, agreement.deflate, declined)


class UpgradeResource(Resource):
    """A path that accepts WebSockets from the sources that the access list allows.

    Args:
        visitors: Finds out who uses a page, for the rules that ask; None if there are none.

    Attributes:
        subprotocols: The sub-protocols it speaks, best first.
        visitors: As above.
    """

    isLeaf = True
    subprotocols: Sequence[str] = STOMP_SUBPROTOCOLS

    def __init__(self, visitors: Visitors | None = None) -> None:
        super().__init__()
        self.visitors = visitors
        self._offer_log = OfferLog()

    @override
    def render(self, request: Request) -> bytes | int:
        if request.method == b"OPTIONS":
            request.setHeader(b"Allow", b"GET, OPTIONS")
            return b""
        source = Source(
            single_value(header_values(request, "Origin")),
            single_value(header_values(request, "Host")),
            bool(request.isSecure()),
        )
        whos = _ANYBODY
        try:
            websockets = self.open(source, request)
        except AccessDenied as error:
            log_refusal(request, str(error))
            return RefusalPage(403, _REFUSED).render(request)
        except UserNeeded as needed:
            websockets, whos = needed.websockets, needed.whos
        upgrade = _read_upgrade(request, self.subprotocols, may_deflate=websockets.deflate)
        if isinstance(upgrade, RefusalPage):
            log_refusal(request, f"{source} sent no WebSocket handshake: {upgrade.text.strip()}")
            return upgrade.render(request)
        refusal = self._busy(request, source, websockets)
        if refusal is not None:
            return refusal.render(request)
        if upgrade.declined:
            self._offer_log.note(request, upgrade.declined)
        if whos:
            self._ask(request, source, websockets, upgrade, whos)
        else:
            _accept(request, source, websockets, upgrade)
        return NOT_DONE_YET

    def _busy(self, request: Request, source: Source, websockets: WebSockets) -> RefusalPage | None:
        """Return the page that refuses one more client, if it has to be refused."""
        if websockets.is_stopping:
            log_refusal(request, f"{source} came while the server was stopping")
            return RefusalPage(503, "The server is shutting down; try again in a moment.\n")
        if self.is_full(client_of(request)):
            return RefusalPage(503, _FULL, {"Retry-After": _RETRY_AFTER_S})
        return None

    def _ask(
        self,
        request: Request,
        source: Source,
        websockets: WebSockets,
        upgrade: _Upgrade,
        whos: frozenset[str],
    ) -> None:
        """Open the WebSocket once it is known who asks for it, if that is one of those who may."""

        def known(found: Visit | RefusalPage) -> None:
            if isinstance(found, RefusalPage):
                log_refusal(request, f"its rules let in {', '.join(sorted(whos))}")
                finish_with(request, found.render(request))
                return
            refusal = self._busy(request, source, websockets)
            if not found.may(whos):
                who = (
                    f"the user {escaped(found.user)}" if found.user else "a visitor without a user"
                )
                log_refusal(request, f"its rules let in {', '.join(sorted(whos))}, not {who}")
                refusal = RefusalPage(403, _REFUSED) if found.user else log_in_page()
            channel = cast(UpgradableConnection, request.channel)
            if refusal is not None:
                found.leave()
                finish_with(request, refusal.render(request))
            elif channel.has_client_ended:
                found.leave()
                channel.loseConnection()
            else:
                early = channel.take_unhandled()
                protocol = _accept(request, source, websockets, upgrade, found, whos)
                if early:
                    protocol.dataReceived(early)

        assert self.visitors is not None  # or open() would have refused it
        ask_who(request, self.visitors, known)

    def is_full(self, client: IAddress) -> bool:
        """Return whether there is no room for one more client, after a line in the log."""
        return False

    def open(self, source: Source, request: Request) -> WebSockets:
        """Return the factory that serves the WebSocket.

        Raises:
            AccessDenied: The access list does not allow it to this source.
            UserNeeded: It depends on who uses the page.
        """
        raise AccessDenied(f"nothing is served at {request.path!r}")


def _accept(
    request: Request,
    source: Source,
    websockets: WebSockets,
    upgrade: _Upgrade,
    visit: Visit | None = None,
    whos: frozenset[str] = _ANYBODY,
) -> WebSocket:
    """Open the WebSocket; for a visit, watch it from its beginning."""
    address = client_of(request)
    channel = cast(UpgradableConnection, request.channel)
    override_peer(channel.transport, address)
    user = "" if visit is None else visit.user
    protocol: WebSocket = websockets.buildProtocol(ClientAddress.at(address, source.origin, user))
    if visit is not None:
        visit.begin(whos, protocol)
    if websockets.wants_credentials:
        protocol.request_headers = credentials_of(request)
    channel.upgrade_to(protocol)
    protocol.accept(clean_request(upgrade.key), upgrade.subprotocol, upgrade.agreed)
    return protocol


class WebSocketResource(UpgradeResource):
    """A WebSocket of your own; the rest of the path does not matter.

    It must be in the resource tree of a :class:`~rtchat.net.web.site.PageSite`, or be its root.

    Args:
        websockets: The factory that serves the clients.
        sources: Whose pages may open it: ``self`` (pages of the same origin), ``host[:port]`` of an
            origin, or ``*``. A client without an Origin is not a browser, and matches ``self``.
        subprotocols: The sub-protocols it speaks, best first.

    Raises:
        ValueError: A source is none of these.
    """

    def __init__(
        self,
        websockets: WebSockets,
        *,
        sources: Iterable[str] = ("self",),
        subprotocols: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self._websockets = websockets
        self._here = Target("websocket", 1)  # a name for the access list only
        rules = [AccessRule.parse(f"{source} -> {self._here}") for source in sources]
        for rule in rules:
            if rule.who:
                raise ValueError(
                    f"{rule.source} {rule.who} is not a source: nothing asks who it is"
                )
        self._access = AccessList(rules)
        self.subprotocols = subprotocols

    @override
    def open(self, source: Source, request: Request) -> WebSockets:
        self._access.check(source, self._here)
        return self._websockets
