"""@stomp/stompjs, the JavaScript STOMP client of other people, in Node processes."""

from __future__ import annotations

import base64
import contextlib
import json
import queue
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.needs import require, require_package
from support.process import Server, environment

__all__ = ["StompJs", "stompjs"]

_SCRIPT = Path(__file__).with_name("stompjs_client.mjs")
_WITHIN_S = 15.0


class StompJs:
    """A Node process with one stompjs client.

    Args:
        server: Whom it connects to, and whose certificate it trusts.
        path: Where the WebSocket is.
        destination: What it subscribes to and sends to.
        mode: The kind of WebSocket messages that it sends, ``text`` or ``binary``.
        headers: More headers of its SUBSCRIBE.
        connect_headers: More headers of its CONNECT.
        request_headers: More headers of the request that opens the WebSocket.
    """

    def __init__(
        self,
        server: Server,
        path: str,
        destination: str,
        mode: str,
        headers: dict[str, str] | None = None,
        *,
        connect_headers: dict[str, str] | None = None,
        request_headers: dict[str, str] | None = None,
    ) -> None:
        require_package("@stomp/stompjs")
        url = f"{server.websocket_url}{path.removeprefix('/')}"
        trusted = {}
        if server.certificate is not None:
            trusted["NODE_EXTRA_CA_CERTS"] = str(server.folder / "cert.pem")
        self._process = subprocess.Popen(
            [
                require("node"),
                str(_SCRIPT),
                url,
                destination,
                mode,
                *(json.dumps(some or {}) for some in (headers, connect_headers, request_headers)),
            ],
            env=environment(**trusted),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._news: queue.Queue[dict[str, Any]] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def order(self, **words: Any) -> None:
        """Send the script an order."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()

    def next(self, wanted: str = "anything") -> dict[str, Any]:
        """Return the next news, of any kind."""
        try:
            return self._news.get(timeout=_WITHIN_S)
        except queue.Empty:
            pytest.fail(f"stompjs did not tell of {wanted} within {_WITHIN_S:g} s")

    def expect(self, event: str) -> dict[str, Any]:
        """Return the next news, which have to be of this kind."""
        news = self.next(repr(event))
        assert news["event"] == event, news
        return news

    def body(self) -> bytes:
        """Return the body of the next message."""
        return base64.b64decode(self.expect("message")["base64"])

    def close(self) -> None:
        """End the process if the script has not."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._news.put(json.loads(line))


@contextlib.contextmanager
def stompjs(server: Server, path: str, destination: str, mode: str) -> Iterator[StompJs]:
    """Run one that has subscribed."""
    client = StompJs(server, path, destination, mode)
    try:
        assert client.expect("ready")["version"] == "1.2"
        yield client
    finally:
        client.close()
