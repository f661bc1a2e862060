"""Web servers of other people: pages on another origin than the chat's, for tests of embedding."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

__all__ = ["Host"]


class Host:
    """A web server with pages that the test writes; a context manager.

    Attributes:
        pages: The HTML of each path, with the headers it goes out with.
        port: Where it listens.
    """

    def __init__(self) -> None:
        self.pages: dict[str, tuple[str, dict[str, str]]] = {}
        pages = self.pages

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = pages.get(self.path.partition("?")[0])
                if found is None:
                    # Not a word: browsers ask for icons of their own accord.
                    self.send_response(204)
                    self.end_headers()
                    return
                text, headers = found
                data = text.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(data)))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def page(self, path: str, html: str, *, name: str = "127.0.0.1", **headers: str) -> str:
        """Put a page there; return its address.

        Args:
            path: Where.
            html: What.
            name: By which name it is visited. ``localhost`` on another port is another origin, but
                the same site: a browser gives a frame the storage of its site. ``127.0.0.1`` is
                another site, and a browser that keeps nothing for those gives it none.
            headers: More headers, with underscores for dashes.
        """
        self.pages[path] = (html, {key.replace("_", "-"): text for key, text in headers.items()})
        return f"http://{name}:{self.port}{path}"

    def __enter__(self) -> Host:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
