"""Stand-ins for the world around the core: outlets, connections, clients.

Nothing here has a reactor. :func:`read_frames` reads the server's bytes after the letter of the
specification and shares no code with the parser under test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from rtchat.core.broker.broker import Broker
from rtchat.core.broker.events import BrokerEvents
from rtchat.core.broker.message import Message
from rtchat.core.flow.outbound import RAW, Cork, Framing, Outbound
from rtchat.core.session.connection import CloseReason, HeartBeat
from rtchat.core.session.session import Session
from rtchat.core.stomp.frames import Frame, Version
from rtchat.core.stomp.head_cache import HeadCache
from rtchat.core.stomp.limits import Limits
from rtchat.core.stomp.parser import FrameParser
from rtchat.errors import ProtocolError

__all__ = [
    "Client",
    "ListOutlet",
    "Listener",
    "Reading",
    "RecordingLine",
    "connected",
    "cut",
    "feed_all",
    "frame_bytes",
    "publish",
    "read_frames",
    "read_one",
]


class ListOutlet(Outbound):
    """Keeps what it would send.

    Attributes:
        writes: What each flush sent.
        overflows: How much waited each time when it was too much.
        on_flush: Called after each flush; a test may cut a connection in it.
    """

    __slots__ = ("on_flush", "overflows", "writes")

    def __init__(self, cork: Cork, framing: Framing = RAW) -> None:
        super().__init__(cork, framing)
        self.writes: list[bytes] = []
        self.overflows: list[int] = []
        self.on_flush: Callable[[], None] = _nothing

    def flush(self) -> None:
        """Note what a socket would be given, in one write."""
        self.writes.append(b"".join(self.pending))
        self.pending.clear()
        self.gathered_bytes = 0
        self.on_flush()

    def overflow(self, waiting_bytes: int) -> None:
        """Note that a client would be cut."""
        self.overflows.append(waiting_bytes)

    @property
    def data(self) -> bytes:
        """All that was sent."""
        return b"".join(self.writes)


class RecordingLine:
    """Notes what a session asks of its connection.

    Attributes:
        opened: The heart-beats of each ``session_opened``.
        closed: Reason and text of each ``session_closed``.
        is_paused: Whether the client is not read.
        delays_s: How long it had to wait each time because it was too fast.
    """

    def __init__(self) -> None:
        self.opened: list[HeartBeat] = []
        self.closed: list[tuple[CloseReason, str]] = []
        self.is_paused = False
        self.delays_s: list[float] = []
        self.session: Session | None = None

    def session_opened(self, heartbeat: HeartBeat) -> None:
        """Note the terms."""
        self.opened.append(heartbeat)

    def session_closed(self, reason: CloseReason, text: str) -> None:
        """Note why."""
        self.closed.append((reason, text))

    def pause_reading(self) -> None:
        """Note that the client waits."""
        self.is_paused = True

    def resume_reading(self) -> None:
        """Note that it waits no longer."""
        self.is_paused = False

    def resume_after(self, delay_s: float) -> None:
        """Note that the client was too fast."""
        self.delays_s.append(delay_s)

    def resume_session(self) -> None:
        """Let the session go on."""
        if self.session is not None:
            self.session.resume()


class Client:
    """One client at a broker, with its session, outlet and line.

    Args:
        broker: Where it connects to.
        version: The version it says it accepts, None to stay silent before :meth:`connect`.
        limits: What the server allows it.
    """

    def __init__(
        self,
        broker: Broker,
        version: Version | None = Version.V12,
        limits: Limits | None = None,
        framing: Framing = RAW,
    ) -> None:
        self.broker = broker
        self.outbound = ListOutlet(broker.cork, framing)
        self.line = RecordingLine()
        self.session = Session(broker, limits or Limits(), self.outbound, self.line)
        self._read = 0
        if version is not None:
            self.connect(version)

    def connect(self, version: Version = Version.V12, /, **headers: str) -> Frame:
        """Log in and give the answer, CONNECTED as a rule."""
        if version is not Version.V10:
            headers = {"accept_version": version.value, **headers}
        [answer] = self.ask("CONNECT", **headers)
        return answer

    def send(self, data: bytes) -> None:
        """Give the session bytes, as one read; then the turn is over."""
        self.session.receive(data)
        self.broker.cork.flush()

    def say(self, command: str, body: bytes = b"", /, **headers: str) -> None:
        """Send a frame; in header names ``_`` stands for ``-``. Values are sent as they are."""
        self.send(frame_bytes(command, body, **headers))

    def ask(self, command: str, body: bytes = b"", /, **headers: str) -> list[Frame]:
        """Send a frame and give all that came since the last look."""
        self.say(command, body, **headers)
        return self.received()

    def subscribe(self, destination: str, subscription_id: str = "0") -> None:
        """Subscribe, and see that it was no mistake."""
        answer = self.ask("SUBSCRIBE", id=subscription_id, destination=destination, receipt="s")
        assert answer == [Frame("RECEIPT", {"receipt-id": "s"})], answer

    def publish(self, destination: str, body: bytes = b"", /, **headers: str) -> None:
        """Send a message; ``content-length`` is added."""
        length = str(len(body))
        self.say("SEND", body, destination=destination, content_length=length, **headers)

    def received_bytes(self) -> bytes:
        """Give the bytes that came since the last look."""
        data = self.outbound.data
        new, self._read = data[self._read :], len(data)
        return new

    def received(self) -> list[Frame]:
        """Give the frames that came since the last look."""
        return read_frames(self.received_bytes(), self.session.version)

    @property
    def close_reason(self) -> CloseReason | None:
        """Why the server closed, None while the connection is open."""
        return self.line.closed[0][0] if self.line.closed else None


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


def connected(broker: Broker, *versions: Version) -> list[Client]:
    """Give a client that is logged in for each version."""
    return [Client(broker, version) for version in versions]


def frame_bytes(command: str, body: bytes = b"", /, **headers: str) -> bytes:
    """Write a frame by hand; in header names ``_`` stands for ``-``."""
    lines = [command, *(f"{name.replace('_', '-')}:{value}" for name, value in headers.items())]
    return "\n".join(lines).encode() + b"\n\n" + body + b"\0"


_PLAIN = {
    Version.V10: {},
    Version.V11: {"\\n": "\n", "\\c": ":", "\\\\": "\\"},
    Version.V12: {"\\r": "\r", "\\n": "\n", "\\c": ":", "\\\\": "\\"},
}


def read_frames(data: bytes, version: Version) -> list[Frame]:
    """Read whole frames as a client of the version does; anything odd is an error."""
    frames = []
    while data := data.lstrip(b"\n"):
        head, blank, rest = data.partition(b"\n\n")
        assert blank, f"no blank line in {data!r}"
        command, *lines = head.decode().split("\n")
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            assert colon, f"no colon in {line!r}"
            if command != "CONNECTED":
                name, value = _unescaped(name, version), _unescaped(value, version)
            assert name not in headers, f"{name} twice"
            headers[name] = value
        if "content-length" in headers:
            length = int(headers["content-length"])
        else:
            length = rest.index(b"\0")
        body, end, data = rest[:length], rest[length : length + 1], rest[length + 1 :]
        assert end == b"\0", f"no NUL after the body of {head!r}"
        frames.append(Frame(command, headers, body))
    return frames


def read_one(data: bytes, version: Version = Version.V12) -> Frame:
    """Read exactly one frame."""
    [frame] = read_frames(data, version)
    return frame


def _unescaped(text: str, version: Version) -> str:
    plain, at = "", 0
    while at < len(text):
        width = 2 if text[at] == "\\" and version is not Version.V10 else 1
        part = text[at : at + width]
        assert width == 1 or part in _PLAIN[version], f"{part!r} is no escape of {version}"
        plain += _PLAIN[version].get(part, part)
        at += width
    return plain


@dataclass
class Reading:
    """What a parser made of a stream of bytes.

    Attributes:
        frames: The frames, in order.
        error: What ended the reading, None when nothing did.
        most_buffered_bytes: How much waited at worst for the rest of its frame.
        buffered_bytes: How much waits still.
        fed_bytes: How much was fed before the error, or the end.
    """

    frames: list[Frame]
    error: ProtocolError | None = None
    most_buffered_bytes: int = 0
    buffered_bytes: int = 0
    fed_bytes: int = 0


def feed_all(
    chunks: list[bytes],
    *,
    limits: Limits | None = None,
    version: Version | None = Version.V12,
    cache: HeadCache | None = None,
) -> Reading:
    """Feed a new parser chunk by chunk until it fails.

    Args:
        chunks: The bytes of the stream.
        limits: The parser's limits.
        version: The version to log in with, None to stay a stranger.
        cache: The heads to share with other parsers.
    """
    parser = FrameParser(limits or Limits(), cache)
    if version is not None:
        parser.log_in(version)
    reading = Reading([])
    for chunk in chunks:
        parser.feed(chunk)
        reading.fed_bytes += len(chunk)
        try:
            while (frame := parser.next_frame()) is not None:
                reading.frames.append(frame)
        except ProtocolError as error:
            reading.error = error
            return reading
        reading.buffered_bytes = parser.buffered_bytes
        reading.most_buffered_bytes = max(reading.most_buffered_bytes, parser.buffered_bytes)
    return reading


def cut(data: bytes, *places: int) -> list[bytes]:
    """Cut bytes at the places given."""
    edges = [0, *sorted(places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def _nothing() -> None:
    """What happens at a flush when no test wants to know."""
