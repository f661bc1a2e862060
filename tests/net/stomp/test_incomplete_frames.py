"""A frame that does not come to its end: its client is cut, however alive it seems."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.logs import Logs, captured_logs

from rtchat.core.stomp.limits import Limits
from rtchat.testing import Broker, Client

KIB = 1024
TIMEOUT_S = 60


@pytest.fixture
def logs() -> Iterator[Logs]:
    with captured_logs() as logs:
        yield logs


@pytest.fixture
def broker() -> Iterator[Broker]:
    broker = Broker(Limits(frame_timeout_s=TIMEOUT_S))
    yield broker
    for client in list(broker._factory.protocols):
        client.connectionLost()
    assert broker._core.budget.used == 0
    assert broker.clock.getDelayedCalls() == []


def begin(broker: Broker, size: int) -> Client:
    """Return a client that has begun a frame of 4 MiB and sent so many bytes of its body."""
    client = broker.connect()
    length = 4 * KIB * KIB
    head = b"SEND\ndestination:/topic/a\ncontent-length:%d\n\n" % length
    client.transmit_bytes(head + bytes(size))
    return client


def end_of(client: Client) -> str:
    """Return the ERROR with which the client was cut."""
    text = client.receive("ERROR").headers["message"]
    assert client.is_closed
    return text


def test_whoever_sends_no_more_of_it_is_cut_once_the_time_is_over(
    broker: Broker, logs: Logs
) -> None:
    client = begin(broker, 100 * KIB)
    broker.advance(TIMEOUT_S - 1)
    assert not client.is_closed
    broker.advance(TIMEOUT_S)
    assert end_of(client) == "frame incomplete, and little of it came within 60 seconds"
    [line] = logs.lines("warn")
    assert "frame incomplete" in line


def test_a_byte_now_and_then_does_not_help(broker: Broker) -> None:
    client = begin(broker, 100 * KIB)
    for _ in range(3 * TIMEOUT_S):
        broker.advance(1)
        if client.is_closed:
            break
        client.transmit_bytes(b"x")
    assert end_of(client).startswith("frame incomplete")


def test_a_slow_line_has_its_time(broker: Broker) -> None:
    client = begin(broker, 5 * KIB)
    for _ in range(120):
        broker.advance(10)
        client.transmit_bytes(bytes(5 * KIB))  # 4 kbit/s
    assert not client.is_closed


def test_one_large_frame_after_the_other_is_no_standstill(broker: Broker) -> None:
    client = broker.connect()
    frame = b"SEND\ndestination:/topic/a\ncontent-length:9000\n\n" + bytes(9000) + b"\0"
    client.transmit_bytes(frame[:8000])
    for _ in range(20):
        broker.advance(TIMEOUT_S / 2)
        client.transmit_bytes(frame[8000:] + frame[:8000])
    assert not client.is_closed


def test_small_frames_take_as_long_as_they_like(broker: Broker) -> None:
    client = begin(broker, 100)
    broker.advance(10 * TIMEOUT_S)
    assert not client.is_closed
    assert broker.clock.getDelayedCalls() == []


def test_its_end_ends_the_watch(broker: Broker) -> None:
    client = begin(broker, 100 * KIB)
    client.transmit_bytes(bytes(4 * KIB * KIB - 100 * KIB) + b"\0")
    broker.advance(10 * TIMEOUT_S)
    assert not client.is_closed
    assert broker.clock.getDelayedCalls() == []
