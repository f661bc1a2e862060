"""Reading requests: header values, the source of a page, refusals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import Request
from typing_extensions import override

from rtchat.core.access.rules import Source
from rtchat.net.connection.client_log import ClientLog
from rtchat.net.connection.transport import address_name
from rtchat.text import escaped

__all__ = [
    "OPAQUE_ORIGIN",
    "SHOWN_CHARACTERS",
    "ClientNaming",
    "RefusalPage",
    "client_log_of",
    "client_of",
    "credentials_of",
    "header_values",
    "log_refusal",
    "peer_name",
    "printable_path",
    "single_value",
    "source_of",
]

_log = Logger(__package__)

SHOWN_CHARACTERS = 200
"""How much of a path or of a header the log shows."""

OPAQUE_ORIGIN = "null"  # RFC 6454, 7.3: an opaque origin; only rules with the source * match it

_CREDENTIALS = ("authorization", "cookie")

_OWN_PAGES = ("same-origin", "none")  # "none": the user typed the address


def source_of(request: Request) -> Source:
    """Return the source of a request: the page it comes from, as the access list sees it.

    A browser sends no Origin when a page requests something of its own server, nor when a page of
    another server loads it as an image or a script. ``Sec-Fetch-Site``, which no page can change,
    tells the two apart; browsers leave it out on plain HTTP to other machines.
    """
    origin = single_value(header_values(request, "Origin"))
    host = single_value(header_values(request, "Host"))
    site = single_value(header_values(request, "Sec-Fetch-Site"))
    if origin is None and site is not None:
        if site not in _OWN_PAGES:
            origin = OPAQUE_ORIGIN
        elif host is not None:
            origin = f"{'https' if request.isSecure() else 'http'}://{host}"
    return Source(origin, host, bool(request.isSecure()))


class ClientNaming(Protocol):
    """A site that knows the client of a request.

    Attributes:
        client_log: Where lines about clients are written.
        trusts: Returns whether a page may act for its visitors; see
            :meth:`~rtchat.core.access.rules.AccessList.trusts`.
    """

    client_log: ClientLog
    trusts: Callable[[Source], bool]

    def client_of(self, request: Request) -> IAddress:
        """Return the client's address, or the one that a trusted front proxy names."""


class RefusalPage(Resource):
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
            # A refused client has no use for the connection.
            request.setHeader(b"Connection", b"close")
            request.channel.persistent = False
        return self.text.encode()


def client_of(request: Request) -> IAddress:
    """Return the address of a request's client, as its site knows it."""
    return cast(ClientNaming, request.site).client_of(request)


def peer_name(request: Request) -> str:
    """Return the client's address as the log shows it."""
    return address_name(client_of(request))


def client_log_of(request: Request) -> ClientLog:
    """Return where lines about a request's client are written."""
    return cast(ClientNaming, request.site).client_log


def log_refusal(request: Request, why: str) -> None:
    """Write one line about a refused request."""
    client_log_of(request).warn(
        _log,
        "{peer}: refused {path}: {why}",
        peer=peer_name(request),
        path=printable_path(request),
        why=why,
    )


def printable_path(request: Request) -> str:
    """Return a request's path as the log shows it."""
    return escaped(request.path.decode("latin-1"), SHOWN_CHARACTERS)


def header_values(request: Request, name: str) -> list[str]:
    """Return a header's values, decoded as Latin-1, so that any bytes are text."""
    values = request.requestHeaders.getRawHeaders(name.encode("ascii"), [])
    return [value.decode("latin-1") for value in values]


def credentials_of(request: Request) -> dict[str, str]:
    """Return the headers ``authorization`` and ``cookie`` of a request, those that count.

    Browsers send them by themselves, whatever page makes the request. So those of a page that may
    not act for its visitors do not count.
    """
    found = {name: single_value(header_values(request, name)) for name in _CREDENTIALS}
    credentials = {name: value for name, value in found.items() if value is not None}
    source = source_of(request)
    if not credentials or cast(ClientNaming, request.site).trusts(source):
        return credentials
    client_log_of(request).once(
        _log,
        "requests whose cookies do not count",
        "{peer}: what its browser knows of it does not count for {source}: no rule names that "
        "page; if it may act for its visitors, add a rule of its own to [access]: {rule} -> …",
        peer=peer_name(request),
        source=source,
        rule=escaped(source.rule_text or "HOST", SHOWN_CHARACTERS),
    )
    return {}


def single_value(values: Sequence[str]) -> str | None:
    """Return a header's value, or None; several values are joined, and so match no rule."""
    return None if not values else ", ".join(values)
