"""``/embed``: the chat, to be framed by those pages of other hosts that the access list allows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import Request
from typing_extensions import override

from rtchat.core.access.frame_ancestors import frame_ancestors, sources_without_rule
from rtchat.core.access.hosts import Target
from rtchat.core.access.rules import ANYONE, AccessList, Source
from rtchat.net.json_codec import json_line
from rtchat.net.web.files import PageFiles
from rtchat.net.web.requests import (
    OPAQUE_ORIGIN,
    client_log_of,
    header_values,
    peer_name,
    source_of,
)

__all__ = ["EmbedPage"]

_log = Logger(__package__)


class EmbedPage(PageFiles):
    """The framed page; browsers show it in pages of allowed sources only.

    ``/embed/check`` tells a page whether it is allowed, since browsers do not.

    Args:
        path: The file.
        access: The access list.
        broker: The names of this server's own STOMP listeners. Read for every request, because
            the list grows while the ports open.
    """

    def __init__(self, path: Path, access: AccessList, broker: Sequence[Target]) -> None:
        super().__init__(str(path))
        self._access = access
        self._broker = broker
        self.putChild(b"check", _Check(access, broker))

    @override
    def frame_ancestors(self) -> str:
        return frame_ancestors(self._access, self._broker)


class _Check(Resource):
    """Answers ``{"lacking": […]}``: the sources that need a rule before the page may chat.

    With ``"asks": true``, if all rules that let the page in ask for a user.

    Any page may ask. A refused one learns only that it is refused, and what to tell the operator.
    The chat page itself asks with ``?page=ORIGIN`` when its WebSocket is refused: a browser sends
    no Origin with such a question, and a front proxy may have changed Host, so that nothing else
    tells the address that the page has in the browser.
    """

    isLeaf = True

    def __init__(self, access: AccessList, broker: Sequence[Target]) -> None:
        super().__init__()
        self._access = access
        self._broker = broker

    def render_GET(self, request: Request) -> bytes:
        source = source_of(request)
        page = request.args.get(b"page", [])
        # A page of another host can make a browser ask without Origin, in an image's address.
        is_foreign = source.origin == OPAQUE_ORIGIN or bool(header_values(request, "Origin"))
        if len(page) == 1 and not is_foreign:
            source = Source(page[0].decode("latin-1"), source.host, source.is_secure)
        lacking = sources_without_rule(self._access, self._broker, source)
        if lacking:
            self._log_refusal(request, source, lacking)
        request.setHeader(b"Content-Type", b"application/json")
        request.setHeader(b"Cache-Control", b"no-store")
        request.setHeader(b"Vary", b"Origin, Sec-Fetch-Site")
        request.setHeader(b"Access-Control-Allow-Origin", b"*")
        request.setHeader(b"Cross-Origin-Resource-Policy", b"cross-origin")
        asks = bool(self._access.who_may_choose(source, self._broker))
        return json_line({"lacking": lacking, "asks": True} if asks else {"lacking": lacking})

    def _log_refusal(self, request: Request, source: Source, lacking: Sequence[str]) -> None:
        peer, lines = peer_name(request), client_log_of(request)
        if not self._broker:
            lines.warn(
                _log,
                "{peer}: refused, {source} may not show the chat: there is no stomp:// listener "
                "whose clients could come here",
                peer=peer,
                source=str(source),
            )
            return
        lines.warn(
            _log,
            "{peer}: refused, {source} may not show the chat. If it should, add to [access]{whom}: "
            "{rules}",
            peer=peer,
            source=str(source),
            whom=", for every page in the world" if ANYONE in lacking else "",
            rules=" and ".join(f"{one} -> {self._broker[0]}" for one in lacking),
        )
