"""The resource tree: the page, its files, ``/ws``, ``/tcp/HOST:PORT`` and ``/health``."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import cast

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from twisted.web.static import File
from typing_extensions import override

from rtchat.core.access.addresses import AddressList
from rtchat.core.access.rules import AccessList, AccessRule, HostList, Source, Target
from rtchat.core.websocket.deflate import agree
from rtchat.errors import AccessDenied
from rtchat.net.connection.front_proxy import Client, named_client, speak_for
from rtchat.net.connection.limits import Crowd
from rtchat.net.connection.transport import address_name, as_stream, shown
from rtchat.net.gateway.targets import Targets
from rtchat.net.web.channel import PageChannel
from rtchat.net.websocket.transport import WebSockets

__all__ = ["PageFiles", "PageSite", "StompSocket", "TcpSocket", "WebSocketResource", "page_tree"]

_log = Logger()

_MAX_KNOWN = 256  # ways from a page to a target that need no second check; each is a few lines

STOMP_SUBPROTOCOLS = ("v12.stomp", "v11.stomp", "v10.stomp")
"""Highest first: the highest one offered is chosen."""

_REFUSED = (
    "This server's access list does not allow this connection.\n"
    "The server's log says why; the list is the section [access] of its configuration.\n"
)
_NOT_A_WEBSOCKET = (
    "This address speaks WebSocket: open it with new WebSocket(...) or a WebSocket client.\n"
)
_MISDIRECTED = (
    "This server does not answer to the name in the address.\n"
    "Its log says which line of the configuration lets it do so.\n"
)

# Old pages ask for Orbited's files; ours have the same names in them.
_ALIASES = {
    ("Orbited.js",): "tcpsocket.js",
    ("protocols", "stomp", "stomp.js"): "stomp.js",
}

_CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
}


class PageSite(Site):
    """The web server; answers only to names that are its own.

    Args:
        tree: What it serves.
        hosts: The names it answers to; this stops DNS rebinding.
        clock: Where time-outs of idle HTTP connections run.
        trusted: The front proxies whose ``X-Forwarded-For`` is believed.
        handshake_timeout_s: How long the head of a request may take.
        crowd: Counts the connections; without one there may be any number.
    """

    protocol = PageChannel  # type: ignore[assignment]  # HTTP/1.1 only, without the h2 wrapper
    noisy = False

    def __init__(
        self,
        tree: IResource,
        hosts: HostList,
        clock: IReactorTime,
        *,
        trusted: AddressList | None = None,
        handshake_timeout_s: float = 10.0,
        crowd: Crowd | None = None,
    ) -> None:
        super().__init__(tree, reactor=clock)
        self.displayTracebacks = False
        self.clock = clock
        self.handshake_timeout_s = handshake_timeout_s
        self.crowd = crowd or Crowd(clock)
        self._is_own_name = lru_cache(maxsize=256)(hosts.allows)
        self._trusted = trusted or AddressList()

    def client_of(self, request: Request) -> IAddress:
        """Tell who asks: the other end, or whom a front proxy names that may do so."""
        peer = as_stream(request.channel.transport).getPeer()
        return named_client(peer, _values(request, "X-Forwarded-For"), self._trusted)

    @override
    def getResourceFor(self, request: Request) -> IResource:
        request.setHeader(b"Server", b"rtchat")
        request.setHeader(b"X-Content-Type-Options", b"nosniff")
        given = _values(request, "Host")
        host = given[0] if given else None
        if len(given) > 1 or not self._is_own_name(host):
            name = (host or "").rpartition(":")[0] or host or ""
            _log.warn(
                "{peer}: refused {path}: Host {host} is none of this server's names. If it is "
                "one, add it to the configuration: [global] hosts = {name}",
                peer=_peer(request),
                path=_shown_path(request),
                host=shown(", ".join(given)),
                name=shown(name)[1:-1],
            )
            return _Refusal(421, _MISDIRECTED)
        resource: IResource = super().getResourceFor(request)
        return resource

    @override
    def log(self, request: object) -> None:
        """Leave ordinary requests out of the log; refusals have lines of their own."""


class _Refusal(Resource):
    """Answers every request with the same status and text."""

    isLeaf = True

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._status = status
        self.text = text
        self._headers = dict(headers or {})

    @override
    def render(self, request: Request) -> bytes:
        request.setResponseCode(self._status)
        request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        for name, value in self._headers.items():
            request.setHeader(name, value)
        if self._status not in (404, 421):
            # A client that was refused need not keep the connection.
            request.setHeader(b"Connection", b"close")
            request.channel.persistent = False
        return self.text.encode()


# The page's files


class _Files(File):
    """Files for everybody to read; a folder is not listed."""

    @override
    def directoryListing(self) -> IResource:
        return self.childNotFound

    @override
    def getChild(self, path: bytes, request: Request) -> IResource:
        try:
            is_name = "\0" not in path.decode("utf-8")
        except UnicodeDecodeError:
            is_name = False
        if not is_name:
            return self.childNotFound
        resource: IResource = super().getChild(path, request)
        return resource

    @override
    def createSimilarFile(self, path: str) -> File:
        similar = type(self)(path, self.defaultType, self.ignoredExts)
        similar.contentTypes = self.contentTypes
        similar.contentEncodings = self.contentEncodings
        similar.indexNames = self.indexNames
        return similar

    childNotFound = _Refusal(404, "There is nothing at this address.\n")  # type: ignore[assignment]


class PageFiles(_Files):
    """The page's own files, with what a browser must know to keep them safe."""

    contentTypes = {**File.contentTypes, **_CONTENT_TYPES}  # noqa: N815, RUF012

    def frame_ancestors(self) -> str:
        """Say whose pages may show this in a frame, as a Content-Security-Policy does."""
        return "'self'"

    @override
    def render_GET(self, request: Request) -> bytes | int:
        host = (_values(request, "Host") or [""])[0]
        own = f" ws://{host} wss://{host}" if host else ""
        request.setHeader(
            "Content-Security-Policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
            f"connect-src 'self'{own}; manifest-src 'self'; base-uri 'none'; "
            f"form-action 'self'; frame-ancestors {self.frame_ancestors()}",
        )
        request.setHeader("Referrer-Policy", "no-referrer")
        # Pages on other ports and hosts may load stomp.js and tcpsocket.js, as modules too.
        request.setHeader("Access-Control-Allow-Origin", "*")
        request.setHeader("Cross-Origin-Resource-Policy", "cross-origin")
        request.setHeader("Cache-Control", "no-cache")
        result: bytes | int = super().render_GET(request)
        return result

    render_HEAD = render_GET


def page_tree(
    static: Path, mounts: Mapping[str, Path], children: Mapping[str, IResource]
) -> Resource:
    """Build the tree that a :class:`PageSite` serves.

    Args:
        static: The folder with the page's files; its ``index.html`` is ``/``.
        mounts: More files and folders by the name they get.
        children: ``ws``, ``tcp``, ``health``, … by name.
    """
    root = Resource()
    files = PageFiles(str(static))
    root.putChild(b"static", files)
    root.putChild(b"", PageFiles(str(static / "index.html")))
    root.putChild(b"favicon.ico", PageFiles(str(static / "favicon.svg")))
    for alias, name in _ALIASES.items():
        folder: Resource = files
        for segment in alias[:-1]:
            child = folder.children.get(segment.encode())
            if child is None:
                child = Resource()
                folder.putChild(segment.encode(), child)
            folder = child
        folder.putChild(alias[-1].encode(), PageFiles(str(static / name)))
    for name, path in mounts.items():
        mount = _Files(str(path))
        mount.contentTypes = {**File.contentTypes, **_CONTENT_TYPES}
        root.putChild(name.encode(), mount)
    for name, resource in children.items():
        root.putChild(name.encode(), resource)
    return root


# WebSockets


@dataclass(frozen=True, slots=True)
class _Upgrade:
    """A WebSocket handshake that is in order."""

    key: str
    subprotocol: str | None
    extensions: str

    def request(self) -> bytes:
        """Give the request anew, clean, with the header names that txWS looks for.

        Its path is of no use any more, and not every path is text that txWS could read.
        """
        return (
            "GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {self.key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode("ascii")


def _read_upgrade(request: Request, known: Sequence[str]) -> _Upgrade | _Refusal:
    """Check a handshake (RFC 6455, 4.2.1)."""

    def tokens(name: str) -> list[str]:
        values = ",".join(_values(request, name))
        return [token.strip() for token in values.split(",") if token.strip()]

    if request.method != b"GET":
        return _Refusal(405, _NOT_A_WEBSOCKET, {"Allow": "GET"})
    wants = {token.lower() for token in tokens("Upgrade")}
    if "websocket" not in wants:
        return _Refusal(426, _NOT_A_WEBSOCKET, {"Upgrade": "websocket"})
    if request.clientproto != b"HTTP/1.1":
        return _Refusal(400, "A WebSocket begins with an HTTP/1.1 request.\n")
    if "upgrade" not in {token.lower() for token in tokens("Connection")}:
        return _Refusal(400, "The header Connection: Upgrade is missing.\n")
    if tokens("Sec-WebSocket-Version") != ["13"]:
        text = "This server speaks version 13 of the WebSocket protocol (RFC 6455).\n"
        return _Refusal(426, text, {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"})
    keys = _values(request, "Sec-WebSocket-Key")
    try:
        is_key = len(keys) == 1 and len(base64.b64decode(keys[0], validate=True)) == 16
    except (binascii.Error, ValueError):
        is_key = False
    if not is_key:
        return _Refusal(400, "Sec-WebSocket-Key must be 16 bytes in base64, once.\n")
    extensions = ",".join(_values(request, "Sec-WebSocket-Extensions"))
    try:
        agree(extensions)
    except ValueError as error:
        return _Refusal(400, f"{error}.\n")
    offered = set(tokens("Sec-WebSocket-Protocol"))
    chosen = next((name for name in known if name in offered), None)
    return _Upgrade(keys[0].strip(), chosen, extensions)


class _Socket(Resource):
    """A path that accepts WebSockets from the sources that the access list names."""

    isLeaf = True
    subprotocols: Sequence[str] = STOMP_SUBPROTOCOLS

    @override
    def render(self, request: Request) -> bytes | int:
        source = Source(
            _only(_values(request, "Origin")),
            _only(_values(request, "Host")),
            bool(request.isSecure()),
        )
        address = _client(request)
        try:
            websockets = self.open(source, request)
        except AccessDenied as error:
            _tell_refusal(request, str(error))
            return _Refusal(403, _REFUSED).render(request)
        upgrade = _read_upgrade(request, self.subprotocols)
        if isinstance(upgrade, _Refusal):
            _tell_refusal(request, f"{source} sent no WebSocket handshake: {upgrade.text.strip()}")
            return upgrade.render(request)
        if websockets.is_stopping:
            _tell_refusal(request, f"{source} came while the server stops")
            return _Refusal(503, "The server is shutting down; try again in a moment.\n").render(
                request
            )
        channel = cast(PageChannel, request.channel)
        speak_for(channel.transport, address)
        protocol = websockets.buildProtocol(Client.at(address, source.origin))
        channel.upgrade_to(protocol)
        protocol.accept(upgrade.request(), upgrade.subprotocol, upgrade.extensions)
        return NOT_DONE_YET

    def open(self, source: Source, request: Request) -> WebSockets:
        """Give what serves the WebSocket.

        Raises:
            AccessDenied: The source may not have it.
        """
        raise AccessDenied(f"nothing is served at {request.path!r}")


class WebSocketResource(_Socket):
    """A WebSocket of your own; the path's rest does not matter.

    It has to be in the tree of a :class:`PageSite`, or be all of it.

    Args:
        websockets: Serves the clients.
        sources: Whose pages may open it: ``self`` (a page of the same origin), ``host[:port]``
            of an origin, or ``*``. Who sends no Origin is no browser, and passes ``self``.
        subprotocols: Which it speaks, best first.

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
        self._here = Target("websocket", 1)  # access lists say who may reach what
        self._access = AccessList(
            AccessRule.parse(f"{source} -> {self._here}") for source in sources
        )
        self.subprotocols = subprotocols

    @override
    def open(self, source: Source, request: Request) -> WebSockets:
        self._access.check(source, self._here)
        return self._websockets


class StompSocket(_Socket):
    """``/ws``: STOMP straight into the broker.

    Args:
        websockets: Serves the clients.
        access: The access list.
        targets: The names of this server's own STOMP listeners. Whoever may reach one of them
            through the proxy may reach the broker here. Looked at with every request: the
            list grows while the ports are opened.
    """

    def __init__(
        self, websockets: WebSockets, access: AccessList, targets: Sequence[Target]
    ) -> None:
        super().__init__()
        self._websockets = websockets
        self._access = access
        self._targets = targets

    @override
    def open(self, source: Source, request: Request) -> WebSockets:
        if any(self._access.allows(source, target) for target in self._targets):
            return self._websockets
        if not self._targets:
            raise AccessDenied("there is no stomp:// listener whose clients could come here")
        self._access.check(source, self._targets[0])
        return self._websockets


class TcpSocket(_Socket):
    """``/tcp/HOST:PORT``: a WebSocket to any target that the access list allows.

    ``/tcp/`` alone tells which targets these are.

    Args:
        access: The access list.
        websockets: Gives what serves the WebSocket for one target.
        own: This server's own STOMP listeners, which ``/tcp/`` marks.
    """

    # MQTT's bytes are the same in WebSockets as on TCP, and its clients in browsers insist.
    subprotocols = (*STOMP_SUBPROTOCOLS, "mqtt", "binary")

    def __init__(
        self,
        access: AccessList,
        websockets: Callable[[Target], WebSockets],
        own: Sequence[Target] = (),
    ) -> None:
        super().__init__()
        self._access = access
        self._websockets = websockets
        self._targets = Targets(access, own)
        self._known: dict[tuple[Source, bytes], WebSockets] = {}

    @override
    def render(self, request: Request) -> bytes | int:
        if request.postpath == [b""] and request.getHeader(b"Upgrade") is None:
            answer: bytes | int = self._targets.render(request)
            return answer
        return super().render(request)

    @override
    def open(self, source: Source, request: Request) -> WebSockets:
        # Nothing that decides changes while the server runs: who was let in is let in again.
        asked = (source, request.path)
        if (known := self._known.get(asked)) is not None:
            return known
        # As it came: a target needs no percent escapes, and reading them only ever helps to hide
        # one. (request.postpath is decoded.)
        raw = b"/".join(request.path.split(b"/")[1 + len(request.prepath or ()) :])
        try:
            target = Target.parse(raw.decode("ascii"))
        except ValueError as error:
            raise AccessDenied(f"not HOST:PORT ({error})") from None
        self._access.check(source, target)
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[asked] = websockets = self._websockets(target)
        return websockets


def _client(request: Request) -> IAddress:
    return cast(PageSite, request.site).client_of(request)


def _peer(request: Request) -> str:
    return address_name(_client(request))


def _tell_refusal(request: Request, why: str) -> None:
    _log.warn(
        "{peer}: refused {path}: {why}",
        peer=_peer(request),
        path=_shown_path(request),
        why=why,
    )


def _shown_path(request: Request) -> str:
    return shown(request.path.decode("latin-1"))[1:-1]


def _values(request: Request, name: str) -> list[str]:
    """Give a header's values; any bytes are text here (they may come from anybody)."""
    values = request.requestHeaders.getRawHeaders(name.encode("ascii"), [])
    return [value.decode("latin-1") for value in values]


def _only(values: Sequence[str]) -> str | None:
    """Give a header's value; several make one that matches nothing."""
    return None if not values else ", ".join(values)
