"""What the drivers in Python share: orders from stdin, news to stdout (../scripted.py)."""

from __future__ import annotations

import base64
import json
import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["Orders", "body_of", "tell", "tell_message"]

_OUT = threading.Lock()


def tell(event: str, **more: Any) -> None:
    """Write one line of news."""
    line = json.dumps({"event": event, **more}) + "\n"
    with _OUT:
        sys.stdout.write(line)
        sys.stdout.flush()


def tell_message(number: int, headers: dict[str, str], body: bytes) -> None:
    """Write that a message has come."""
    encoded = base64.b64encode(body).decode()
    tell("message", number=number, headers=dict(headers), base64=encoded)


def body_of(order: dict[str, Any]) -> bytes:
    """Return the body of an order to send."""
    return base64.b64decode(order["base64"])


class Orders:
    """Orders from stdin, without waiting for them."""

    def __init__(self) -> None:
        self._rest = b""
        self.is_over = False

    def waiting(self, within_s: float) -> Iterator[dict[str, Any]]:
        """Yield the orders that are there; wait for the first one for a time."""
        while select.select([sys.stdin], [], [], within_s)[0]:
            data = os.read(sys.stdin.fileno(), 65536)
            if not data:
                self.is_over = True
                return
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                yield json.loads(line)
            within_s = 0

    def obey(self, orders: Callable[[dict[str, Any]], None]) -> None:
        """Call a function for each order until stdin ends."""
        while not self.is_over:
            for order in self.waiting(1):
                orders(order)
