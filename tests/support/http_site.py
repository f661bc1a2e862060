"""A site on loopback that answers GET as a test wants, byte for byte, from threads of its own."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

__all__ = ["Site", "answer", "site"]

Answering = Callable[[socket.socket], None]


def answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """Return a whole answer."""
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Site:
    """A web server.

    Attributes:
        port: Its port.
        host: Its address, on loopback.
        answers: What it answers: bytes, after which it closes, or a function of the connection.
        requests: The requests it got, up to the empty line.
        ended: How many connections have ended; those that the client cut count as well.
    """

    def __init__(self, listener: socket.socket, context: ssl.SSLContext | None) -> None:
        self.host, self.port = listener.getsockname()
        self.answers: bytes | Answering = answer(b"")
        self.requests: list[str] = []
        self.ended = 0
        self._listener = listener
        self._context = context

    @property
    def url(self) -> str:
        """The address of a document."""
        scheme = "https" if self._context else "http"
        return f"{scheme}://{self.host}:{self.port}/keys"

    def run(self) -> None:
        """Serve clients until the listener is closed."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(20)
        with suppress(OSError), client:
            if self._context is not None:
                client = self._context.wrap_socket(client, server_side=True)
            with client:
                data = b""
                while b"\r\n\r\n" not in data:
                    if not (read := client.recv(1 << 16)):
                        raise ConnectionAbortedError
                    data += read
                self.requests.append(data.decode("latin-1"))
                if callable(self.answers):
                    self.answers(client)
                else:
                    client.sendall(self.answers)
        self.ended += 1


@contextmanager
def site(context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Iterator[Site]:
    """Serve on a free port, encrypted if there is a context."""
    with socket.create_server((host, 0)) as listener:
        made = Site(listener, context)
        thread = threading.Thread(target=made.run, daemon=True)
        thread.start()
        try:
            yield made
        finally:
            listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)
