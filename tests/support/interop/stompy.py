"""stomp.py as a peer."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import stomp  # type: ignore[import-untyped]
from support.interop.peer import Message, Peer, dashed
from support.process import until
from support.stompy import StompPy

__all__ = ["StompPy11Peer", "StompPyPeer"]


class _Listening(StompPy):
    """The frames of a stomp.py connection go to a peer."""

    def __init__(self, peer: StompPyPeer, **options: Any) -> None:
        self.peer = peer
        super().__init__(peer.server.stomp, peer.version, **options)

    def on_connected(self, frame: Any) -> None:
        """Count it."""
        self.peer.connections += 1

    def on_message(self, frame: Any) -> None:
        """Hand it over."""
        data = frame.body
        body = data.decode(errors="replace")
        self.peer.messages.put(Message(body, dict(frame.headers), frame, data))

    def on_receipt(self, frame: Any) -> None:
        """Hand it over."""
        self.peer.receipts.put(frame.headers["receipt-id"])

    def on_error(self, frame: Any) -> None:
        """Hand it over."""
        self.peer.errors.put(frame.headers["message"])

    def on_heartbeat(self) -> None:
        """Count it."""
        self.peer.heartbeats += 1

    def on_disconnected(self) -> None:
        """Let the program come back; by itself the library would not."""
        if self.peer.comes_back:
            threading.Thread(target=self.peer.come_back, daemon=True).start()


class StompPyPeer(Peer):
    """stomp.py."""

    version = "1.2"

    def open(self) -> None:
        """Connect."""
        self._coming_back = threading.Lock()
        self._wanted: list[tuple[str, str, str, dict[str, str]]] = []
        client = _Listening(
            self,
            heartbeats=(self.heartbeat_ms, self.heartbeat_ms),
            auto_decode=False,
            heart_beat_receive_scale=5.0,  # as in drivers/stomp_py.py
        )
        self._connection = client.connection

    def come_back(self) -> None:
        """Connect and subscribe again."""

        def is_back() -> bool:
            # A connection that ends at once, because the server is just closing, is one of
            # these to the library, depending on when.
            with contextlib.suppress(stomp.exception.StompException, OSError, TypeError):
                self._connection.connect(wait=True)
                for destination, name, ack, headers in self._wanted:
                    self._connection.subscribe(destination, id=name, ack=ack, headers=headers)
            return not self.comes_back or bool(self._connection.is_connected())

        with self._coming_back:
            if not self._connection.is_connected():
                until("server to come back to", is_back, 30)

    def leave(self) -> None:
        """Disconnect with a receipt, which is the library's way to be sure."""
        self.comes_back = False
        self._connection.disconnect(receipt="goodbye")
        self._confirmed("goodbye")

    def kill(self) -> None:
        """Close the socket."""
        self.comes_back = False
        self._connection.transport.disconnect_socket()

    def subscribe(
        self, destination: str, name: str = "s", ack: str = "auto", **headers: str
    ) -> None:
        """Subscribe."""
        more = dashed(headers)
        self._wanted.append((destination, name, ack, more))
        self._connection.subscribe(destination, id=name, ack=ack, headers=more, receipt=name)
        self._confirmed(name)

    def unsubscribe(self, name: str = "s") -> None:
        """Unsubscribe."""
        self._wanted = [wanted for wanted in self._wanted if wanted[1] != name]
        self._connection.unsubscribe(id=name, receipt=name)
        self._confirmed(name)

    def send(self, destination: str, body: str, transaction: str = "", **headers: str) -> None:
        """Send."""
        more = {**dashed(headers), **({"transaction": transaction} if transaction else {})}
        self._connection.send(destination, body, headers=more)

    def send_bytes(self, destination: str, body: bytes, headers: dict[str, str]) -> None:
        """Send."""
        self._connection.send(destination, body, headers=headers)

    def send_confirmed(self, destination: str, body: str) -> None:
        """Send with a receipt."""
        name = f"sent-{next(self._names)}"
        self._connection.send(destination, body, receipt=name)
        self._confirmed(name)

    def ack(self, message: Message, transaction: str = "") -> None:
        """Acknowledge as 1.2 has it."""
        self._connection.ack(message.headers["ack"], transaction=transaction or None)

    def nack(self, message: Message, *, requeue: bool = True) -> None:
        """Refuse a message as 1.2 has it."""
        self._connection.nack(message.headers["ack"], **self._requeue(requeue))

    def _requeue(self, requeue: bool) -> dict[str, str]:
        return {} if requeue else {"requeue": "false"}

    def begin(self, name: str) -> None:
        """Begin."""
        self._connection.begin(name)

    def commit(self, name: str) -> None:
        """Commit."""
        self._connection.commit(name)

    def abort(self, name: str) -> None:
        """Abort."""
        self._connection.abort(name)


class StompPy11Peer(StompPyPeer):
    """stomp.py in STOMP 1.1, which acknowledges by message and subscription."""

    version = "1.1"

    def ack(self, message: Message, transaction: str = "") -> None:
        """Acknowledge as 1.1 has it."""
        headers = message.headers
        self._connection.ack(
            headers["message-id"], headers["subscription"], transaction=transaction or None
        )

    def nack(self, message: Message, *, requeue: bool = True) -> None:
        """Refuse a message as 1.1 has it."""
        headers = message.headers
        self._connection.nack(
            headers["message-id"], headers["subscription"], **self._requeue(requeue)
        )
