"""``/health``: the state of the server, for monitoring."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.web.resource import Resource
from twisted.web.server import Request

from rtchat.net.json_codec import json_line

__all__ = ["Health"]


class Health(Resource):
    """``/health``: a JSON object; an answer at all shows that the server is alive.

    The status code is 503 if the server cannot keep a promise now.

    Args:
        facts: Returns the object's members; ``status`` is "ok", "degraded" or "failed".
    """

    isLeaf = True

    def __init__(self, facts: Callable[[], Mapping[str, object]]) -> None:
        super().__init__()
        self._facts = facts

    def render_GET(self, request: Request) -> bytes:
        request.setHeader(b"Content-Type", b"application/json")
        request.setHeader(b"Cache-Control", b"no-store")
        facts = self._facts()
        if facts.get("status", "ok") != "ok":
            request.setResponseCode(503)
        return json_line(facts)
