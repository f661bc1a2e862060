"""Reading requests: header values, the source of a page, refusals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, cast

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import Request
from typing_extensions import override

from rtchat.core.access.rules import Source
from rtchat.net.connection.transport import address_name
from rtchat.text import escaped

__all__ = [
    "OPAQUE_ORIGIN",
    "SHOWN_CHARACTERS",
    "ClientNaming",
    "RefusalPage",
    "client_of",
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

OPAQUE_ORIGIN = "null"  # RFC 6454, 7.3: an origin that is none; only rules for everybody match it

_OWN_PAGES = ("same-origin", "none")  # "none": somebody typed the address


def source_of(request: Request) -> Source:
    """Tell who asks.

    A browser sends no Origin when a page asks its own server, nor when a page of another
    server loads this as if it were a picture or a script. ``Sec-Fetch-Site``, which no page
    can change, tells the two apart; browsers leave it out on plain HTTP to other machines.
    """
    origin = _value(request, "Origin")
    host = _value(request, "Host")
    site = _value(request, "Sec-Fetch-Site")
    if origin is None and site is not None:
        if site not in _OWN_PAGES:
            origin = OPAQUE_ORIGIN
        elif host is not None:
            origin = f"{'https' if request.isSecure() else 'http'}://{host}"
    return Source(origin, host, bool(request.isSecure()))


def _value(request: Request, name: str) -> str | None:
    """Give a header's value; several make one that matches nothing."""
    values = request.requestHeaders.getRawHeaders(name.encode("ascii"))
    return b", ".join(values).decode("latin-1") if values else None


class ClientNaming(Protocol):
    """A site that knows which client a request comes from."""

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
            # A client that was refused need not keep the connection.
            request.setHeader(b"Connection", b"close")
            request.channel.persistent = False
        return self.text.encode()


def client_of(request: Request) -> IAddress:
    return cast(ClientNaming, request.site).client_of(request)


def peer_name(request: Request) -> str:
    return address_name(client_of(request))


def log_refusal(request: Request, why: str) -> None:
    _log.warn(
        "{peer}: refused {path}: {why}",
        peer=peer_name(request),
        path=printable_path(request),
        why=why,
    )


def printable_path(request: Request) -> str:
    return escaped(request.path.decode("latin-1"), SHOWN_CHARACTERS)


def header_values(request: Request, name: str) -> list[str]:
    """Give a header's values; any bytes are text here (they may come from anybody)."""
    values = request.requestHeaders.getRawHeaders(name.encode("ascii"), [])
    return [value.decode("latin-1") for value in values]


def single_value(values: Sequence[str]) -> str | None:
    """Give a header's value; several make one that matches nothing."""
    return None if not values else ", ".join(values)
