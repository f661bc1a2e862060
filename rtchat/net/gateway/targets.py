"""What a page may reach through the gateway: ``GET /tcp/``, for pages that offer a choice."""

from __future__ import annotations

from collections.abc import Sequence

import simplejson
from twisted.web.resource import Resource
from twisted.web.server import Request

from rtchat.core.access.rules import AccessList, Source, Target

__all__ = ["Targets", "source_of"]

_NOBODY = "null"  # RFC 6454, 7.3: an origin that is none; only rules for everybody match it
_OWN_PAGES = ("same-origin", "none")  # "none": somebody typed the address


class Targets(Resource):
    """``/tcp/``: the targets that the asking page may reach, and no others, as a JSON object.

    ``targets`` holds ``HOST:PORT`` texts in the order of the rules, ``broker`` those of them
    that are this server's own STOMP listeners.

    Args:
        access: The access list.
        own: This server's own STOMP listeners. Looked at with every request: the list grows
            while the ports are opened.
    """

    isLeaf = True

    def __init__(self, access: AccessList, own: Sequence[Target] = ()) -> None:
        super().__init__()
        self._access = access
        self._own = own

    def render_GET(self, request: Request) -> bytes:
        source = source_of(request)
        rules = self._access.rules
        # A target named by several rules is one target.
        allowed = dict.fromkeys(
            rule.target for rule in rules if self._access.allows(source, rule.target)
        )
        answer = {
            "targets": [str(target) for target in allowed],
            "broker": [str(target) for target in allowed if target in self._own],
        }
        request.setHeader(b"Content-Type", b"application/json")
        request.setHeader(b"Cache-Control", b"no-store")
        request.setHeader(b"Vary", b"Origin, Sec-Fetch-Site")
        # Who is not told of in the list cannot learn from it by loading it as a script or image.
        request.setHeader(b"Cross-Origin-Resource-Policy", b"same-origin")
        if source.origin is not None and source.origin != _NOBODY and allowed:
            # The page of another host that a rule names may read what it may reach.
            request.setHeader("Access-Control-Allow-Origin", source.origin)
        text: str = simplejson.dumps(answer)
        return text.encode() + b"\n"


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
            origin = _NOBODY
        elif host is not None:
            origin = f"{'https' if request.isSecure() else 'http'}://{host}"
    return Source(origin, host, bool(request.isSecure()))


def _value(request: Request, name: str) -> str | None:
    """Give a header's value; several make one that matches nothing."""
    values = request.requestHeaders.getRawHeaders(name.encode("ascii"))
    return b", ".join(values).decode("latin-1") if values else None
