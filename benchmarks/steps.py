"""Measures the cost of each step of a message's delivery, within one process.

    python benchmarks/steps.py

Every step is repeated many times, and the best of several rounds counts, to reduce the influence of
other load. Function calls are counted in a separate run. docs/performance.md explains the steps
and the figures.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from types import FrameType, MappingProxyType
from typing import NamedTuple

from websockets.speedups import apply_mask

from rtchat.core.broker.broker import Broker
from rtchat.core.flow.outbound import RAW, Cork, Framing, Outbound
from rtchat.core.session.connection import CloseReason, HeartBeat
from rtchat.core.session.session import Session
from rtchat.core.stomp.frames import Version
from rtchat.core.stomp.head_cache import HeadCache
from rtchat.core.stomp.limits import Limits
from rtchat.core.stomp.parser import FrameParser
from rtchat.core.websocket.framing import PLAIN, frame_header
from rtchat.core.websocket.reader import FrameReader

__all__: list[str] = []

_ROUNDS = 7
_FRAMES = 500
"""Frames in one read: as many as fill 64 KiB, as with a publisher that sends without pause."""
_BODY = b"x" * 100
_CONNECT = b"CONNECT\naccept-version:1.2\nhost:localhost\n\n\0"
_SEND = b"SEND\ndestination:%b\ncontent-length:100\n\n" + _BODY + b"\0"


class Cost(NamedTuple):
    """The cost of one repetition of a step.

    Attributes:
        time_us: CPU time in microseconds.
        calls: Calls of Python functions.
    """

    time_us: float
    calls: float


class Sink(Outbound):
    """An outbound that joins the gathered bytes, like a real one, but does not send them."""

    __slots__ = ("sent",)

    def __init__(self, cork: Cork, framing: Framing = RAW) -> None:
        super().__init__(cork, framing)
        self.sent = b""

    def flush(self) -> None:
        """Join what is pending."""
        self.sent = b"".join(map(bytes, self.pending))
        self.pending.clear()
        self.gathered_bytes = 0

    def overflow(self, waiting_bytes: int) -> None:
        """Ignore the overflow, which does not happen."""


class SessionTransport:
    """A connection that does nothing."""

    source = ""
    request_headers: Mapping[str, str] = MappingProxyType({})

    def session_opened(self, heartbeat: HeartBeat) -> None:
        """Begin no heart-beats."""

    def session_closed(self, reason: CloseReason, text: str) -> None:
        """End the measurement: no step closes a session."""
        raise RuntimeError(f"{reason.value}: {text}")

    def frame_incomplete(self) -> None:
        """No step sends a large frame."""

    def pause_reading(self) -> None:
        """No step fills a queue."""

    def resume_reading(self) -> None:
        """No step fills a queue."""

    def resume_session(self) -> None:
        """No step fills a queue."""

    def resume_after(self, delay_s: float) -> None:
        """No step has a rate."""

    has_more = False

    def end_turn(self) -> None:
        """Let the client go on in a further turn."""
        self.has_more = True


class Client:
    """A session that is logged in, with its outbound."""

    def __init__(self, broker: Broker, framing: Framing = RAW) -> None:
        self.broker = broker
        self.outbound = Sink(broker.cork, framing)
        self._transport = SessionTransport()
        self.session = Session(broker, Limits(), self.outbound, self._transport)
        self.receive(_CONNECT)

    def receive(self, data: bytes) -> None:
        """Pass one read to the session, as a turn, or several if it has much to do."""
        self.session.receive(data)
        self.broker.cork.flush()
        while self._transport.has_more:
            self._transport.has_more = False
            self.session.resume()
            self.broker.cork.flush()

    def subscribe(self, destination: bytes, more: bytes = b"") -> None:
        """Subscribe with the id 0."""
        self.receive(b"SUBSCRIBE\nid:0\ndestination:%b\n%b\n\0" % (destination, more))


def cost(step: Callable[[], object], repetitions: int) -> Cost:
    """Measure a step; its cost is divided by the number of repetitions in it."""
    step()
    best_s = float("inf")
    for _ in range(_ROUNDS):
        start_s = time.process_time()
        runs = 0
        while runs < 3 or time.process_time() - start_s < 0.05:
            step()
            runs += 1
        best_s = min(best_s, (time.process_time() - start_s) / runs)
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    step()
    sys.setprofile(None)
    return Cost(best_s / repetitions * 1e6, calls / repetitions)


def parsing() -> Cost:
    """Parse a read into frames with a cached head."""
    parser = FrameParser(Limits(), HeadCache())
    parser.log_in(Version.V12)
    data = _SEND % b"/topic/a" * _FRAMES

    def step() -> None:
        parser.feed(data)
        while parser.next_frame() is not None:
            pass

    return cost(step, _FRAMES)


def websocket_reading() -> Cost:
    """Read the message, one STOMP frame, in a masked WebSocket frame."""
    key = b"\x01\x02\x03\x04"
    payload = _SEND % b"/topic/a"
    header = bytearray(frame_header(2, len(payload)))
    header[1] |= 0x80
    data = (bytes(header) + key + apply_mask(payload, key)) * _FRAMES
    reader = FrameReader(1 << 20, apply_mask)

    def step() -> None:
        reader.feed(data)
        assert len(reader.plain_messages()) == _FRAMES

    return cost(step, _FRAMES)


def fan_out(subscribers: int, framing: Framing = RAW, more: bytes = b"") -> Cost:
    """Deliver a message from the publisher's bytes to those of each subscriber."""
    broker = Broker("bench")
    publisher = Client(broker)
    for _ in range(subscribers):
        Client(broker, framing).subscribe(b"/topic/a", more)
    frames = max(1, _FRAMES // max(1, subscribers // 10))
    data = _SEND % b"/topic/a" * frames
    return cost(lambda: publisher.receive(data), frames)


def queued() -> Cost:
    """Deliver a message through a queue to a consumer with automatic acknowledgement."""
    broker = Broker("bench")
    publisher, consumer = Client(broker), Client(broker)
    consumer.subscribe(b"/queue/a", b"ack:client-individual\nprefetch-count:100\n")
    data = _SEND % b"/queue/a" * 100

    def step() -> None:
        publisher.receive(data)
        acks = [
            b"ACK\nid:%b\n\n\0" % line[4:]
            for line in consumer.outbound.sent.split(b"\n")
            if line.startswith(b"ack:")
        ]
        consumer.receive(b"".join(acks))

    return cost(step, 100)


def system_call() -> Cost:
    """Send 150 bytes over loopback and read them at the other end: the cost of the kernel."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    data = b"x" * 150

    def step() -> None:
        for _ in range(100):
            near.send(data)
            far.recv(65536)

    with near, far:
        return cost(step, 100)


def main() -> None:
    """Print the table."""
    one, hundred = fan_out(1), fan_out(100)
    ws_one, ws_hundred = fan_out(1, PLAIN.binary), fan_out(100, PLAIN.binary)
    selecting = fan_out(100, more=b"selector:x = 'y' OR x IS NULL\n")
    each = Cost((hundred.time_us - one.time_us) / 99, (hundred.calls - one.calls) / 99)
    rows = {
        "cut a SEND out of a read": parsing(),
        "take a SEND out of its WebSocket frame": websocket_reading(),
        "one message, 1 subscriber, all of the core": one,
        "  the subscriber over WebSocket": ws_one,
        "one message, 100 subscribers, all of the core": hundred,
        "  the subscribers over WebSocket": ws_hundred,
        "  all 100 with the same selector": selecting,
        "each further subscriber, core": each,
        "a message through a queue, and its ACK": queued(),
        "send and receive 150 bytes, in the kernel": system_call(),
    }
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} processors")
    print(f"{'step':48} {'µs':>8} {'calls':>8}")
    for name, figure in rows.items():
        print(f"{name:48} {figure.time_us:8.2f} {figure.calls:8.1f}")


if __name__ == "__main__":
    main()
