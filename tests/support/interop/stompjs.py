"""@stomp/stompjs as a peer: a Node process that takes orders."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path
from typing import Any

from support.interop.peer import WITHIN_S, Message, Peer, dashed
from support.needs import require, require_package
from support.process import until

__all__ = ["StompJsPeer"]

_SCRIPT = Path(__file__).with_name("client.mjs")


class StompJsPeer(Peer):
    """@stomp/stompjs in Node, over ``/ws``."""

    def open(self) -> None:
        """Start Node and wait until it is connected."""
        require_package("@stomp/stompjs")
        url = f"ws://localhost:{self.server.http}/ws"
        self._process = subprocess.Popen(
            [
                require("node"),
                str(_SCRIPT),
                url,
                str(self.heartbeat_ms),
                "200" if self.comes_back else "0",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._has_left = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        until("connection of stompjs", lambda: self.connections, WITHIN_S)

    def leave(self) -> None:
        """Deactivate."""
        self._order("leave")
        assert self._has_left.wait(WITHIN_S), "stompjs did not deactivate"

    def kill(self) -> None:
        """End Node."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._process.stdin.close()
        self._process.stdout.close()

    def subscribe(
        self, destination: str, name: str = "s", ack: str = "auto", **headers: str
    ) -> None:
        """Subscribe."""
        more = {"id": name, "ack": ack, **dashed(headers)}
        self._order("subscribe", destination=destination, headers=more)
        self._confirmed(name)

    def unsubscribe(self, name: str = "s") -> None:
        """Unsubscribe."""
        self._order("unsubscribe", id=name)
        self._confirmed(name)

    def send(self, destination: str, body: str, transaction: str = "", **headers: str) -> None:
        """Publish."""
        more = {**dashed(headers), **({"transaction": transaction} if transaction else {})}
        self._order("send", destination=destination, body=body, headers=more)

    def send_confirmed(self, destination: str, body: str) -> None:
        """Publish with a receipt."""
        name = f"sent-{next(self._names)}"
        self._order("send", destination=destination, body=body, headers={}, confirm=name)
        self._confirmed(name)

    def ack(self, message: Message, transaction: str = "") -> None:
        """Call the message's ``ack``."""
        headers = {"transaction": transaction} if transaction else {}
        self._order("ack", message=message.native, headers=headers)

    def nack(self, message: Message, *, requeue: bool = True) -> None:
        """Call the message's ``nack``."""
        headers = {} if requeue else {"requeue": "false"}
        self._order("nack", message=message.native, headers=headers)

    def begin(self, name: str) -> None:
        """Begin."""
        self._order("begin", name=name)

    def commit(self, name: str) -> None:
        """Commit."""
        self._order("commit", name=name)

    def abort(self, name: str) -> None:
        """Abort."""
        self._order("abort", name=name)

    def _order(self, op: str, **words: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"op": op, **words}) + "\n")
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            news = json.loads(line)
            event = news["event"]
            if event == "message":
                self.messages.put(Message(news["body"], news["headers"], news["number"]))
            elif event == "receipt":
                self.receipts.put(news["name"])
            elif event == "error":
                self.errors.put(news["headers"]["message"])
            elif event == "connected":
                self.connections += 1
            elif event == "heartbeat":
                self.heartbeats += 1
            elif event == "left":
                self._has_left.set()
