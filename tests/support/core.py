"""The world around ``rtchat.core``, faked: a server with its clients and its turns, no reactor.

:class:`Server` does what the reactor's side does: it gives sessions what clients send, ends every
turn with a flush, and reads on from clients whose pause is over. :func:`clean_server` gives one to
a test and looks afterwards whether anything stayed behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from sys import getsizeof
from types import MappingProxyType
from typing import Any

from support.stomp import StompReader, frame_bytes

from rtchat.core.broker.broker import Broker
from rtchat.core.broker.events import BrokerEvents
from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.broker.message import Message
from rtchat.core.broker.notices import Notice, Notices
from rtchat.core.broker.topic_consumer import TopicConsumer
from rtchat.core.flow.outbound import HIGH_WATER_BYTES, RAW, Cork, Framing, Outbound
from rtchat.core.session.connection import CloseReason, HeartBeat
from rtchat.core.session.session import Session
from rtchat.core.stomp.frames import Frame, Version
from rtchat.core.stomp.limits import Limits
from rtchat.errors import LimitExceeded

__all__ = [
    "START_S",
    "Client",
    "Listener",
    "RecordingOutbound",
    "RecordingTransport",
    "Server",
    "bodies",
    "clean_server",
    "connected",
    "cut",
    "errors",
    "message_size",
    "publish",
    "read_frames",
    "read_one",
]

START_S = 1_000_000.0
"""The time when a server starts."""


# ---------------------------------------------------------------- a client's connection


class RecordingOutbound(Outbound):
    """Records what it would send; a test says whether the client reads.

    Attributes:
        writes: What each flush sent.
        sent: All that was sent, whether or not the client has read it.
        overflows: How much waited each time that it was too much.
        on_flush: Called after each flush; a test may cut a connection in it.
        on_overflow: Called when too much waits, with how much.
    """

    __slots__ = ("on_flush", "on_overflow", "overflows", "sent", "writes")

    def __init__(self, cork: Cork, framing: Framing = RAW) -> None:
        super().__init__(cork, framing)
        self.writes: list[bytes] = []
        self.sent = bytearray()
        self.overflows: list[int] = []
        self.on_flush: Callable[[], None] = _nothing
        self.on_overflow: Callable[[int], None] = _nothing

    def flush(self) -> None:
        """Record what a socket would be given, in one write."""
        written = b"".join(map(bytes, self.pending))
        self.writes.append(written)
        self.sent += written
        self.pending.clear()
        self.gathered_bytes = 0
        self.on_flush()

    def overflow(self, waiting_bytes: int) -> None:
        """Record that too much waits, and tell the connection."""
        self.overflows.append(waiting_bytes)
        self.on_overflow(waiting_bytes)

    @property
    def data(self) -> bytes:
        """All that was sent."""
        return bytes(self.sent)

    def stall(self) -> None:
        """Let the client read no more: the connection is not writable."""
        self.waiting_bytes = HIGH_WATER_BYTES

    def read_on(self) -> None:
        """Let the client read all that waits."""
        self.waiting_bytes = 0
        self.on_drain()


class RecordingTransport:
    """Records what a session asks of its connection.

    Attributes:
        opened: The heart-beats of each ``session_opened``.
        closed: Reason and text of each ``session_closed``.
        is_paused: Whether the client is not read.
        pauses: How often reading was paused.
        delays_s: How long the client had to wait each time that it was too fast.
        has_more: Whether the session has frames for its next turn.
        on_more: Called when it has.
        turns: How often it had.
        session: The session that goes on when its wait is over, None to leave it waiting.
        source: Where the client comes from; "" is unknown.
        request_headers: The credentials of its WebSocket's request.
    """

    source = ""
    request_headers: Mapping[str, str] = MappingProxyType({})

    def __init__(self) -> None:
        self.opened: list[HeartBeat] = []
        self.closed: list[tuple[CloseReason, str]] = []
        self.is_paused = False
        self.pauses = 0
        self.begun_frames = 0
        self.delays_s: list[float] = []
        self.has_more = False
        self.on_more: Callable[[], None] = _nothing
        self.turns = 0
        self.session: Session | None = None

    def session_opened(self, heartbeat: HeartBeat) -> None:
        """Record the heart-beats."""
        self.opened.append(heartbeat)

    def session_closed(self, reason: CloseReason, text: str) -> None:
        """Record the reason."""
        self.closed.append((reason, text))

    def frame_incomplete(self) -> None:
        """Count it."""
        self.begun_frames += 1

    def pause_reading(self) -> None:
        """Read no more."""
        self.is_paused = True
        self.pauses += 1

    def resume_reading(self) -> None:
        """Read again."""
        assert self.is_paused, "told to read on, and reading was not paused"
        self.is_paused = False

    def resume_after(self, delay_s: float) -> None:
        """Record that the client was too fast; the test lets the time pass."""
        self.delays_s.append(delay_s)

    def end_turn(self) -> None:
        """Record that the session has more to do; reading is paused."""
        self.is_paused = self.has_more = True
        self.turns += 1
        self.on_more()

    def resume_session(self) -> None:
        """Let the session go on where it had to wait."""
        if self.session is not None:
            self.session.resume()


class Client:
    """One client at a server, with its session and its connection.

    Args:
        server: Where it connects to; a broker alone is enough.
        version: The version to log in with, None to say nothing before :meth:`connect`.
        limits: What the server allows it.
        framing: What is around each frame on its connection.
        session_type: The session's class.

    Attributes:
        outbound: Its way out.
        line: Its connection.
        session: Its session.
        unread: What it sent while the server did not read from it.
        is_gone: Whether its connection is lost.
    """

    def __init__(
        self,
        server: Server | Broker,
        version: Version | None = Version.V12,
        limits: Limits | None = None,
        framing: Framing = RAW,
        *,
        session_type: type[Session] = Session,
    ) -> None:
        self.server = server if isinstance(server, Server) else Server(server)
        self.broker = self.server.broker
        self.outbound = self.server.outbound_type(self.broker.cork, framing)
        self.line = RecordingTransport()
        self.session = session_type(self.broker, limits or Limits(), self.outbound, self.line)
        self.line.session = self.session
        self.line.on_more = self._has_more
        self.outbound.on_overflow = self._too_slow
        self.unread: list[bytes] = []
        self.is_gone = False
        self._read = 0
        self.server.clients.append(self)
        if version is not None:
            answer = self.connect(version)
            assert answer.command == "CONNECTED", answer

    @property
    def version(self) -> Version:
        """The version that it speaks."""
        return self.session.version

    # What it sends

    def connect(self, version: Version = Version.V12, /, **headers: str) -> Frame:
        """Log in and return the answer, CONNECTED as a rule."""
        if version is not Version.V10:
            headers = {"accept_version": version.value, **headers}
        [answer] = self.ask("CONNECT", **headers)
        return answer

    def send(self, data: bytes) -> None:
        """Send bytes, which the server reads at once, as one read, unless it has paused."""
        self.unread.append(data)
        self.server.senders.add(self)
        self.server.end_turn()

    def say(self, command: str, body: bytes | str = b"", /, **headers: str) -> None:
        """Send a frame; in header names ``_`` stands for ``-``, values are not escaped."""
        self.send(frame_bytes(command, _bytes(body), **headers))

    def ask(self, command: str, body: bytes | str = b"", /, **headers: str) -> list[Frame]:
        """Send a frame and return all that came since the last look."""
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
        """Send a message; ``content-length`` is added."""
        length = str(len(_bytes(body)))
        self.say("SEND", body, destination=destination, content_length=length, **headers)

    def ack(self, message: Frame, **headers: str) -> None:
        """Acknowledge a message the way this version does."""
        self.say("ACK", **self.naming(message), **headers)

    def nack(self, message: Frame, **headers: str) -> None:
        """Refuse a message."""
        self.say("NACK", **self.naming(message), **headers)

    def naming(self, message: Frame) -> dict[str, str]:
        """Return the headers with which this version acknowledges a message."""
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

    # What it receives

    def received_bytes(self) -> bytes:
        """Return the bytes that came since the last look."""
        sent = self.outbound.sent
        new, self._read = bytes(sent[self._read :]), len(sent)
        return new

    def received(self) -> list[Frame]:
        """Return the frames that came since the last look."""
        return read_frames(self.received_bytes(), self.version)

    def messages(self) -> list[Frame]:
        """Return the messages that came since the last look; anything else fails the test."""
        frames = self.received()
        assert all(frame.command == "MESSAGE" for frame in frames), frames
        return frames

    def message(self) -> Frame:
        """Return the one message that came since the last look."""
        [message] = self.messages()
        return message

    def bodies(self) -> list[str]:
        """Return the bodies of the messages that came since the last look."""
        return bodies(self.messages())

    def receipts(self) -> list[str]:
        """Return the ids of the receipts among all that came since the last look."""
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
        """Whether the server does not read from it."""
        return self.line.is_paused

    @property
    def close_reason(self) -> CloseReason | None:
        """Why the server closed, None while the connection is open."""
        return self.line.closed[0][0] if self.line.closed else None

    def _has_more(self) -> None:
        self.server.busy[self] = None

    def _too_slow(self, waiting_bytes: int) -> None:
        self.session.fail(
            LimitExceeded("too slow", f"{waiting_bytes} bytes were waiting."),
            reason=CloseReason.SLOW,
        )


def connected(broker: Broker, *versions: Version) -> list[Client]:
    """Return a client for each version, all of them logged in at one server."""
    server = Server(broker)
    return [Client(server, version) for version in versions]


# ---------------------------------------------------------------- a server


class Listener(BrokerEvents):
    """Calls a function with every message that goes to a topic."""

    def __init__(self, call: Callable[[Message], object]) -> None:
        self._call = call

    def published(self, message: Message) -> None:
        """Call the function."""
        self._call(message)


def publish(broker: Broker, destination: str, frame: Frame) -> None:
    """Publish a SEND that comes from no session."""
    broker.publishing.publish(broker.router.resolve(destination), frame)


class Server:
    """A broker with its clients and its turns.

    Args:
        broker: The broker; without one it is made when the first client comes.
        epoch: The run of the server.

    Attributes:
        outbound_type: What clients' ways out are.
        clients: All that ever connected.
        senders: Those with bytes that the server has not read.
        busy: Those that once had frames for their next turn.
        notices: What the operator was told.
    """

    outbound_type: type[RecordingOutbound] = RecordingOutbound

    def __init__(self, broker: Broker | None = None, epoch: str = "run") -> None:
        self._epoch = epoch
        self.clients: list[Client] = []
        self.senders: set[Client] = set()
        self.busy: dict[Client, None] = {}
        self.notices: list[Notice] = []
        self._limits = BrokerLimits()
        self._pubsub: dict[str, tuple[str, ...]] = {}
        self._broker = broker

    @property
    def broker(self) -> Broker:
        """The broker."""
        if self._broker is None:
            self._broker = Broker(self._epoch, self._limits, pubsub=self._pubsub)
            self._broker.now = START_S
            self._broker.events.add(Notices(self.notices))
        return self._broker

    def limit(self, **limits: int) -> None:
        """Set limits that all clients share, before the first one comes."""
        assert self._broker is None
        self._limits = replace(self._limits, **limits)

    def declare(self, name: str, *queues: str) -> None:
        """Declare a destination ``/pubsub/NAME``, before the first client comes."""
        assert self._broker is None
        self._pubsub[name] = queues

    def client(self, version: Version = Version.V12, /, **limits: int) -> Client:
        """Connect a client."""
        fields: dict[str, Any] = {**limits}
        return Client(self, version, replace(Limits(), **fields))

    def end_turn(self) -> None:
        """Flush, and read from every client that has sent and is not paused, until all is quiet."""
        self._flush()
        while True:
            for client in [client for client in self.busy if client.line.has_more]:
                client.line.has_more = False
                client.session.resume()
                self._flush()
            readable = [client for client in self.senders if not client.is_waiting]
            if not readable and not any(client.line.has_more for client in self.busy):
                return
            for client in sorted(readable, key=self.clients.index):
                data = client.unread.pop(0)
                if not client.unread:
                    self.senders.remove(client)
                if not client.is_gone:
                    client.session.receive(data)
                self._flush()

    def _flush(self) -> None:
        cork = self.broker.cork
        cork.flush()
        while cork.later:
            cork.run_later()
            cork.flush()

    def advance(self, seconds: float) -> None:
        """Let time pass; messages that expire meanwhile stay until :meth:`expire`."""
        self.broker.now += seconds

    def expire(self) -> None:
        """Do what the server's timer does every second: remove what has expired."""
        self.broker.expire()
        self.end_turn()

    @property
    def waiting_bytes(self) -> int:
        """What the messages take that wait in queues, and for subscribers of topics."""
        sources = [one.source for client in self.clients for one in client.session.subscriptions]
        waiting = sum(one.waiting_bytes for one in sources if isinstance(one, TopicConsumer))
        return waiting + sum(queue.bytes for queue in self.broker.queues.values())

    def size_of(self, queue: str) -> int:
        """Return how many messages a queue holds."""
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
    """Yield a server to a test; afterwards see that nothing stays behind when all clients left."""
    server = Server()
    yield server
    broker = server.broker
    assert not any(client.line.delays_s for client in server.clients), "no client has a rate"
    for client in server.clients:
        client.stall()
    for client in server.clients:
        client.drop()
    assert broker.statistics.subscription_count == broker.statistics.topic_count == 0
    held = list(broker.queues)
    assert broker.statistics.queue_count == len(held)
    assert all(server.size_of(queue) for queue in held), "an unused queue was kept"
    assert broker.budget.used == sum(
        queue.bytes + queue.cost_bytes for queue in broker.queues.values()
    )
    assert broker.budget.held == 0
    for queue in held:
        server.drain(queue)
    assert broker.statistics.queue_count == broker.statistics.queued_count == 0
    assert broker.budget.used == 0
    assert not broker.waiting._places
    assert not broker.cork.groups
    assert not broker.cork.outbounds
    assert not broker.cork.woken


# ---------------------------------------------------------------- frames


def bodies(frames: list[Frame]) -> list[str]:
    """Return the frames' bodies as text."""
    return [frame.body.decode() for frame in frames]


def errors(frames: list[Frame]) -> list[str]:
    """Return the messages of the ERROR frames among these."""
    return [frame.headers["message"] for frame in frames if frame.command == "ERROR"]


def message_size(headers: dict[str, str], body: bytes = b"") -> int:
    """Return what a message counts in limits, from its description in the documentation.

    Args:
        headers: The headers of the SEND as they are sent, escapes included.
        body: Its body.
    """
    block = "\n".join(["SEND", *(f"{name}:{value}" for name, value in headers.items())]).encode()
    size = sum(map(_kept_bytes, [*headers, *headers.values()]))
    return 640 + len(body) + len(block) + size + 136 * len(headers)


def _kept_bytes(text: str) -> int:
    """Return how many bytes Python keeps for the characters of a text."""
    return getsizeof(text + text) - getsizeof(text) if text else 0


def read_frames(data: bytes, version: Version) -> list[Frame]:
    """Read whole frames as a client of the version does; anything odd is an error.

    The reader goes by the letter of the specification and shares no code with the parser under
    test.
    """
    reader = StompReader(version.value)
    frames = [Frame(one.command, one.headers, one.body) for one in reader.read(data)]
    assert not reader.rest, f"half a frame: {reader.rest!r}"
    return frames


def read_one(data: bytes, version: Version = Version.V12) -> Frame:
    """Read exactly one frame."""
    [frame] = read_frames(data, version)
    return frame


def cut(data: bytes, *places: int) -> list[bytes]:
    """Cut bytes at the places given."""
    edges = [0, *sorted(places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def _bytes(body: bytes | str) -> bytes:
    return body.encode() if isinstance(body, str) else body


def _nothing(*_: object) -> None:
    """What happens when no test wants to know."""
