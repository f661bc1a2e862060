"""A front that takes whatever a server sends at once, and hands it on slowly."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

from support.sockets import connect
from typing_extensions import Self

__all__ = ["SlowLine"]

_STEP_S = 0.02


class SlowLine:
    """Hands bytes between one client and a server, those of the server at a limited speed.

    Args:
        target: The server's port, or its Unix socket.
        bytes_per_s: The speed.
        most_bytes: How much is taken and not handed on at most.

    Attributes:
        port: Where the client connects to.
    """

    def __init__(self, target: int | Path, bytes_per_s: int, most_bytes: int = 1 << 30) -> None:
        self._piece = int(bytes_per_s * _STEP_S)
        self._held = bytearray()
        self._most_bytes = most_bytes
        self._has_ended = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._client = self._server = self._listener
        self._threads = [threading.Thread(target=self._accept, args=(target,), daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        """Use it in a with statement."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close both connections."""
        for connection in (self._listener, self._client, self._server):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for connection in (self._listener, self._client, self._server):
            connection.close()

    @property
    def held_bytes(self) -> int:
        """How much was taken and not handed on."""
        return len(self._held)

    def _accept(self, target: int | Path) -> None:
        with suppress(OSError):
            self._client, _ = self._listener.accept()
            self._server = connect(target)
            self._server.settimeout(None)
            for work in (self._take, self._hand_on):
                self._threads.append(threading.Thread(target=work, daemon=True))
                self._threads[-1].start()
            with suppress(OSError):
                while data := self._client.recv(65536):
                    self._server.sendall(data)
                self._server.shutdown(socket.SHUT_WR)

    def _take(self) -> None:
        with suppress(OSError):
            while data := self._server.recv(65536):
                self._held += data
                while len(self._held) > self._most_bytes:
                    time.sleep(_STEP_S)
        self._has_ended = True

    def _hand_on(self) -> None:
        with suppress(OSError):
            while self._held or not self._has_ended:
                time.sleep(_STEP_S)
                piece = bytes(self._held[: self._piece])
                self._client.sendall(piece)
                del self._held[: len(piece)]
            self._client.shutdown(socket.SHUT_WR)
