"""Programs that use somebody's STOMP library, each driven through the same few verbs.

A :class:`Peer` does nothing that the library it is named after does not offer; what it says goes
through that library's functions, and what it hears is what the library hands over.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import itertools
import json
import os
import queue
import socket
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import pytest
import stomp  # type: ignore[import-untyped]
import stomper
from live.browser import require
from live.server import ROOT, Server, until
from live.stompy import StompPy

__all__ = ["PEERS", "Message", "Peer", "open_peer"]

_WITHIN_S = 15.0
_SCRIPT = Path(__file__).with_name("interop_client.mjs")
_PACKAGES = ROOT / "tests" / "js" / "node_modules"


@dataclass(frozen=True)
class Message:
    """A message as the library hands it over.

    Attributes:
        body: Its text.
        headers: Its headers, unescaped.
        native: What the library wants to have back for an ACK or NACK.
    """

    body: str
    headers: dict[str, str]
    native: Any = None

    @property
    def is_redelivered(self) -> bool:
        """Whether somebody had it before."""
        return self.headers.get("redelivered") == "true"


class Peer(ABC):
    """One connected program.

    Args:
        server: What it connects to.
        heartbeat_ms: How often it can send heart-beats, and how often it wants one.
        comes_back: Whether it connects again, and subscribes again, when the server has gone.
            stompman always does.

    Attributes:
        heartbeats: How many came.
        connections: How often it was connected.
    """

    can_acknowledge_in_transactions: ClassVar[bool] = True
    can_refuse_for_good: ClassVar[bool] = True
    """Whether its NACK takes headers, so that it can say ``requeue:false``."""
    needs_a_subscription_for_answers: ClassVar[bool] = False
    """Whether it drops messages that it has no subscription for."""

    def __init__(self, server: Server, heartbeat_ms: int, *, comes_back: bool) -> None:
        self.server = server
        self.heartbeat_ms = heartbeat_ms
        self.comes_back = comes_back
        self.heartbeats = 0
        self.connections = 0
        self.messages: queue.Queue[Message] = queue.Queue()
        self.receipts: queue.Queue[str] = queue.Queue()
        self.errors: queue.Queue[str] = queue.Queue()
        self._names = itertools.count()

    # What every library can do

    @abstractmethod
    def open(self) -> None:
        """Connect."""

    @abstractmethod
    def leave(self) -> None:
        """Say goodbye as the library does, and end."""

    @abstractmethod
    def kill(self) -> None:
        """End whatever still runs."""

    @abstractmethod
    def subscribe(
        self, destination: str, name: str = "s", ack: str = "auto", **headers: str
    ) -> None:
        """Subscribe and wait for the receipt; ``_`` in names stands for ``-``."""

    @abstractmethod
    def unsubscribe(self, name: str = "s") -> None:
        """End a subscription."""

    @abstractmethod
    def send(self, destination: str, body: str, transaction: str = "", **headers: str) -> None:
        """Send a message, without waiting."""

    @abstractmethod
    def send_confirmed(self, destination: str, body: str) -> None:
        """Send a message and wait for its receipt."""

    @abstractmethod
    def ack(self, message: Message, transaction: str = "") -> None:
        """Acknowledge."""

    @abstractmethod
    def nack(self, message: Message, *, requeue: bool = True) -> None:
        """Give back, or refuse for good."""

    @abstractmethod
    def begin(self, name: str) -> None:
        """Open a transaction."""

    @abstractmethod
    def commit(self, name: str) -> None:
        """Let it take effect."""

    @abstractmethod
    def abort(self, name: str) -> None:
        """Undo it."""

    # What follows from that

    def message(self) -> Message:
        """Give the next message."""
        try:
            return self.messages.get(timeout=_WITHIN_S)
        except queue.Empty:
            errors = list(self.errors.queue)
            pytest.fail(
                f"{type(self).__name__} got no message within {_WITHIN_S:g} s; errors: {errors}"
            )

    def bodies(self, count: int) -> list[str]:
        """Give the bodies of the next messages."""
        return [self.message().body for _ in range(count)]

    def settle(self) -> None:
        """Wait until the server has done all that was asked, and all that came was heard."""
        self.send_confirmed("/topic/nobody.listens.here", "settled?")

    def expect_silence(self) -> None:
        """See that nothing came that was not asked for."""
        self.settle()
        assert self.messages.empty(), self.messages.get()

    def listen_for_answers(self, name: str) -> None:
        """Get ready for answers: subscribe as with ActiveMQ, or do nothing as with RabbitMQ."""
        if self.needs_a_subscription_for_answers:
            self.subscribe(f"/temp-queue/{name}", name="answers")

    def ask(self, destination: str, body: str, answers: str) -> None:
        """Send a message that says where its answer goes."""
        self.send(
            destination, body, reply_to=f"/temp-queue/{answers}", correlation_id=f"about {body}"
        )

    def answer(self, question: Message, body: str) -> None:
        """Send the answer to where the question says."""
        headers = question.headers
        self.send(headers["reply-to"], body, correlation_id=headers["correlation-id"])

    def _confirmed(self, name: str) -> None:
        try:
            got = self.receipts.get(timeout=_WITHIN_S)
        except queue.Empty:
            pytest.fail(f"no receipt {name!r} within {_WITHIN_S:g} s: {list(self.errors.queue)}")
        assert got == name


def _dashed(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


# ---------------------------------------------------------------- stomp.py


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
        self.peer.messages.put(Message(frame.body, dict(frame.headers), frame))

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
        self._wanted: list[tuple[str, str, str, dict[str, str]]] = []
        client = _Listening(
            self,
            heartbeats=(self.heartbeat_ms, self.heartbeat_ms),
        )
        self._connection = client.connection

    def come_back(self) -> None:
        """Connect and subscribe again."""

        def is_connected() -> bool:
            # A connection that ends at once, because the server is just closing, is one of
            # these to the library, depending on when.
            with contextlib.suppress(stomp.exception.StompException, OSError, TypeError):
                self._connection.connect(wait=True)
            return not self.comes_back or bool(self._connection.is_connected())

        until("server to come back to", is_connected, 30)
        for destination, name, ack, headers in self._wanted:
            self._connection.subscribe(destination, id=name, ack=ack, headers=headers)

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
        more = _dashed(headers)
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
        more = {**_dashed(headers), **({"transaction": transaction} if transaction else {})}
        self._connection.send(destination, body, headers=more)

    def send_confirmed(self, destination: str, body: str) -> None:
        """Send with a receipt."""
        name = f"sent-{next(self._names)}"
        self._connection.send(destination, body, receipt=name)
        self._confirmed(name)

    def ack(self, message: Message, transaction: str = "") -> None:
        """Acknowledge as 1.2 has it."""
        self._connection.ack(message.headers["ack"], transaction=transaction or None)

    def nack(self, message: Message, *, requeue: bool = True) -> None:
        """Give back as 1.2 has it."""
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
        """Give back as 1.1 has it."""
        headers = message.headers
        self._connection.nack(
            headers["message-id"], headers["subscription"], **self._requeue(requeue)
        )


# ---------------------------------------------------------------- @stomp/stompjs


class StompJsPeer(Peer):
    """@stomp/stompjs in Node, over ``/ws``."""

    def open(self) -> None:
        """Start Node and wait until it is connected."""
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
        until("connection of stompjs", lambda: self.connections, _WITHIN_S)

    def leave(self) -> None:
        """Deactivate."""
        self._order("leave")
        assert self._has_left.wait(_WITHIN_S), "stompjs did not deactivate"

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
        more = {"id": name, "ack": ack, **_dashed(headers)}
        self._order("subscribe", destination=destination, headers=more)
        self._confirmed(name)

    def unsubscribe(self, name: str = "s") -> None:
        """Unsubscribe."""
        self._order("unsubscribe", id=name)
        self._confirmed(name)

    def send(self, destination: str, body: str, transaction: str = "", **headers: str) -> None:
        """Publish."""
        more = {**_dashed(headers), **({"transaction": transaction} if transaction else {})}
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


# ---------------------------------------------------------------- stompman


class StompmanPeer(Peer):
    """stompman, in an event loop of its own."""

    can_acknowledge_in_transactions = False
    needs_a_subscription_for_answers = True
    can_refuse_for_good = False

    def open(self) -> None:
        """Connect."""
        self._stompman: Any = importlib.import_module("stompman")
        self._subscriptions: dict[str, Any] = {}
        self._transactions: dict[str, Any] = {}
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._ready.wait(_WITHIN_S), "stompman did not connect"

    async def _run(self) -> None:
        stompman = self._stompman
        self._loop = asyncio.get_running_loop()
        self._main = asyncio.current_task()
        self._leaving = asyncio.Event()
        client = stompman.Client(
            servers=[self._address(stompman)],
            heartbeat=stompman.Heartbeat(self.heartbeat_ms, self.heartbeat_ms),
            on_error_frame=lambda frame: self.errors.put(frame.headers["message"]),
            keep_alive_on_connection_failure=True,
            connection_class=self._counting(self._connection_class()),
        )
        with contextlib.suppress(asyncio.CancelledError):
            async with client as self._client:
                self._ready.set()
                await self._leaving.wait()
                for subscription in self._subscriptions.values():
                    await subscription.unsubscribe()

    def _address(self, stompman: Any) -> Any:
        return stompman.ConnectionParameters(
            host="127.0.0.1", port=self.server.stomp, login="", passcode=""
        )

    def _connection_class(self) -> Any:
        return importlib.import_module("stompman.connection").Connection

    def _counting(self, base: Any) -> Any:
        """Give the library's connection, with an eye on what comes and goes."""
        peer, beat = self, self._stompman.HeartbeatFrame

        async def connect(cls: Any, /, **options: Any) -> Any:
            connection = await base.connect.__func__(cls, **options)
            peer.connections += connection is not None
            return connection

        async def read_frames(self: Any) -> Any:
            async for frame in base.read_frames(self):
                peer.heartbeats += isinstance(frame, beat)
                yield frame

        parts = {"connect": classmethod(connect), "read_frames": read_frames}
        return type("Counting", (base,), parts)

    def leave(self) -> None:
        """Unsubscribe, and leave the client's ``async with``."""
        self._loop.call_soon_threadsafe(self._leaving.set)
        self._thread.join(_WITHIN_S)
        assert not self._thread.is_alive(), "stompman did not leave"

    def kill(self) -> None:
        """End its event loop."""
        if self._thread.is_alive() and self._main is not None:
            self._loop.call_soon_threadsafe(self._main.cancel)
            self._thread.join(_WITHIN_S)

    def subscribe(
        self, destination: str, name: str = "s", ack: str = "auto", **headers: str
    ) -> None:
        """Subscribe, to acknowledge by hand."""

        async def take(frame: Any) -> None:
            self.messages.put(Message(frame.body.decode(), dict(frame.headers), frame))

        self._subscriptions[name] = self._wait(
            self._client.subscribe_with_manual_ack(
                destination, take, ack=ack, headers=_dashed(headers), receipt_timeout=_WITHIN_S
            )
        )

    def unsubscribe(self, name: str = "s") -> None:
        """Unsubscribe."""
        self._wait(self._subscriptions.pop(name).unsubscribe())
        self.settle()

    def send(self, destination: str, body: str, transaction: str = "", **headers: str) -> None:
        """Send, through the transaction's ``send`` if it is in one."""
        sender = self._transactions[transaction][1] if transaction else self._client
        self._wait(sender.send(body.encode(), destination, headers=_dashed(headers)))

    def send_confirmed(self, destination: str, body: str) -> None:
        """Send with a receipt."""
        self._wait(self._client.send(body.encode(), destination, receipt_timeout=_WITHIN_S))

    def ack(self, message: Message, transaction: str = "") -> None:
        """Call the message's ``ack``."""
        assert not transaction, "stompman cannot acknowledge in a transaction"
        self._wait(message.native.ack())

    def nack(self, message: Message, *, requeue: bool = True) -> None:
        """Call the message's ``nack``."""
        assert requeue, "stompman cannot say requeue:false"
        self._wait(message.native.nack())

    def begin(self, name: str) -> None:
        """Enter a transaction's ``async with``."""

        manager = self._client.begin()
        self._transactions[name] = (manager, self._wait(manager.__aenter__()))

    def commit(self, name: str) -> None:
        """Leave the ``async with``."""
        manager, _ = self._transactions[name]
        self._wait(manager.__aexit__(None, None, None))

    def abort(self, name: str) -> None:
        """Leave the ``async with`` with an exception."""
        manager, _ = self._transactions[name]
        reason = RuntimeError("changed my mind")
        assert not self._wait(manager.__aexit__(RuntimeError, reason, None))

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_WITHIN_S)


class StompmanWebSocketPeer(StompmanPeer):
    """stompman over ``/ws``."""

    def _address(self, stompman: Any) -> Any:
        return stompman.ConnectionParameters(
            host="127.0.0.1", port=self.server.http, login="", passcode="", ws_uri_path="/ws"
        )

    def _connection_class(self) -> Any:
        return importlib.import_module("stompman.connection_ws").WebSocketConnection


# ---------------------------------------------------------------- stomper


class StomperPeer(Peer):
    """stomper: its frames over a socket of ours, its Engine for the acknowledgements.

    stomper builds and reads text and leaves the rest to the program: threads, heart-beats and
    coming back are ours here.
    """

    can_refuse_for_good = False

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
        self._socket = socket.create_connection(("127.0.0.1", self.server.stomp), _WITHIN_S)
        self._buffer = b""
        beats = (self.heartbeat_ms, self.heartbeat_ms)
        self._say(stomper.connect("", "", "localhost", beats))
        self._react(self._next())
        assert self._engine.sessionId
        for frame in self._wanted:
            self._say(frame)
        self.connections += 1

    def _next(self) -> str:
        """Give the next frame's text; a frame ends at its NUL."""
        while True:
            frame, nul, rest = self._buffer.partition(b"\0")
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
            thread.join(_WITHIN_S)
        self._socket.close()

    def subscribe(
        self, destination: str, name: str = "s", ack: str = "auto", **headers: str
    ) -> None:
        """Subscribe; stomper's ``subscribe`` has no place for further headers, its Frame has."""
        words = {"destination": destination, "id": name, "ack": ack, **_dashed(headers)}
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
        more = {**_dashed(headers), **({"transaction": transaction} if transaction else {})}
        self._say(_frame("SEND", body, destination=destination, **more))

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
        """Give back."""
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


# ---------------------------------------------------------------- all of them

PEERS: dict[str, type[Peer]] = {
    "stomp.py 1.2": StompPyPeer,
    "stomp.py 1.1": StompPy11Peer,
    "stompjs": StompJsPeer,
    "stomper": StomperPeer,
}
if sys.version_info >= (3, 11):  # the oldest Python that stompman runs on
    PEERS["stompman"] = StompmanPeer
    PEERS["stompman over WebSocket"] = StompmanWebSocketPeer


@contextmanager
def open_peer(
    server: Server, library: str, heartbeat_ms: int = 0, *, comes_back: bool = False
) -> Iterator[Peer]:
    """Connect a program that uses the library; skip the test if it is not there.

    With ``CI=true`` a skipped test would be a hole, so there it fails.
    """
    kind = PEERS[library]
    if issubclass(kind, StompmanPeer) and find_spec("stompman") is None:
        _missing("stompman is missing; install rtchat[test] to run this test")
    if kind is StompJsPeer and not (_PACKAGES / "@stomp" / "stompjs").is_dir():
        _missing("stompjs is missing; run 'npm ci' in tests/js to run this test")
    peer = kind(server, heartbeat_ms, comes_back=comes_back)
    peer.open()
    try:
        yield peer
    finally:
        peer.kill()


def _missing(text: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(text)
    pytest.skip(text)
