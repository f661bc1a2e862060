"""txWS, as far as it is sound: wrapping any Twisted factory, and answering the handshake.

No other module imports txWS. Its frames do not work on Python 3 and its handshake has flaws (see
docs/dependencies.md); the subclass of :class:`TxwsConnection` takes the frames, and the flaws of
the handshake are mended here.

A request is validated once, by :mod:`rtchat.net.websocket.upgrade`, on what twisted.web has read
of it; txWS is then given :func:`clean_request`, whatever the client sent. (A factory that listens
by itself, without a site, has its requests read by txWS alone.)
"""

from __future__ import annotations

from twisted.web.http import datetimeToString
from txws import FRAMES, RFC6455, WebSocketFactory, WebSocketProtocol, is_websocket
from typing_extensions import override

__all__ = ["TxwsConnection", "TxwsFactory", "clean_request"]

TxwsFactory = WebSocketFactory
"""Wraps the protocols of a factory; ``protocol`` is the class of the wrapper."""


def clean_request(key: str) -> bytes:
    """Return an upgrade request with the spelling of header names that txWS looks for.

    It offers no sub-protocols, which txWS would refuse. Its path does not matter any more, and
    not every path is text that txWS could read.

    Args:
        key: The client's ``Sec-WebSocket-Key``.
    """
    return (
        "GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode("ascii")


class TxwsConnection(WebSocketProtocol):  # type: ignore[misc]  # txws has no types
    """A connection until its handshake is answered; then :meth:`handshake_answered` is called."""

    buf: bytes
    headers: dict[str, str]

    _extensions = ""

    def answer_handshake(self, request: bytes, subprotocol: str | None, extensions: str) -> None:
        """Answer a request, or call ``loseConnection`` if txWS does not take it.

        Args:
            request: What :func:`clean_request` returns.
            subprotocol: The one that was chosen, to be named in the answer.
            extensions: What was agreed upon, as ``Sec-WebSocket-Extensions`` says it, or "".
        """
        self.codec = subprotocol
        self._extensions = extensions
        WebSocketProtocol.dataReceived(self, request)

    def handshake_answered(self, data: bytes) -> None:
        """The answer was written.

        Args:
            data: What has followed the request.
        """

    @override
    def validateHeaders(self) -> bool:
        """Answer as txWS does, but without its line in the log, which costs more."""
        headers = self.headers
        if not is_websocket(headers) or headers.get("Sec-WebSocket-Version") != "13":
            is_valid: bool = super().validateHeaders()
            return is_valid
        self.sendHyBi07Preamble()
        self.flavor = RFC6455
        self.state = FRAMES
        return True

    @override
    def sendCommonPreamble(self) -> None:
        """Begin the answer; txWS writes ``Date: b'…'`` on Python 3, and knows no extensions."""
        lines = [
            "HTTP/1.1 101 Switching Protocols",
            f"Date: {datetimeToString().decode('ascii')}",
            "Upgrade: websocket",
            "Connection: Upgrade",
        ]
        if self._extensions:
            lines.append(f"Sec-WebSocket-Extensions: {self._extensions}")
        self.writeEncodedSequence([f"{line}\r\n" for line in lines])

    @override
    def parseFrames(self) -> None:
        """Called by txWS after its answer, with what followed the request in ``buf``."""
        self.headers = {}
        data, self.buf = self.buf, b""
        self.handshake_answered(data)
