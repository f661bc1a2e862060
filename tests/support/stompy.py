"""stomp.py, the Python STOMP client of other people, with its frames in a queue."""

from __future__ import annotations

import queue
from typing import Any

import stomp  # type: ignore[import-untyped]

__all__ = ["VERSIONS", "StompPy"]

VERSIONS = {
    "1.0": stomp.Connection10,
    "1.1": stomp.Connection11,
    "1.2": stomp.Connection12,
}
_WITHIN_S = 10.0


class StompPy(stomp.ConnectionListener):  # type: ignore[misc]  # stomp.py has no types
    """One client.

    Args:
        port: The broker's.
        version: Which STOMP to speak.
        connect_headers: More for CONNECT.
        connects: Whether to connect at once; else ``connection.connect()`` does.
        options: More for stomp.py's Connection.
    """

    def __init__(
        self,
        port: int,
        version: str = "1.2",
        connect_headers: dict[str, str] | None = None,
        connects: bool = True,
        **options: Any,
    ) -> None:
        self.messages: queue.Queue[Any] = queue.Queue()
        self.receipts: queue.Queue[str] = queue.Queue()
        self.errors: queue.Queue[Any] = queue.Queue()
        self.ends: queue.Queue[bool] = queue.Queue()
        self.heartbeats = 0
        self.connected: dict[str, str] = {}
        self.connection = VERSIONS[version]([("127.0.0.1", port)], **options)
        self.connection.set_listener("test", self)
        if connects:
            self.connection.connect(wait=True, headers=connect_headers or {})

    def __enter__(self) -> StompPy:
        return self

    def __exit__(self, *_: object) -> None:
        if self.connection.is_connected():
            self.connection.disconnect()

    def subscribe(self, destination: str, name: str = "1", **more: Any) -> None:
        """Subscribe and wait for the receipt."""
        self.connection.subscribe(destination, id=name, receipt=f"subscribed-{name}", **more)
        assert self.receipts.get(timeout=_WITHIN_S) == f"subscribed-{name}"

    def send(self, destination: str, body: bytes | str, **more: Any) -> None:
        """Send a message."""
        self.connection.send(destination, body, **more)

    def message(self) -> Any:
        """Return the next message."""
        return self.messages.get(timeout=_WITHIN_S)

    # For stomp.py

    def on_connected(self, frame: Any) -> None:
        """Keep what the server said of itself."""
        self.connected = frame.headers

    def on_message(self, frame: Any) -> None:
        """Keep a message."""
        self.messages.put(frame)

    def on_receipt(self, frame: Any) -> None:
        """Keep a receipt."""
        self.receipts.put(frame.headers["receipt-id"])

    def on_error(self, frame: Any) -> None:
        """Keep an error."""
        self.errors.put(frame)

    def on_heartbeat(self) -> None:
        """Count a heart-beat."""
        self.heartbeats += 1

    def on_disconnected(self) -> None:
        """Remember the end."""
        self.ends.put(True)
