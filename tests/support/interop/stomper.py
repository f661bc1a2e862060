"""stomper as a peer: its frames over a socket of ours."""

from __future__ import annotations

import contextlib
import socket
import threading

import stomper
from support.interop.peer import WITHIN_S, Message, Peer, dashed
from support.process import until

__all__ = ["StomperPeer"]


class StomperPeer(Peer):
    """stomper: its frames over a socket of ours, its Engine for the acknowledgements.

    stomper builds and reads text and leaves the rest to the program: threads, heart-beats and
    coming back are ours here.
    """

    can_refuse_for_good = False
    can_send_bytes = False
    can_have_any_header = False

    def open(self) -> None:
        """Connect."""
        self._has_left = threading.Event()
        self._wanted: list[str] = []
        self._sending = threading.Lock()
        self._connect()
        self._threads = [threading.Thread(target=self._run, daemon=True)]
        if self.heartbeat_ms:
            self._threads.append(threading.Thread(target=self._beat, daemon=True))
        for thread in self._threads:
            thread.start()

    def _connect(self) -> None:
        self._engine = stomper.Engine()
        self._socket = socket.create_connection(("127.0.0.1", self.server.stomp), WITHIN_S)
        self._buffer = b""
        beats = (self.heartbeat_ms, self.heartbeat_ms)
        self._say(stomper.connect("", "", "localhost", beats))
        self._react(self._next())
        assert self._engine.sessionId
        for frame in self._wanted:
            self._say(frame)
        self.connections += 1

    def _next(self) -> str:
        """Return the next frame's text; a frame ends in NUL and LF."""
        while True:
            frame, nul, rest = self._buffer.partition(b"\0\n")
            without_beats = frame.lstrip(b"\n")
            if nul or not without_beats:
                self.heartbeats += len(frame) - len(without_beats)
                self._buffer = rest
            if nul:
                return without_beats.decode() + "\0"
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionError("the server has gone")
            self._buffer += data

    def _react(self, text: str) -> None:
        """Read a frame as stomper does, and let its Engine react."""
        read = stomper.unpack_frame(text)
        # The Engine would acknowledge every MESSAGE; here the test says when.
        self._engine.react(read)
        headers = read["headers"]
        if read["cmd"] == "MESSAGE":
            self.messages.put(Message(read["body"], headers, read))
        elif read["cmd"] == "RECEIPT":
            self.receipts.put(headers["receipt-id"])
        elif read["cmd"] == "ERROR":
            self.errors.put(headers["message"])

    def _run(self) -> None:
        while not self._has_left.is_set():
            try:
                text = self._next()
            except TimeoutError:
                continue
            except OSError:
                self._socket.close()
                if not self.comes_back:
                    return
                self._come_back()
            else:
                self._react(text)

    def _come_back(self) -> None:
        def is_connected() -> bool:
            try:
                self._connect()
            except OSError:
                return False
            return True

        until("server to come back to", lambda: self._has_left.is_set() or is_connected(), 30)

    def _beat(self) -> None:
        while not self._has_left.wait(self.heartbeat_ms / 2000):
            self._say("\n")

    def leave(self) -> None:
        """Disconnect, and wait for the receipt."""
        self._say(stomper.disconnect(receipt="goodbye"))
        self._confirmed("goodbye")
        self._has_left.set()

    def kill(self) -> None:
        """Close the socket."""
        self._has_left.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(WITHIN_S)
        self._socket.close()

    def subscribe(
        self, destination: str, name: str = "s", ack: str = "auto", **headers: str
    ) -> None:
        """Subscribe; stomper's ``subscribe`` has no place for further headers, its Frame has."""
        words = {"destination": destination, "id": name, "ack": ack, **dashed(headers)}
        self._wanted.append(_frame("SUBSCRIBE", **words))
        self._say(_frame("SUBSCRIBE", **words, receipt=name))
        self._confirmed(name)

    def unsubscribe(self, name: str = "s") -> None:
        """Unsubscribe."""
        self._say(stomper.unsubscribe(name))
        self.settle()

    def send(self, destination: str, body: str, transaction: str = "", **headers: str) -> None:
        """Send."""
        if not headers:
            self._say(stomper.send(destination, body, transaction or None))
            return
        more = {**dashed(headers), **({"transaction": transaction} if transaction else {})}
        self._say(_frame("SEND", body, destination=destination, **more))

    def send_bytes(self, destination: str, body: bytes, headers: dict[str, str]) -> None:
        """Send text."""
        self.send(destination, body.decode(), **headers)

    def send_confirmed(self, destination: str, body: str) -> None:
        """Send with a receipt."""
        name = f"sent-{next(self._names)}"
        self._say(_frame("SEND", body, destination=destination, receipt=name))
        self._confirmed(name)

    def ack(self, message: Message, transaction: str = "") -> None:
        """Acknowledge with what the Engine makes of the message."""
        if transaction:
            names = message.headers["message-id"], message.headers["subscription"]
            self._say(stomper.ack(*names, transaction))
        else:
            self._say(self._engine.react(message.native))

    def nack(self, message: Message, *, requeue: bool = True) -> None:
        """Refuse a message."""
        assert requeue, "stomper cannot say requeue:false"
        self._say(stomper.nack(message.headers["message-id"], message.headers["subscription"]))

    def begin(self, name: str) -> None:
        """Begin."""
        self._say(stomper.begin(name))

    def commit(self, name: str) -> None:
        """Commit."""
        self._say(stomper.commit(name))

    def abort(self, name: str) -> None:
        """Abort."""
        self._say(stomper.abort(name))

    def _say(self, frame: str) -> None:
        with self._sending:
            self._socket.sendall(frame.encode())


def _frame(command: str, body: str = "", **headers: str) -> str:
    frame = stomper.Frame()
    frame.cmd = command
    frame.headers = headers
    frame.body = body
    packed: str = frame.pack()
    return packed
