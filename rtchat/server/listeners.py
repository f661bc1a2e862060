"""``[listen]``: the ports of the server, opened before privileges are dropped."""

from __future__ import annotations

import errno
import os
import re
import resource
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, cast

from twisted.application.service import IService, MultiService, Service
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    SSL4ServerEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    serverFromString,
)
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override

from rtchat.config.ini import SourceLine
from rtchat.config.keys import lines
from rtchat.config.schema import ChatIni, nearest
from rtchat.core.access.hosts import normal_host
from rtchat.net.connection.transport import set_up_port
from rtchat.server.access import ANY_HOST, AccessPart
from rtchat.server.front_proxy import FrontProxyPart
from rtchat.server.left_sockets import remove_left_socket
from rtchat.server.part import Part, Server
from rtchat.server.privileges import PrivilegesPart
from rtchat.server.stomp import BrokerPart
from rtchat.server.tls import TlsPart
from rtchat.server.web import WebPart
from rtchat.text import parse_digits

if TYPE_CHECKING:
    # Loaded by the part itself, and only if the configuration asks for it.
    from rtchat.core.access.addresses import AddressList
    from rtchat.net.connection.handshakes import WatchedTls

__all__ = ["ListenSettings", "Listener", "ListenerKind", "ListenersPart"]

_log = Logger(__package__)

ListenerKind: TypeAlias = Literal["http", "https", "stomp", "stomps"]

_KINDS = ("http", "https", "stomp", "stomps")
_TLS_KINDS = ("https", "stomps")

_URL = re.compile(r"(?P<kind>[a-z]+)://(?P<host>\[[^\]]*\]|[^:/]*)(?::(?P<port>[^/]*))?/?", re.I)

_LOOPBACK = re.compile(r"localhost|127\.\d+\.\d+\.\d+|::1", re.I)

_UNIX_MODE = "660"  # for user and group
_PROXY_PROTOCOL = "haproxy:"  # Twisted's own; another endpoint follows

_BACKLOG = 1024  # connections that wait to be accepted; the kernel may allow fewer


class Listener(NamedTuple):
    """One port, or one endpoint, to listen on.

    Attributes:
        kind: The protocol; the ``s`` at the end means TLS.
        host: Name or address of the interface, without IPv6 brackets; "" is every interface.
            With an endpoint it is "".
        port: 1 to 65535. With an endpoint it is 0.
        endpoint: A Twisted server endpoint string instead of host and port, or None.
        source_line: The line, for errors when the port cannot be opened.
    """

    kind: ListenerKind
    host: str
    port: int
    endpoint: str | None
    source_line: SourceLine

    @property
    def is_http(self) -> bool:
        """Whether the page is served there, rather than STOMP."""
        return self.kind.startswith("http")

    @property
    def is_public(self) -> bool:
        """Whether other machines may be able to connect, as far as the line says."""
        if self.endpoint is None:
            return not _LOOPBACK.fullmatch(self.host)
        parts = self.endpoint.removeprefix(_PROXY_PROTOCOL).split(":")
        if parts[0] not in ("tcp", "tcp6", "ssl"):
            return False  # a Unix socket, or one that was opened before
        interface = self.endpoint.partition("interface=")[2].replace("\\:", ":").split(":key")[0]
        return not _LOOPBACK.match(interface)


def _read_listeners(source_lines: Mapping[str, SourceLine]) -> tuple[Listener, ...]:
    listeners: list[Listener] = []
    for source_line in source_lines.values():
        listener = _endpoint(source_line) if source_line.key in _KINDS else _address(source_line)
        for other in listeners:
            if _overlap(listener, other):
                taken = other.source_line
                raise source_line.error(
                    f"takes the same address as line {taken.line} ({taken.setting}); "
                    "give each its own"
                )
        listeners.append(listener)
    return tuple(listeners)


def _endpoint(source_line: SourceLine) -> Listener:
    """Read ``http = ENDPOINT``. Whether Twisted knows the endpoint is checked when it is built."""
    kind = source_line.key
    if kind not in ("http", "stomp"):
        plain = kind.removesuffix("s")
        raise source_line.error(
            f"takes no endpoint; write {plain} = ssl:PORT:privateKey=FILE:certKey=FILE, or "
            f"{kind}://:PORT and a section [ssl]"
        )
    if not source_line.value:
        raise source_line.error(
            f"has no endpoint; write one, such as {kind} = unix:/run/rtchat.sock"
        )
    return Listener(cast(ListenerKind, kind), "", 0, source_line.value, source_line)


def _address(source_line: SourceLine) -> Listener:
    """Read ``http://[host]:port``."""
    url = None if source_line.value else _URL.fullmatch(source_line.key)
    kind = url["kind"].lower() if url else ""
    if url is None or kind not in _KINDS:
        scheme, colon, rest = source_line.key.partition(":")
        near = nearest(scheme, _KINDS) if colon else ""
        remedy = "write http://HOST:PORT, https://…, stomp://… or stomps://…"
        if near and near != scheme.lower():
            remedy = f"did you mean {near}:{rest} ?"
        raise source_line.error(f"is not an address to listen on; {remedy}")
    host, port = url["host"], url["port"] or ""
    if not port:
        example = 9000 if kind.startswith("http") else 61613
        raise source_line.error(f"has no port; write {kind}://{host}:{example}")
    if ":" in port:
        raise source_line.error(
            f"is ambiguous; write an IPv6 address in brackets: {kind}://[::1]:9000"
        )
    number = parse_digits(port, 5)
    if number is None or not 1 <= number <= 65535:
        raise source_line.error(f"has the port {port}; use a number from 1 to 65535")
    if host == "*":
        raise source_line.error(f"has a wildcard; write {kind}://:{port} for every interface")
    try:
        host = normal_host(host) if host else ""
    except ValueError as error:
        raise source_line.error(
            f"has no usable host ({error}); write {kind}://127.0.0.1:{port}, or "
            f"{kind}://:{port} for every interface"
        ) from None
    return Listener(cast(ListenerKind, kind), host, number, None, source_line)


def _overlap(one: Listener, other: Listener) -> bool:
    """Return whether two listeners cannot be open at the same time."""
    if one.endpoint is not None or other.endpoint is not None:
        return one.endpoint == other.endpoint
    if one.port != other.port:
        return False
    hosts = {one.host, other.host}
    if len(hosts) == 1:
        return True
    ipv6 = sum(":" in host for host in hosts)
    return bool((hosts & {"", "0.0.0.0"} and ipv6 == 0) or ("::" in hosts and ipv6 == 2))


@dataclass(frozen=True, slots=True)
class ListenSettings:
    """What to listen on.

    Attributes:
        listeners: In the order of the file; never empty.
    """

    listeners: tuple[Listener, ...] = lines("[listen]", _read_listeners)


class ListenersPart(Part[ListenSettings], MultiService):
    """Opens the ports, for the web server and the broker; logs where they are."""

    reads = (ListenSettings,)

    def __init__(self, settings: ListenSettings, server: Server) -> None:
        super().__init__(settings, server)
        MultiService.__init__(self)
        self._server = server
        _allow_many_connections()
        site, stomp = server.part(WebPart).site, server.part(BrokerPart).door
        for listener in settings.listeners:
            factory: IProtocolFactory = site if listener.is_http else stomp
            endpoint = _server_endpoint(listener, server)
            owner = (-1, -1)
            if _is_own_unix_socket(listener):
                owner = server.part(PrivilegesPart).owner
            port = _Port(endpoint, factory, listener, server.part(AccessPart), owner)
            port.setServiceParent(self)

    @override
    @classmethod
    def read(cls, ini: ChatIni) -> ListenSettings:
        if not ini.lines("listen"):
            raise ini.error(
                "there is nothing to listen on; write a section [listen] with a line such as "
                "http://127.0.0.1:9000",
                section="listen",
            )
        settings = ini.read(ListenSettings)
        for listener in settings.listeners:
            if listener.kind in _TLS_KINDS and not ini.lines("ssl"):
                raise listener.source_line.error(
                    "needs a certificate; write a section [ssl] with crt and key"
                )
        return settings

    @override
    def service(self) -> IService:
        return self

    @override
    def startService(self) -> None:
        super().startService()
        self._server.reactor.callWhenRunning(self._log_addresses)

    def _log_addresses(self) -> None:
        for listener in self.settings.listeners:
            what = "open in a browser" if listener.is_http else "STOMP clients"
            _log.info("{what}: {where}", what=what, where=_shown_address(listener))


class _Port(Service):
    """One port; it opens before privileges are dropped."""

    def __init__(
        self,
        endpoint: IStreamServerEndpoint,
        factory: IProtocolFactory,
        listener: Listener,
        access: AccessPart,
        owner: tuple[int, int],
    ) -> None:
        self._owner = owner
        self._endpoint = endpoint
        self._factory = factory
        self._listener = listener
        self._access = access
        self._port: IListeningPort | None = None

    @override
    def privilegedStartService(self) -> None:
        super().privilegedStartService()
        port = self._open()
        if isinstance(port, Failure) and remove_left_socket(port.value):
            port = self._open()
        if isinstance(port, Failure):
            problem = _why_not_listening(port, self._listener)
            raise SystemExit(f"rtchat: {self._listener.source_line.error(problem)}")
        self._port = port
        address = port.getHost()
        if isinstance(address, UNIXAddress) and self._owner != (-1, -1):
            # Should others write to its folder, a link may have taken its place.
            os.lchown(os.fsdecode(address.name or b""), *self._owner)
        set_up_port(port, is_http=self._listener.is_http)
        if not self._listener.is_http:
            self._access.add_stomp_port(address)

    def _open(self) -> IListeningPort | Failure:
        outcome: list[IListeningPort | Failure] = []
        self._endpoint.listen(self._factory).addBoth(outcome.append)
        if not outcome:
            raise SystemExit(f"rtchat: {self._listener.source_line.error('did not open at once.')}")
        return outcome[0]

    @override
    def stopService(self) -> Deferred[Any] | None:
        super().stopService()
        port, self._port = self._port, None
        return None if port is None else port.stopListening()


def _allow_many_connections() -> None:
    """Raise the limit of open files as far as the system permits: each connection is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # then the usual limit stays
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _server_endpoint(listener: Listener, server: Server) -> IStreamServerEndpoint:
    """Return what opens a port.

    Raises:
        SystemExit: Twisted does not know the endpoint, or the certificate cannot be used.
    """
    front = server.part(FrontProxyPart).settings
    trusted = front.trusted if front.has_proxy_header and listener.is_http else None
    reactor = server.reactor
    if listener.endpoint is not None:
        try:
            endpoint: IStreamServerEndpoint = serverFromString(
                reactor, _with_mode(listener.endpoint)
            )
            if listener.endpoint.startswith("ssl:"):
                from rtchat.net.connection.handshakes import watch_endpoint

                watch_endpoint(endpoint, server.part(TlsPart).handshakes)
            if trusted is None:
                return endpoint
            return _behind_proxies(endpoint, trusted, server)
        except Exception as error:  # a parser plugin may raise anything
            problem = (
                f"cannot be used as an endpoint ({error}); write one that Twisted knows, such as "
                "tcp:61613 or unix:/run/rtchat.sock."
            )
            raise SystemExit(f"rtchat: {listener.source_line.error(problem)}") from None
    host, port = listener.host, listener.port
    if host == "" and socket.has_dualstack_ipv6():
        host = "::"
    certificates = None
    if listener.kind in _TLS_KINDS:
        certificates = server.part(TlsPart).starter_for(listener.source_line)
        if trusted is None:
            return SSL4ServerEndpoint(reactor, port, certificates, _BACKLOG, host)
    kind = TCP6ServerEndpoint if ":" in host else TCP4ServerEndpoint
    tcp: IStreamServerEndpoint = kind(reactor, port, _BACKLOG, host)
    return tcp if trusted is None else _behind_proxies(tcp, trusted, server, certificates)


def _with_mode(endpoint: str) -> str:
    """Return an endpoint with a mode if it is a Unix socket without one.

    By default Twisted lets every user of the machine connect.
    """
    if endpoint.startswith(_PROXY_PROTOCOL):
        return _PROXY_PROTOCOL + _with_mode(endpoint.removeprefix(_PROXY_PROTOCOL))
    kind, *words = re.split(r"(?<!\\):", endpoint)
    if kind != "unix" or any(word.startswith("mode=") for word in words):
        return endpoint
    in_order = [word for word in words if not re.match(r"\w+=", word)]
    has_mode = len(in_order) + any(word.startswith("address=") for word in words) > 1
    return endpoint if has_mode else f"{endpoint}:mode={_UNIX_MODE}"


def _is_own_unix_socket(listener: Listener) -> bool:
    """Return whether a port is a Unix socket that is made here, and not by systemd."""
    return (listener.endpoint or "").removeprefix(_PROXY_PROTOCOL).startswith("unix:")


def _behind_proxies(
    endpoint: IStreamServerEndpoint,
    trusted: AddressList,
    server: Server,
    certificates: WatchedTls | None = None,
) -> IStreamServerEndpoint:
    """Return an endpoint whose connections from trusted addresses begin with a PROXY header."""
    # Import only if configured, but before privileges are dropped.
    from rtchat.net.connection.front_proxy import ProxyProtocolEndpoint

    return ProxyProtocolEndpoint(endpoint, trusted, server.reactor, certificates, server.client_log)


def _why_not_listening(failure: Failure, listener: Listener) -> str:
    error = failure.value
    if isinstance(error, CannotListenError):
        error = error.socketError
    if not isinstance(error, OSError):
        remedy = ""
        if (listener.endpoint or "").startswith("unix:"):
            remedy = " Stop the program that has this socket, or choose another path."
        return f"cannot be opened: {failure.getErrorMessage().rstrip('.')}.{remedy}"
    remedy = "Choose another port, or stop the program that has this one."
    if isinstance(error, FileNotFoundError):
        remedy = "Create the folder, or change the path."
    elif isinstance(error, PermissionError) and (listener.endpoint or "").startswith("unix:"):
        remedy = "Change the permissions of the folder, or the path."
    elif isinstance(error, PermissionError):
        remedy = "Choose a port above 1023, or start as root and set [global] user."
    elif isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        remedy = "Name an address of this machine, or none to listen on all."
    return f"cannot be opened: {error.strerror or error}. {remedy}"


def _shown_address(listener: Listener) -> str:
    if listener.endpoint is not None:
        return listener.endpoint
    host = "localhost" if listener.host in ANY_HOST else listener.host
    host = f"[{host}]" if ":" in host else host
    slash = "/" if listener.kind.startswith("http") else ""
    return f"{listener.kind}://{host}:{listener.port}{slash}"
