"""stompest's synchronous client as a puppet of a Python test.

python stompest_sync.py HOST:PORT HEARTBEAT_MS COMES_BACK
"""

from __future__ import annotations

import sys
import time
from typing import Any

from orders import Orders, body_of, tell, tell_message
from stompest.config import StompConfig
from stompest.error import StompConnectionError, StompProtocolError
from stompest.sync import Stomp

GONE = (StompConnectionError, StompProtocolError, OSError)


class Driver:
    """Obeys orders, and reads between them; the program sends heart-beats and comes back."""

    def __init__(self, address: str, heartbeat: str, comes_back: str) -> None:
        self.beats = (int(heartbeat), int(heartbeat))
        self.comes_back = comes_back == "1"
        self.is_over = False
        self.messages: list[Any] = []
        self.names: dict[str, str] = {}
        self.tokens: dict[str, Any] = {}
        self.wanted: dict[str, tuple[str, dict[str, str]]] = {}
        self.client = Stomp(StompConfig(f"tcp://{address}", version="1.2"))
        self.connect()
        self._beaten_s = time.monotonic()
        self._heard_s = self.client.lastReceived

    def connect(self) -> None:
        """Connect, and subscribe to what is wanted."""
        self.client.connect(heartBeats=self.beats, host="localhost", versions=["1.2"])
        for name, (destination, headers) in self.wanted.items():
            self.tokens[name] = self.client.subscribe(destination, headers)
        tell("connected")

    def read(self) -> None:
        """Take the frames that are there, and send a heart-beat when it is time."""
        while self.client.canRead(0):
            self.take(self.client.receiveFrame())
        if self.beats[0]:
            heard_s = self.client.lastReceived
            if heard_s != self._heard_s:
                self._heard_s = heard_s
                tell("heartbeat")
            if time.monotonic() - self._beaten_s > self.client.clientHeartBeat / 2000:
                self._beaten_s = time.monotonic()
                self.client.beat()

    def take(self, frame: Any) -> None:
        """Report a frame."""
        if frame.command == "MESSAGE":
            self.messages.append(frame)
            tell_message(len(self.messages) - 1, frame.headers, frame.body)
        elif frame.command == "RECEIPT":
            tell("receipt", name=self.names[frame.headers["receipt-id"]])
        elif frame.command == "ERROR":
            tell("error", message=frame.headers["message"])

    def obey(self, order: dict[str, Any]) -> None:
        """Obey one order."""
        client, op = self.client, order["op"]
        headers = order.get("headers") or {}
        if op == "subscribe":
            name, destination = headers["id"], order["destination"]
            self.wanted[name] = (destination, headers)
            self.tokens[name] = client.subscribe(destination, headers, self._receipt(name))
        elif op == "unsubscribe":
            self.wanted.pop(order["id"])
            client.unsubscribe(self.tokens.pop(order["id"]), self._receipt(order["id"]))
        elif op == "send":
            receipt = None if order["confirm"] is None else self._receipt(order["confirm"])
            body = body_of(order)
            headers["content-length"] = str(len(body))  # it adds none, even for bytes with NULs
            client.send(order["destination"], body, headers, receipt)
        elif op in ("ack", "nack"):
            # It copies what it needs from the frame's headers; more headers go in there.
            frame = self.messages[order["message"]]
            frame.headers.update(headers)
            getattr(client, op)(frame)
        elif op == "leave":
            self.is_over = True
            client.disconnect()
            client.close()
            tell("left")
        else:
            getattr(client, op)(order["name"])

    def come_back(self) -> None:
        """Connect again once there is a server."""
        while True:
            time.sleep(0.2)
            try:
                self.client.close(flush=True)
                self.connect()
            except GONE:
                continue
            return

    def _receipt(self, name: str) -> str:
        receipt = f"receipt-{len(self.names)}"
        self.names[receipt] = name
        return receipt


def main() -> None:
    """Run until stdin ends."""
    driver, orders = Driver(*sys.argv[1:]), Orders()
    while not (orders.is_over or driver.is_over):
        try:
            driver.read()
            for order in orders.waiting(0.01):
                driver.obey(order)
        except GONE as error:
            if not driver.comes_back:
                tell("error", message=str(error))
                return
            driver.come_back()


if __name__ == "__main__":
    main()
