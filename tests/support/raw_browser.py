"""A WebSocket client whose every byte on the wire is the test's own, in the clear or inside TLS."""

from __future__ import annotations

import base64
import os
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType

from support.websocket import read_answer, upgrade_request

__all__ = ["RawBrowser"]


class RawBrowser:
    """A WebSocket on a socket that does not block.

    Attributes:
        socket: To be read and written by the test, after and before :meth:`open` and
            :meth:`seal`.
        answer: The answer to the handshake.
    """

    def __init__(
        self,
        port: int,
        path: str,
        *,
        is_tls: bool = False,
        receive_buffer_bytes: int = 0,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.socket = socket.socket()
        if receive_buffer_bytes:
            option = socket.SO_RCVBUF
            self.socket.setsockopt(socket.SOL_SOCKET, option, receive_buffer_bytes)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(10)
        self.socket.connect(("127.0.0.1", port))
        self._tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        if is_tls:
            self._shake_hands()
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(self.seal(upgrade_request(path, sec_websocket_key=key, **headers)))
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.open(self.socket.recv(1000))
        self.answer, rest = read_answer(head)
        assert (self.answer.status, rest) == (101, b"")
        self.socket.setblocking(False)

    def seal(self, data: bytes) -> bytes:
        """Return what goes over the wire for these bytes."""
        if self._tls is None:
            return data
        while data:
            data = data[self._tls.write(data) :]
        return self._outgoing.read()

    def open(self, data: bytes) -> bytes:
        """Return the bytes for what came over the wire."""
        if self._tls is None:
            return data
        self._incoming.write(data)
        pieces = []
        with suppress(ssl.SSLWantReadError):
            while piece := self._tls.read(1 << 20):
                pieces.append(piece)
        return b"".join(pieces)

    def _shake_hands(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._tls = context.wrap_bio(self._incoming, self._outgoing)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self.socket.sendall(self._outgoing.read())
                self._incoming.write(self.socket.recv(16 * 1024))
            else:
                self.socket.sendall(self._outgoing.read())
                return
