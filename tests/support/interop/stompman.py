"""stompman as a peer, over TCP and over WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import threading
from collections.abc import Coroutine
from typing import Any

from support.interop.peer import WITHIN_S, Message, Peer, dashed
from support.needs import require_module

__all__ = ["StompmanPeer", "StompmanWebSocketPeer"]


class StompmanPeer(Peer):
    """stompman, in an event loop of its own."""

    can_acknowledge_after_unsubscribe = False
    can_acknowledge_in_transactions = False
    needs_a_subscription_for_answers = True
    can_refuse_for_good = False

    def open(self) -> None:
        """Connect."""
        self._stompman: Any = require_module("stompman")
        self._subscriptions: dict[str, Any] = {}
        self._transactions: dict[str, Any] = {}
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._ready.wait(WITHIN_S), "stompman did not connect"

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
        """Return the library's connection, with an eye on what comes and goes."""
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
        self._thread.join(WITHIN_S)
        assert not self._thread.is_alive(), "stompman did not leave"

    def kill(self) -> None:
        """End its event loop."""
        if self._thread.is_alive() and self._main is not None:
            self._loop.call_soon_threadsafe(self._main.cancel)
            self._thread.join(WITHIN_S)

    def subscribe(
        self, destination: str, name: str = "s", ack: str = "auto", **headers: str
    ) -> None:
        """Subscribe, to acknowledge by hand."""

        async def take(frame: Any) -> None:
            body = frame.body.decode(errors="replace")
            self.messages.put(Message(body, dict(frame.headers), frame, frame.body))

        self._subscriptions[name] = self._wait(
            self._client.subscribe_with_manual_ack(
                destination, take, ack=ack, headers=dashed(headers), receipt_timeout=WITHIN_S
            )
        )

    def unsubscribe(self, name: str = "s") -> None:
        """Unsubscribe."""
        self._wait(self._subscriptions.pop(name).unsubscribe())
        self.settle()

    def send(self, destination: str, body: str, transaction: str = "", **headers: str) -> None:
        """Send, through the transaction's ``send`` if it is in one."""
        sender = self._transactions[transaction][1] if transaction else self._client
        self._wait(sender.send(body.encode(), destination, headers=dashed(headers)))

    def send_bytes(self, destination: str, body: bytes, headers: dict[str, str]) -> None:
        """Send."""
        self._wait(self._client.send(body, destination, headers=headers))

    def send_confirmed(self, destination: str, body: str) -> None:
        """Send with a receipt."""
        self._wait(self._client.send(body.encode(), destination, receipt_timeout=WITHIN_S))

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
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WITHIN_S)


class StompmanWebSocketPeer(StompmanPeer):
    """stompman over ``/ws``. All its WebSocket messages are text."""

    can_send_bytes = False

    def _address(self, stompman: Any) -> Any:
        return stompman.ConnectionParameters(
            host="127.0.0.1", port=self.server.http, login="", passcode="", ws_uri_path="/ws"
        )

    def _connection_class(self) -> Any:
        return importlib.import_module("stompman.connection_ws").WebSocketConnection
