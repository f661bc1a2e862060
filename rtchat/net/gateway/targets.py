"""``GET /tcp/``: the targets that a page may reach, for pages that offer a choice."""

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
    """``/tcp/``: the targets that the requesting page may reach, and no others, as a JSON object.

    ``targets`` lists ``HOST:PORT`` texts in the order of the rules; ``broker`` lists those of them
    that are this server's own STOMP listeners.

    Args:
        access: The access list.
        own: This server's own STOMP listeners. Read for every request, because the list grows
            while the ports open.
    """

    isLeaf = True

    def __init__(self, access: AccessList, own: Sequence[Target] = ()) -> None:
        super().__init__()
        self._access = access
        self._own = own

    def render_GET(self, request: Request) -> bytes:
        source = source_of(request)
        rules = self._access.rules
        # A target that several rules name is listed once.
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
        # Other pages must not learn from it by loading it as a script or an image.
        request.setHeader(b"Cross-Origin-Resource-Policy", b"same-origin")
        if source.origin is not None and source.origin != OPAQUE_ORIGIN and allowed:
            # A page of another host that some rule allows may read its list.
            request.setHeader("Access-Control-Allow-Origin", source.origin)
        return json_line(answer)
