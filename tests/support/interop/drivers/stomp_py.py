"""An older stomp.py as a puppet of a Python test.

python stomp_py.py HOST:PORT HEARTBEAT_MS COMES_BACK
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import stomp  # type: ignore[import-untyped]
from orders import Orders, body_of, tell, tell_message

PATIENCE = 5.0
"""After so many agreed times without a heart-beat it gives up. The library's 1.5 would make half a
second in which the machine stands still the end of a connection with heart-beats each second."""


class Listener(stomp.ConnectionListener):  # type: ignore[misc]  # stomp.py has no types
    """Reports what the library hands over, and comes back as its documentation shows."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver

    def on_connected(self, frame: Any) -> None:
        """Report it."""
        tell("connected")

    def on_message(self, frame: Any) -> None:
        """Report it, and keep it for its ACK."""
        self.driver.messages.append(frame)
        body = frame.body.encode() if isinstance(frame.body, str) else frame.body
        tell_message(len(self.driver.messages) - 1, frame.headers, body)

    def on_receipt(self, frame: Any) -> None:
        """Report it."""
        tell("receipt", name=self.driver.names[frame.headers["receipt-id"]])

    def on_error(self, frame: Any) -> None:
        """Report it."""
        tell("error", message=frame.headers.get("message", frame.body))

    def on_heartbeat(self) -> None:
        """Report it."""
        tell("heartbeat")

    def on_disconnected(self) -> None:
        """Connect again."""
        if self.driver.comes_back:
            threading.Thread(target=self.driver.come_back, daemon=True).start()


class Driver:
    """Obeys orders."""

    def __init__(self, address: str, heartbeat: str, comes_back: str) -> None:
        host, port = address.split(":")
        beats = (int(heartbeat), int(heartbeat))
        self.comes_back = comes_back == "1"
        self.messages: list[Any] = []
        self.names: dict[str, str] = {}
        self.wanted: dict[str, tuple[str, dict[str, str]]] = {}
        self._lock = threading.Lock()
        self.connection = stomp.Connection12(
            [(host, int(port))],
            heartbeats=beats,
            auto_decode=False,
            heart_beat_receive_scale=PATIENCE,
        )
        self.connection.set_listener("driver", Listener(self))
        self.connection.connect(wait=True)

    def come_back(self) -> None:
        """Connect and subscribe again."""
        with self._lock:
            while self.comes_back and not self.connection.is_connected():
                try:
                    self.connection.connect(wait=True)
                    for name, (destination, headers) in self.wanted.items():
                        self.connection.subscribe(
                            destination, name, ack=headers["ack"], headers=headers
                        )
                except (stomp.exception.StompException, OSError, TypeError):
                    time.sleep(0.2)

    def obey(self, order: dict[str, Any]) -> None:
        """Obey one order."""
        connection, op = self.connection, order["op"]
        headers = order.get("headers") or {}
        if op == "subscribe":
            name = headers.pop("id")
            self.wanted[name] = (order["destination"], headers)
            more = {**headers, "receipt": self._receipt(name)}
            connection.subscribe(order["destination"], name, headers=more, ack=headers["ack"])
        elif op == "unsubscribe":
            self.wanted.pop(order["id"])
            connection.unsubscribe(order["id"], receipt=self._receipt(order["id"]))
        elif op == "send":
            if order["confirm"] is not None:
                headers["receipt"] = self._receipt(order["confirm"])
            connection.send(order["destination"], body_of(order), headers=headers)
        elif op in ("ack", "nack"):
            about = self.messages[order["message"]].headers["ack"]
            transaction = headers.pop("transaction", None)
            getattr(connection, op)(about, transaction=transaction, **headers)
        elif op == "leave":
            self.comes_back = False
            connection.disconnect()
            tell("left")
        else:
            getattr(connection, op)(order["name"])

    def _receipt(self, name: str) -> str:
        receipt = f"receipt-{len(self.names)}"
        self.names[receipt] = name
        return receipt


if __name__ == "__main__":
    driver = Driver(*sys.argv[1:])
    Orders().obey(driver.obey)
