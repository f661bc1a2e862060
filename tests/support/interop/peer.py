"""A program that uses a foreign STOMP library, driven through the same few verbs as all others.

A peer does nothing that its library does not offer; what it says goes through that library's
functions, and what it hears is what the library hands over.
"""

from __future__ import annotations

import itertools
import queue
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from support.process import Server

__all__ = ["WITHIN_S", "Message", "Peer", "dashed"]

WITHIN_S = 15.0
"""How long anything may take that has to happen."""


@dataclass(frozen=True)
class Message:
    """A message as the library hands it over.

    Attributes:
        body: Its text.
        headers: Its headers, unescaped.
        native: What the library wants to have back for an ACK or NACK.
        data: Its bytes; b"" if the library hands over text only.
    """

    body: str
    headers: dict[str, str]
    native: Any = None
    data: bytes = b""

    @property
    def is_redelivered(self) -> bool:
        """Whether it was delivered before."""
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

    can_acknowledge_after_unsubscribe: ClassVar[bool] = True
    can_acknowledge_in_transactions: ClassVar[bool] = True
    can_refuse_for_good: ClassVar[bool] = True
    """Whether its NACK takes headers, so that it can say ``requeue:false``."""
    can_send_bytes: ClassVar[bool] = True
    """Whether it can send and hand over bytes that are not text."""
    can_have_any_header: ClassVar[bool] = True
    """Whether it escapes header values, so that they may hold colons and line ends."""
    has_heartbeats: ClassVar[bool] = True
    """Whether it can have heart-beats."""
    errors_of_coming_back: ClassVar[tuple[str, ...]] = ()
    """Errors that it causes, and gets over, while it connects again."""
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
    def send_bytes(self, destination: str, body: bytes, headers: dict[str, str]) -> None:
        """Send bytes with headers, without waiting."""

    @abstractmethod
    def send_confirmed(self, destination: str, body: str) -> None:
        """Send a message and wait for its receipt."""

    @abstractmethod
    def ack(self, message: Message, transaction: str = "") -> None:
        """Acknowledge."""

    @abstractmethod
    def nack(self, message: Message, *, requeue: bool = True) -> None:
        """Refuse a message: back to the queue, or for good."""

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
        """Return the next message."""
        try:
            return self.messages.get(timeout=WITHIN_S)
        except queue.Empty:
            errors = list(self.errors.queue)
            pytest.fail(
                f"{type(self).__name__} got no message within {WITHIN_S:g} s; errors: {errors}"
            )

    def bodies(self, count: int) -> list[str]:
        """Return the bodies of the next messages."""
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
            got = self.receipts.get(timeout=WITHIN_S)
        except queue.Empty:
            pytest.fail(f"no receipt {name!r} within {WITHIN_S:g} s: {list(self.errors.queue)}")
        assert got == name


def dashed(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
