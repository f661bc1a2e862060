"""``GET /tcp/``: the targets that a page may reach, for pages that offer a choice."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from rtchat.core.access.hosts import Target
from rtchat.core.access.rules import AccessList, Source
from rtchat.net.json_codec import json_line
from rtchat.net.web.requests import OPAQUE_ORIGIN, RefusalPage, credentials_of, source_of
from rtchat.net.websocket.visitors import Visit, Visitors, ask_who, finish_with

__all__ = ["Targets"]


class Targets(Resource):
    """``/tcp/``: the targets that the requesting page may reach, and no others, as a JSON object.

    Those that only some people may reach are in it if the visitor is one of them.

    ``targets`` lists ``HOST:PORT`` texts in the order of the rules; ``broker`` lists those of them
    that are this server's own STOMP listeners.

    Args:
        access: The access list.
        own: This server's own STOMP listeners. Read for every request, because the list grows
            while the ports open.
    """

    isLeaf = True

    def __init__(
        self,
        access: AccessList,
        own: Sequence[Target] = (),
        visitors: Visitors | None = None,
    ) -> None:
        super().__init__()
        self._access = access
        self._own = own
        self._visitors = visitors

    def render_GET(self, request: Request) -> bytes | int:
        source = source_of(request)
        # A target that several rules name is listed once.
        allowed = dict.fromkeys(
            rule.target for rule in self._access.rules if self._access.allows(source, rule.target)
        )
        if not self._access.asks:
            return self._answer(request, source, list(allowed))
        asking = {one: whos for one in allowed if (whos := self._access.who_may(source, one))}
        open_ones = [one for one in allowed if one not in asking]
        if not asking or self._visitors is None or not credentials_of(request):
            return self._answer(request, source, open_ones)

        def known(found: Visit | RefusalPage) -> None:
            mine = open_ones
            if not isinstance(found, RefusalPage):
                mine = [one for one in allowed if one not in asking or found.may(asking[one])]
                found.leave()
            finish_with(request, self._answer(request, source, mine))

        ask_who(request, self._visitors, known)
        return NOT_DONE_YET

    def _answer(self, request: Request, source: Source, targets: Sequence[Target]) -> bytes:
        answer = {
            "targets": [str(target) for target in targets],
            "broker": [str(target) for target in targets if target in self._own],
        }
        request.setHeader(b"Content-Type", b"application/json")
        request.setHeader(b"Cache-Control", b"no-store")
        request.setHeader(b"Vary", b"Origin, Sec-Fetch-Site, Authorization, Cookie")
        # Other pages must not learn from it by loading it as a script or an image.
        request.setHeader(b"Cross-Origin-Resource-Policy", b"same-origin")
        if source.origin is not None and source.origin != OPAQUE_ORIGIN and targets:
            # A page of another host that some rule allows may read its list.
            request.setHeader("Access-Control-Allow-Origin", source.origin)
        return json_line(answer)
