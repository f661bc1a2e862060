"""A network between a browser and a server that a test can freeze and cut, as a lid does."""

from __future__ import annotations

import select
import socket
import threading
from types import TracebackType

__all__ = ["Relay"]

_POLL_S = 0.05
_PIECE_BYTES = 1 << 16


class Relay:
    """Hands bytes both ways between a port of its own and a server's.

    Args:
        target: The server's port.

    Attributes:
        port: Where to connect to.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._is_frozen = False
        self._is_open = True
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The page's address through this network."""
        return f"http://localhost:{self.port}/"

    def freeze(self) -> None:
        """Let nothing pass any more, without closing anything; new connections are refused."""
        with self._lock:
            self._is_frozen = True

    def thaw(self) -> None:
        """Be a network again; the connections of before are dead."""
        with self._lock:
            for one in list(self._pairs):
                self._drop(one)
            self._is_frozen = False

    def close(self) -> None:
        """End it, with all connections."""
        self._is_open = False
        self._thread.join()
        with self._lock:
            for one in list(self._pairs):
                self._drop(one)
        self._listener.close()

    def __enter__(self) -> Relay:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self) -> None:
        while self._is_open:
            with self._lock:
                watched = [self._listener, *([] if self._is_frozen else self._pairs)]
            try:
                ready, _, _ = select.select(watched, [], [], _POLL_S)
            except (OSError, ValueError):
                continue  # one of them was closed meanwhile
            with self._lock:
                for one in ready:
                    if one is self._listener:
                        self._accept()
                    elif one in self._pairs and not self._is_frozen:
                        self._pass_on(one)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        if self._is_frozen:
            client.close()
            return
        try:
            server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
        except OSError:
            client.close()
            return
        self._pairs[client], self._pairs[server] = server, client

    def _pass_on(self, source: socket.socket) -> None:
        try:
            data = source.recv(_PIECE_BYTES)
            if data:
                self._pairs[source].sendall(data)
                return
        except OSError:
            pass
        self._drop(source)

    def _drop(self, one: socket.socket) -> None:
        other = self._pairs.pop(one, None)
        if other is not None:
            self._pairs.pop(other, None)
            other.close()
        one.close()
