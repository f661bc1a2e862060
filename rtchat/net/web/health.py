"""``/health``: the state of the server, for monitoring."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.web.resource import Resource
from twisted.web.server import Request

from rtchat.net.json_codec import json_line

__all__ = ["Health"]


class Health(Resource):
    """``/health``: a JSON object; an answer at all shows that the server is alive.

    Args:
        facts: Returns the object's members.
    """

    isLeaf = True

    def __init__(self, facts: Callable[[], Mapping[str, object]]) -> None:
        super().__init__()
        self._facts = facts

    def render_GET(self, request: Request) -> bytes:
        request.setHeader(b"Content-Type", b"application/json")
        request.setHeader(b"Cache-Control", b"no-store")
        return json_line(self._facts())
