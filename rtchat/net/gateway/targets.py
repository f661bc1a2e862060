"""What a page may reach through the gateway: ``GET /tcp/``, for pages that offer a choice."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.web.resource import Resource
from twisted.web.server import Request

from rtchat.core.access.hosts import Target
from rtchat.core.access.rules import AccessList
from rtchat.net.json_codec import json_line
from rtchat.net.web.requests import OPAQUE_ORIGIN, source_of

__all__ = ["Targets"]


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
        if source.origin is not None and source.origin != OPAQUE_ORIGIN and allowed:
            # The page of another host that a rule names may read what it may reach.
            request.setHeader("Access-Control-Allow-Origin", source.origin)
        return json_line(answer)
