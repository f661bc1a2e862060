"""A server without reactor for the tests of queues: clients, their ways out, and turns.

:class:`Server` does what the reactor's side does: it feeds sessions, ends every turn with a flush,
and reads on from clients whose pause is over. :func:`clean_server` gives one to a test and looks
afterwards whether anything stayed behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from support.core import frame_bytes, read_frames

from rtchat.core.broker.broker import Broker
from rtchat.core.broker.events import BrokerEvents
from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.flow.outbound import HIGH_WATER_BYTES, RAW, Cork, Outbound
from rtchat.core.session.connection import CloseReason, HeartBeat
from rtchat.core.session.session import Session
from rtchat.core.stomp.frames import Frame, Version
from rtchat.core.stomp.limits import Limits
from rtchat.errors import LimitExceeded
from rtchat.testing import Notice

__all__ = [
    "START_S",
    "Client",
    "Server",
    "StallingOutlet",
    "bodies",
    "clean_server",
    "errors",
    "message_size",
]

START_S = 1_000_000.0
"""What time it is when a server starts."""


class StallingOutlet(Outbound):
    """Keeps what it would send; a test says whether the client reads.

    Attributes:
        data: All that was sent, whether or not the client has read it.
        on_overflow: Called when too much waits, with how much.
    """

    __slots__ = ("data", "on_overflow")

    def __init__(self, cork: Cork) -> None:
        super().__init__(cork, RAW)
        self.data = b""
        self.on_overflow: Callable[[int], None] = _nothing

    def flush(self) -> None:
        """Note what a socket would be given."""
        self.data += b"".join(self.pending)
        self.pending.clear()
        self.gathered_bytes = 0

    def overflow(self, waiting_bytes: int) -> None:
        """Cut the client, as the connection does."""
        self.on_overflow(waiting_bytes)

    def stall(self) -> None:
        """The client reads no more: there is no room."""
        self.waiting_bytes = HIGH_WATER_BYTES

    def read_on(self) -> None:
        """The client has read all that was there."""
        self.waiting_bytes = 0
        self.on_drain()


class PausableLine:
    """Notes what a session asks of its connection.

    Attributes:
        closed: Reason and text of each ``session_closed``.
        is_paused: Whether the client is not read.
        pauses: How often reading was paused.
    """

    def __init__(self) -> None:
        self.closed: list[tuple[CloseReason, str]] = []
        self.is_paused = False
        self.pauses = 0
        self.resume_with: Callable[[], None] = _no_session

    def session_opened(self, heartbeat: HeartBeat) -> None:
        """No timers here."""

    def session_closed(self, reason: CloseReason, text: str) -> None:
        """Note why."""
        self.closed.append((reason, text))

    def pause_reading(self) -> None:
        """Read no more."""
        self.is_paused = True
        self.pauses += 1

    def resume_reading(self) -> None:
        """Read again."""
        assert self.is_paused
        self.is_paused = False

    def resume_after(self, delay_s: float) -> None:
        """Nobody here has a rate."""
        raise AssertionError(f"told to wait for {delay_s} s")

    def resume_session(self) -> None:
        """Let the session go on where it had to wait."""
        self.resume_with()


class Client:
    """One client at a server.

    Args:
        server: Where it connects to.
        version: The version it speaks.
        limits: What the server allows it.
        session_type: The session's class.
    """

    def __init__(
        self,
        server: Server,
        version: Version,
        limits: Limits,
        session_type: type[Session] = Session,
    ) -> None:
        self.server = server
        self.version = version
        self.outbound = server.new_outlet()
        self.line = PausableLine()
        self.session = session_type(server.broker, limits, self.outbound, self.line)
        self.line.resume_with = self.session.resume
        self.outbound.on_overflow = self._too_slow
        self.unread: list[bytes] = []
        self.is_gone = False
        self._read = 0
        server.clients.append(self)
        accepted = {} if version is Version.V10 else {"accept_version": version.value}
        [connected] = self.ask("CONNECT", **accepted)
        assert connected.command == "CONNECTED"

    # What it says

    def send(self, data: bytes) -> None:
        """Send bytes, which the server reads at once unless it has paused."""
        self.unread.append(data)
        self.server.end_turn()

    def say(self, command: str, body: bytes | str = b"", /, **headers: str) -> None:
        """Send a frame; in header names ``_`` stands for ``-``."""
        self.send(frame_bytes(command, _bytes(body), **headers))

    def ask(self, command: str, body: bytes | str = b"", /, **headers: str) -> list[Frame]:
        """Send a frame and give all that came since the last look."""
        self.say(command, body, **headers)
        return self.received()

    def subscribe(self, destination: str, subscription_id: str = "0", **headers: str) -> None:
        """Subscribe; an ERROR fails the test."""
        self.say("SUBSCRIBE", id=subscription_id, destination=destination, **headers)
        assert not self.line.closed, self.received()

    def unsubscribe(self, subscription_id: str = "0") -> None:
        """End a subscription."""
        self.say("UNSUBSCRIBE", id=subscription_id)

    def publish(self, destination: str, body: bytes | str = b"", /, **headers: str) -> None:
        """Send a message."""
        length = str(len(_bytes(body)))
        self.say("SEND", body, destination=destination, content_length=length, **headers)

    def ack(self, message: Frame, **headers: str) -> None:
        """Acknowledge a message the way this version does."""
        self.say("ACK", **self.naming(message), **headers)

    def nack(self, message: Frame, **headers: str) -> None:
        """Give a message back."""
        self.say("NACK", **self.naming(message), **headers)

    def naming(self, message: Frame) -> dict[str, str]:
        """Give the headers with which this version acknowledges a message."""
        if self.version is Version.V12:
            return {"id": message.headers["ack"]}
        named = {"message_id": message.headers["message-id"]}
        if self.version is Version.V11:
            named["subscription"] = message.headers["subscription"]
        return named

    def drop(self) -> None:
        """Lose the connection without a word."""
        self.is_gone = True
        self.session.lost()
        self.server.end_turn()

    # What it hears

    def received(self) -> list[Frame]:
        """Give the frames that came since the last look."""
        new, self._read = self.outbound.data[self._read :], len(self.outbound.data)
        return read_frames(new, self.version)

    def messages(self) -> list[Frame]:
        """Give the messages that came since the last look; anything else fails the test."""
        frames = self.received()
        assert all(frame.command == "MESSAGE" for frame in frames), frames
        return frames

    def message(self) -> Frame:
        """Give the one message that came since the last look."""
        [message] = self.messages()
        return message

    def bodies(self) -> list[str]:
        """Give the bodies of the messages that came since the last look."""
        return bodies(self.messages())

    def receipts(self) -> list[str]:
        """Give the ids of the receipts among all that came since the last look."""
        frames = self.received()
        return [frame.headers["receipt-id"] for frame in frames if frame.command == "RECEIPT"]

    def stall(self) -> None:
        """Read no more."""
        self.outbound.stall()

    def read_on(self) -> None:
        """Read all that waits."""
        self.outbound.read_on()
        self.server.end_turn()

    @property
    def is_waiting(self) -> bool:
        """Whether the server reads no more from it."""
        return self.line.is_paused

    @property
    def close_reason(self) -> CloseReason | None:
        """Why the server closed, None while the connection is open."""
        return self.line.closed[0][0] if self.line.closed else None

    def _too_slow(self, waiting_bytes: int) -> None:
        self.session.fail(
            LimitExceeded("too slow", f"{waiting_bytes} bytes were waiting."),
            reason=CloseReason.SLOW,
        )


class Notices(BrokerEvents):
    """Notes what the operator is told about queues."""

    def __init__(self, notices: list[Notice]) -> None:
        self._notices = notices

    def queue_full(self, destination: str, messages: int, size: int) -> None:
        """Note it."""
        self._notices.append(Notice("queue full", destination, messages, size))

    def queue_drained(self, destination: str, messages: int, size: int) -> None:
        """Note it."""
        self._notices.append(Notice("queue has room", destination, messages, size))

    def dead_lettered(self, destination: str, messages: int, size: int) -> None:
        """Note it."""
        self._notices.append(Notice("dead letter", destination, messages, size))


class Server:
    """A broker with its clients and its turns.

    Args:
        epoch: The run of the server.

    Attributes:
        broker: The broker; made with the first client.
        clients: Everybody who ever connected.
        notices: What the operator was told.
    """

    def __init__(self, epoch: str = "run") -> None:
        self._epoch = epoch
        self.clients: list[Client] = []
        self.notices: list[Notice] = []
        self._limits = BrokerLimits()
        self._pubsub: dict[str, tuple[str, ...]] = {}
        self._broker: Broker | None = None

    @property
    def broker(self) -> Broker:
        """The broker."""
        if self._broker is None:
            self._broker = Broker(self._epoch, self._limits, pubsub=self._pubsub)
            self._broker.now = START_S
            self._broker.events.add(Notices(self.notices))
        return self._broker

    def limit(self, **limits: int) -> None:
        """Set limits that all clients share, before the first comes."""
        assert self._broker is None
        self._limits = replace(self._limits, **limits)

    def declare(self, name: str, *queues: str) -> None:
        """Declare a destination ``/pubsub/NAME``, before the first client comes."""
        assert self._broker is None
        self._pubsub[name] = queues

    def new_outlet(self) -> StallingOutlet:
        """Give a client's way out."""
        return StallingOutlet(self.broker.cork)

    def client(self, version: Version = Version.V12, /, **limits: int) -> Client:
        """Connect a client."""
        fields: dict[str, Any] = {**limits}
        return Client(self, version, replace(Limits(), **fields))

    def end_turn(self) -> None:
        """Flush, and read from whoever has something to say and is read, until all is quiet."""
        self.broker.cork.flush()
        while readable := [c for c in self.clients if c.unread and not c.is_waiting]:
            for client in readable:
                data = client.unread.pop(0)
                if not client.is_gone:
                    client.session.receive(data)
                self.broker.cork.flush()

    def advance(self, seconds: float) -> None:
        """Let time pass; nobody looks for messages whose time is over."""
        self.broker.now += seconds

    def expire(self) -> None:
        """Look for messages whose time is over."""
        self.broker.expire()
        self.end_turn()

    def size_of(self, queue: str) -> int:
        """Give how many messages a queue holds."""
        queues = self.broker.queues
        return len(queues[queue]) if queue in queues else 0

    def drain(self, queue: str) -> list[Frame]:
        """Take everything that is ready in a queue."""
        taker = self.client()
        taker.subscribe(queue)
        messages = taker.messages()
        taker.drop()
        return messages


def clean_server() -> Iterator[Server]:
    """Give a server; afterwards see that nothing stays behind when everybody has gone."""
    server = Server()
    yield server
    broker = server.broker
    for client in server.clients:
        client.stall()
    for client in server.clients:
        client.drop()
    assert broker.statistics.subscription_count == broker.statistics.topic_count == 0
    held = list(broker.queues)
    assert broker.statistics.queue_count == len(held)
    assert all(server.size_of(queue) for queue in held), "an unused queue was kept"
    assert broker.budget.used == sum(queue.bytes for queue in broker.queues.values())
    for queue in held:
        server.drain(queue)
    assert broker.statistics.queue_count == broker.statistics.queued_count == 0
    assert broker.budget.used == 0
    assert not broker.full_queues._waiting
    assert not broker.cork.groups
    assert not broker.cork.outbounds
    assert not broker.cork.woken


def bodies(frames: list[Frame]) -> list[str]:
    """Give the frames' bodies as text."""
    return [frame.body.decode() for frame in frames]


def errors(frames: list[Frame]) -> list[str]:
    """Give the messages of the ERROR frames among these."""
    return [frame.headers["message"] for frame in frames if frame.command == "ERROR"]


def message_size(headers: dict[str, str], body: bytes = b"") -> int:
    """Return what a message counts in limits, from its description in the documentation.

    Args:
        headers: The headers of the SEND as they are sent, escapes included.
        body: Its body.
    """
    block = "\n".join(["SEND", *(f"{name}:{value}" for name, value in headers.items())])
    return 512 + len(body) + len(block.encode())


def _bytes(body: bytes | str) -> bytes:
    return body.encode() if isinstance(body, str) else body


def _nothing(_: int) -> None:
    """What happens on overflow before there is a session."""


def _no_session() -> None:
    """What happens before there is a session."""
