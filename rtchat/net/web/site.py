"""The web server: its connections, the check of ``Host``, and the client's address."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site
from typing_extensions import override

from rtchat.core.access.addresses import AddressList
from rtchat.core.access.hosts import HostList
from rtchat.core.access.rules import AccessList, Source
from rtchat.net.connection.client_address import forwarded_client
from rtchat.net.connection.client_log import ClientLog
from rtchat.net.connection.limits import SourceLimiter
from rtchat.net.connection.liveness import Liveness
from rtchat.net.connection.transport import as_stream
from rtchat.net.web.backlogs import HttpBacklogs
from rtchat.net.web.channel import UpgradableConnection
from rtchat.net.web.page_request import PageRequest
from rtchat.net.web.requests import (
    SHOWN_CHARACTERS,
    RefusalPage,
    header_values,
    log_refusal,
    peer_name,
    printable_path,
)
from rtchat.net.web.rounds import Rounds
from rtchat.text import escaped, printable

__all__ = ["PageSite"]


_log = Logger(__package__)

_MISDIRECTED = (
    "This server does not answer to the name in the address.\n"
    "Its log says which line of the configuration lets it do so.\n"
)


class _Options(Resource):
    """Answers OPTIONS, which front proxies ask to see whether the server lives."""

    isLeaf = True

    @override
    def render(self, request: Request) -> bytes:
        request.setHeader(b"Allow", b"GET, HEAD, OPTIONS")
        return b""


def _has_no_options(resource: IResource) -> bool:
    """Return whether a resource leaves methods to Twisted, and has no answer to OPTIONS."""
    return (
        isinstance(resource, Resource)
        and type(resource).render is Resource.render
        and not hasattr(resource, "render_OPTIONS")
    )


class PageSite(Site):
    """The web server; answers only to its own names.

    Args:
        tree: The resources that it serves.
        hosts: The names it answers to, against DNS rebinding.
        clock: Runs the time-outs of idle HTTP connections.
        trusted: The front proxies whose ``X-Forwarded-For`` is trusted.
        handshake_timeout_s: Seconds that the head of a request may take.
        limiter: Counts the connections; by default there is no limit.
        client_log: Where lines about clients are written; by default a log of its own.
        trusts: Returns whether a page may act for its visitors, as
            :meth:`~rtchat.core.access.rules.AccessList.trusts` does; by default those of this
            server may.

    Attributes:
        backlogs: Counts the bytes that wait for clients.
        rounds: Bounds the work for all clients in a round of the reactor.
    """

    requestFactory = PageRequest  # noqa: N815
    protocol = UpgradableConnection  # type: ignore[assignment]  # HTTP/1.1 only, without the h2 wrapper
    noisy = False

    def __init__(
        self,
        tree: IResource,
        hosts: HostList,
        clock: IReactorTime,
        *,
        trusted: AddressList | None = None,
        handshake_timeout_s: float = 10.0,
        limiter: SourceLimiter | None = None,
        client_log: ClientLog | None = None,
        trusts: Callable[[Source], bool] | None = None,
    ) -> None:
        super().__init__(tree, reactor=clock)
        self.trusts = trusts or AccessList(()).trusts
        self.displayTracebacks = False
        self.clock = clock
        self.backlogs = HttpBacklogs(clock)
        self.rounds = Rounds(clock)
        self.liveness = Liveness(clock)
        self.handshake_timeout_s = handshake_timeout_s
        self.client_log = client_log or ClientLog(clock)
        self.limiter = limiter or SourceLimiter("[proxy] http.connections", self.client_log)
        self._is_own_name = lru_cache(maxsize=256)(hosts.allows)
        self._trusted = trusted or AddressList()

    def client_of(self, request: Request) -> IAddress:
        """Return the address of the peer, or the client's that a trusted front proxy names."""
        peer = as_stream(request.channel.transport).getPeer()
        return forwarded_client(peer, header_values(request, "X-Forwarded-For"), self._trusted)

    def is_secure(self, request: Request) -> bool:
        """Return whether a request came over TLS, to this server or to a trusted front proxy."""
        if request.isSecure():
            return True
        peer = as_stream(request.channel.transport).getPeer()
        is_front = getattr(peer, "host", None) in self._trusted
        return is_front and header_values(request, "X-Forwarded-Proto") == ["https"]

    @override
    def getResourceFor(self, request: Request) -> IResource:
        request.setHeader(b"Server", b"rtchat")
        request.setHeader(b"X-Content-Type-Options", b"nosniff")
        given = header_values(request, "Host")
        host = given[0] if given else None
        if isinstance(request, PageRequest) and request.fault:
            log_refusal(request, request.fault)
            return RefusalPage(400, f"This is no request of HTTP/1.1: {request.fault}.\n")
        if not self._is_own_name(host):
            name = (host or "").rpartition(":")[0] or host or ""
            self.client_log.warn(
                _log,
                "{peer}: refused {path}: Host {host} is none of this server's names. If browsers "
                "use another name, a front proxy has changed it; let that pass Host on (nginx: "
                "proxy_set_header Host $http_host). If it is one, add it to the configuration: "
                "[global] hosts = {name}",
                peer=peer_name(request),
                path=printable_path(request),
                host=printable(", ".join(given), SHOWN_CHARACTERS),
                name=escaped(name, SHOWN_CHARACTERS),
            )
            return RefusalPage(421, _MISDIRECTED)
        resource: IResource = super().getResourceFor(request)
        if request.method == b"OPTIONS" and _has_no_options(resource):
            return _Options()
        return resource

    @override
    def log(self, request: object) -> None:
        """Do not log ordinary requests; refusals have lines of their own."""
