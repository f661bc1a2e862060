"""A WebSocket byte by byte: frames in both directions, closes, pings and back-pressure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.core import Listener
from support.history import SteppedStore
from support.logs import Logs, captured_logs
from support.net import FakeBrowser, FakeSite, FakeSocket, Feeder, PushTransport
from support.stomp import CONNECT, frame_bytes
from support.websocket import (
    ACCEPT,
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    read_answer,
    upgrade_request,
    ws_frame,
)
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IAddress, IPullProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.flow.outbound import Cork
from rtchat.core.history.rules import HistoryLimits, HistoryRule, HistoryRules
from rtchat.core.history.topics import HistoryTopics
from rtchat.core.session.connection import CloseReason
from rtchat.core.stomp.limits import Limits
from rtchat.errors import AccessRefused, NoRight, TokenExpired
from rtchat.net.history.sqlite_file import HistoryFile
from rtchat.net.websocket.factory import WebSockets
from rtchat.net.websocket.transport import WebSocket

GRACE_S = 5


class Above(Protocol):
    """The protocol on top: records its input, and obeys commands such as ``lose``."""

    transport: WebSocket

    def __init__(self, tests: Uppers) -> None:
        self.tests = tests
        self.received = b""
        self.reads: list[bytes] = []
        self.is_lost = False
        self.says_at_once: list[bytes] = []

    @override
    def connectionMade(self) -> None:
        for data in self.tests.says_at_once:
            self.transport.write(data)
        if self.tests.closes_at_once:
            self.transport.close_with(1011, "target unreachable")

    @override
    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.reads.append(data)
        if not self.tests.obeys:
            return
        if data == b"echo":
            self.transport.write(data)
        elif data == b"lose":
            self.transport.loseConnection()
        elif data == b"abort":
            self.transport.abortConnection()

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.is_lost = True


class Uppers(Factory):
    """Builds :class:`Above`."""

    def __init__(self) -> None:
        self.says_at_once: list[bytes] = []
        self.closes_at_once = False
        self.obeys = True
        self.built: list[Above] = []

    @override
    def buildProtocol(self, addr: IAddress | None) -> Above:
        self.built.append(Above(self))
        return self.built[-1]


class Open:
    """One open WebSocket, seen from both ends."""

    def __init__(self, factory: Uppers | None = None, **kwargs: Any) -> None:
        self.factory = factory or Uppers()
        self.site = FakeSite(wrapped=self.factory, **kwargs)
        self.browser = self.site.browser()
        self.browser.open()
        self.above = self.factory.built[-1]
        self.websocket = self.above.transport
        self.socket: FakeSocket = self.browser.socket

    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.site.clock.advance(0.1)
            self.socket.turn()

    def expect_failure(self, code: int) -> str:
        """The server said this code, then ended its direction; give the reason."""
        frame = self.browser.expect(CLOSE)
        assert frame.code == code
        assert self.browser.received() == []
        assert self.socket.is_half_closed
        return frame.reason


@pytest.fixture
def both() -> Open:
    return Open()


@pytest.fixture
def logs() -> Iterator[Logs]:
    with captured_logs() as logs:
        yield logs


# ---------------------------------------------------------------- messages from the browser


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65535, 65536, 200_000])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_of_any_length_arrives(both: Open, opcode: int, length: int) -> None:
    payload = (b"0123456789" * (length // 10 + 1))[:length]
    both.browser.send(opcode, payload)
    assert both.above.received == payload


def test_a_frame_may_come_a_byte_at_a_time(both: Open) -> None:
    for byte in ws_frame(TEXT, b"hello"):
        both.browser.send_raw(bytes([byte]))
    assert both.above.received == b"hello"


def test_the_messages_of_one_read_are_one_turn(both: Open) -> None:
    both.browser.send_raw(ws_frame(TEXT, b"a") + ws_frame(BINARY, b"b") + ws_frame(TEXT, b"c"))
    assert both.above.reads == [b"abc"]


def test_a_message_in_fragments_is_put_together(both: Open) -> None:
    both.browser.send(TEXT, b"he", is_final=False)
    both.browser.send(CONT, b"ll", is_final=False)
    both.browser.send(CONT, b"o")
    both.browser.send(TEXT, b"!")
    assert both.above.received == b"hello!"


def test_control_frames_may_come_between_fragments(both: Open) -> None:
    both.browser.send(TEXT, b"he", is_final=False)
    both.browser.send(PING, b"there?")
    assert both.browser.expect(PONG).payload == b"there?"
    both.browser.send(PONG)
    both.browser.send(CONT, b"llo")
    assert both.above.received == b"hello"


def test_a_character_may_be_split_between_fragments(both: Open) -> None:
    text = "€".encode()
    both.browser.send(TEXT, text[:1], is_final=False)
    both.browser.send(CONT, text[1:2], is_final=False)
    both.browser.send(CONT, text[2:])
    assert both.above.received == text
    assert both.browser.received() == []


def test_a_ping_is_answered_with_its_payload(both: Open) -> None:
    payload = bytes(range(125))
    both.browser.send(PING, payload)
    assert both.browser.expect(PONG).payload == payload


def test_a_browser_that_pings_and_does_not_read_is_not_answered_for_ever(both: Open) -> None:
    both.socket.room = 0
    for _ in range(900):
        both.browser.send(PING, bytes(125))
    assert both.websocket.writer.waiting_bytes < 65 * 1024
    both.socket.give_room()
    both.browser.received()
    both.browser.send(PING, b"again")
    assert both.browser.expect(PONG).payload == b"again"


EMPTY = {
    "pings": ws_frame(PING),
    "pongs": ws_frame(PONG, b"x"),
    "empty messages": ws_frame(TEXT),
    "empty fragments": ws_frame(TEXT, b"a", is_final=False) + ws_frame(0, is_final=False) * 3,
}


@pytest.mark.parametrize("kind", EMPTY)
def test_frames_that_carry_nothing_have_a_rate(logs: Logs, kind: str) -> None:
    both = Open()
    frame = EMPTY[kind]
    if kind == "empty fragments":
        both.browser.send_raw(frame)
        frame = ws_frame(0, is_final=False)
    for _ in range(10):
        both.browser.send_raw(frame * 90)
        both.site.clock.advance(0)
    both.advance(5)
    for _ in range(4):
        both.browser.send_raw(frame * 100)
        both.site.clock.advance(0)
    both.advance(1)
    assert both.websocket.is_open
    for _ in range(20):
        both.browser.send_raw(frame * 200)
        both.site.clock.advance(0)
    [closing] = [one for one in both.browser.received() if one.opcode == CLOSE]
    assert closing.code == 1008
    assert closing.reason == "more than 100 pings, pongs or empty messages a second"
    [line] = [one for one in logs.lines() if "a second" in one]
    assert "broken WebSocket" in line


def test_messages_and_heart_beats_have_no_rate_of_that_kind(both: Open) -> None:
    for _ in range(20):
        both.browser.send_raw(ws_frame(TEXT, b"\n") * 500)
    assert both.above.received == b"\n" * 10_000
    assert both.websocket.is_open


def test_many_frames_in_one_read_take_several_turns(both: Open) -> None:
    one = ws_frame(TEXT, b"a", is_final=False) + ws_frame(0, b"b")
    both.browser.send_raw(one * 1000)
    assert 100 < len(both.above.received) < 300
    assert not both.socket.is_reading
    reads = len(both.above.reads)
    for _ in range(20):
        both.site.broker.cork.turns.begin_round()
    assert both.above.received == b"ab" * 1000
    assert len(both.above.reads) > reads + 4
    assert both.socket.is_reading


# The first text of all makes Hypothesis build its table of characters, which takes seconds.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    messages=st.lists(
        st.tuples(st.sampled_from([TEXT, BINARY]), st.lists(st.text(max_size=40), min_size=1)),
        max_size=6,
    ),
    cut=st.integers(1, 50),
)
def test_any_messages_in_any_fragments_and_any_chunks_arrive(
    messages: list[tuple[int, list[str]]], cut: int
) -> None:
    both = Open()
    both.factory.obeys = False  # the messages may be anything, commands included
    framing, expected = b"", b""
    for opcode, parts in messages:
        for index, part in enumerate(parts):
            payload, is_last = part.encode(), index == len(parts) - 1
            expected += payload
            framing += ws_frame(CONT if index else opcode, payload, is_final=is_last)
            if index % 2:
                framing += ws_frame(PING, payload[:10])
    for start in range(0, len(framing), cut):
        both.browser.send_raw(framing[start : start + cut])
    assert both.above.received == expected
    assert all(frame.opcode == PONG for frame in both.browser.received())


# ---------------------------------------------------------------- what is refused


def test_a_frame_that_is_not_masked_is_refused(both: Open) -> None:
    both.browser.send(TEXT, b"hello", is_masked=False)
    assert "mask" in both.expect_failure(1002)
    assert both.above.received == b""


@pytest.mark.parametrize("reserved", [1, 2, 4, 7])
def test_reserved_bits_are_refused(both: Open, reserved: int) -> None:
    both.browser.send(TEXT, b"hello", reserved=reserved)
    both.expect_failure(1002)


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_an_unknown_opcode_is_refused(both: Open, opcode: int) -> None:
    both.browser.send(opcode)
    both.expect_failure(1002)


def test_a_client_that_has_much_to_read_gets_the_pong_for_its_latest_ping_later() -> None:
    both = Open()
    both.browser.socket.room = 0
    both.websocket.write(b"x" * 100_000)
    for number in range(3):
        both.browser.send(PING, b"%d" % number)
    both.browser.socket.give_room()
    assert [frame.payload for frame in both.browser.received()] == [b"x" * 100_000, b"2"]
    # Nothing is owed any more, and the next one is answered at once.
    both.browser.send(PING, b"again")
    assert both.browser.expect(PONG).payload == b"again"
    assert both.browser.received() == []


def test_a_pong_that_is_owed_is_not_sent_after_the_close() -> None:
    both = Open()
    both.browser.socket.room = 0
    both.websocket.write(b"x" * 100_000)
    both.browser.send(PING, b"there?")
    both.websocket.loseConnection()
    both.browser.socket.give_room()
    assert [frame.opcode for frame in both.browser.received()] == [BINARY, CLOSE]


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_receipts_and_pongs_come_in_the_order_of_what_they_answer(opcode: int) -> None:
    browser = FakeSite().browser().open(subprotocols="v12.stomp")
    browser.send(opcode, CONNECT)
    browser.received()
    asked, expected = b"", []
    for number, is_ping in enumerate([False, True, True, False, False, True, False]):
        name = b"%d" % number
        if is_ping:
            asked += ws_frame(PING, name)
            expected.append((PONG, name))
            continue
        send = frame_bytes("SEND", destination="/topic/a", receipt=name.decode())
        half = len(send) // 2
        asked += ws_frame(opcode, send[:half], is_final=False)
        if number == 4:
            asked += ws_frame(PING, b"within")
            expected.append((PONG, b"within"))
        asked += ws_frame(CONT, send[half:])
        expected.append((opcode, b"RECEIPT\nreceipt-id:%b\n\n\0\n" % name))
    browser.send_raw(asked)
    assert [(frame.opcode, frame.payload) for frame in browser.received()] == expected


def test_a_ping_before_frames_that_have_to_wait_is_answered_at_once() -> None:
    site = FakeSite()
    site.broker.limits = BrokerLimits(max_queue_messages=1)
    browser = site.browser().open(subprotocols="v12.stomp")
    browser.send(TEXT, CONNECT)
    browser.received()
    send = ws_frame(TEXT, frame_bytes("SEND", destination="/queue/a"))
    browser.send_raw(send + send + ws_frame(PING, b"?") + send)
    assert browser.expect(PONG).payload == b"?"
    assert not browser.socket.is_reading


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_a_control_frame_over_125_bytes_is_refused(both: Open, opcode: int) -> None:
    both.browser.send(opcode, bytes(126))
    both.expect_failure(1002)


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_a_control_frame_in_fragments_is_refused(both: Open, opcode: int) -> None:
    both.browser.send(opcode, b"", is_final=False)
    both.expect_failure(1002)


def test_a_continuation_of_nothing_is_refused(both: Open) -> None:
    both.browser.send(CONT, b"hello")
    both.expect_failure(1002)


def test_a_new_message_inside_another_is_refused(both: Open) -> None:
    both.browser.send(TEXT, b"he", is_final=False)
    both.browser.send(TEXT, b"llo")
    both.expect_failure(1002)


@pytest.mark.parametrize("payload", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"ok \xf8"])
def test_a_text_message_that_is_not_utf_8_is_refused(both: Open, payload: bytes) -> None:
    both.browser.send(TEXT, payload)
    assert both.expect_failure(1007) == "text message is not UTF-8"
    assert both.above.received == b""


def test_text_that_is_not_utf_8_is_refused_at_the_fragment_that_breaks_it(both: Open) -> None:
    both.browser.send(TEXT, b"\xe2\x82", is_final=False)
    assert both.browser.received() == []
    both.browser.send(CONT, b"A", is_final=False)
    both.expect_failure(1007)


def test_a_binary_message_may_be_anything(both: Open) -> None:
    both.browser.send(BINARY, bytes(range(256)))
    assert both.above.received == bytes(range(256))


def test_a_message_over_the_limit_is_refused_before_it_has_arrived() -> None:
    both = Open(max_message_bytes=1000)
    both.browser.send_raw(ws_frame(BINARY, bytes(1001))[:8])
    both.expect_failure(1009)


def test_a_message_of_the_limit_is_taken() -> None:
    both = Open(max_message_bytes=1000)
    both.browser.send(BINARY, bytes(1000))
    assert len(both.above.received) == 1000


def test_the_fragments_of_a_message_count_together() -> None:
    both = Open(max_message_bytes=1000)
    for _ in range(10):
        both.browser.send(CONT if both.above.received else BINARY, bytes(100), is_final=False)
    both.browser.send(CONT, b"1")
    both.expect_failure(1009)


def test_what_came_before_a_broken_frame_still_counts(both: Open) -> None:
    both.browser.send_raw(ws_frame(TEXT, b"hello") + ws_frame(3))
    assert both.above.received == b"hello"
    both.expect_failure(1002)


def test_after_a_broken_frame_nothing_is_taken_any_more(both: Open) -> None:
    both.browser.send(3)
    both.expect_failure(1002)
    both.browser.send(TEXT, b"hello")
    assert both.above.received == b""
    assert both.browser.received() == []


def test_who_sent_a_broken_frame_and_does_not_close_is_cut(both: Open) -> None:
    both.browser.send(3)
    both.advance(GRACE_S - 0.2)
    assert not both.socket.is_closed
    both.advance(0.4)
    assert both.socket.was_cut
    assert both.above.is_lost


def test_a_broken_websocket_is_logged_with_its_peer(logs: Logs) -> None:
    both = Open()
    both.browser.send(3)
    both.browser.socket.end()
    both = Open()
    both.browser.send(TEXT, b"\xff")
    first, second = logs.lines("warn")
    assert first.startswith("192.0.2.1:54321: broken WebSocket: invalid opcode")
    assert second == "192.0.2.1:54321: broken WebSocket: text message is not UTF-8"


# ---------------------------------------------------------------- messages to the browser


@pytest.mark.parametrize("length", [1, 125, 126, 127, 65535, 65536])
def test_a_write_of_any_length_is_one_message(both: Open, length: int) -> None:
    payload = b"x" * length
    both.websocket.write(payload)
    frame = both.browser.expect(BINARY)
    assert (frame.payload, frame.is_final) == (payload, True)


def test_an_empty_write_sends_nothing(both: Open) -> None:
    both.websocket.write(b"")
    assert both.browser.received() == []


def test_a_sequence_is_one_message(both: Open) -> None:
    both.websocket.writeSequence([b"a", b"b"])
    assert both.browser.expect(BINARY).payload == b"ab"


def test_a_client_that_has_not_spoken_gets_binary_messages(both: Open) -> None:
    both.websocket.write(b"banner")
    assert both.browser.expect(BINARY).payload == b"banner"


def test_a_client_that_speaks_binary_gets_binary_messages(both: Open) -> None:
    both.browser.send(BINARY, b"echo")
    assert both.browser.expect(BINARY).payload == b"echo"


def test_a_client_that_speaks_text_gets_text_messages(both: Open) -> None:
    both.browser.send(TEXT, b"echo")
    assert both.browser.expect(TEXT).payload == b"echo"
    both.websocket.write("Grüße".encode())
    assert both.browser.expect(TEXT).payload.decode() == "Grüße"


def test_bytes_that_are_not_utf_8_go_out_as_binary_even_to_a_client_that_speaks_text(
    both: Open,
) -> None:
    both.browser.send(TEXT, b"hello")
    both.websocket.write(b"\xff\xfe")
    assert both.browser.expect(BINARY).payload == b"\xff\xfe"


def test_the_first_message_decides_what_a_client_speaks(both: Open) -> None:
    both.browser.send(TEXT, b"hello")
    both.browser.send(BINARY, b"\xff")
    both.websocket.write(b"answer")
    both.browser.expect(TEXT)


def test_a_ping_does_not_decide_what_a_client_speaks(both: Open) -> None:
    both.browser.send(PING)
    both.browser.expect(PONG)
    both.browser.send(TEXT, b"echo")
    both.browser.expect(TEXT)


def test_what_is_written_before_the_handshake_follows_its_answer() -> None:
    factory = Uppers()
    factory.says_at_once = [b"banner", b"more"]
    both = Open(factory)
    assert [frame.payload for frame in both.browser.received()] == [b"banner", b"more"]


# ---------------------------------------------------------------- the browser closes


def test_a_close_is_echoed_and_tcp_ends_at_once(both: Open) -> None:
    both.browser.send(CLOSE, (1000).to_bytes(2, "big") + b"bye")
    assert both.browser.expect(CLOSE).payload == (1000).to_bytes(2, "big") + b"bye"
    assert both.socket.is_closed
    assert not both.socket.was_cut
    assert both.above.is_lost


def test_a_close_without_a_code_is_echoed_without_one(both: Open) -> None:
    both.browser.send(CLOSE)
    assert both.browser.expect(CLOSE).payload == b""
    assert both.socket.is_closed


@pytest.mark.parametrize("code", [1001, 1011, 3000, 4999])
def test_every_allowed_code_is_echoed(both: Open, code: int) -> None:
    both.browser.send(CLOSE, code.to_bytes(2, "big"))
    assert both.browser.expect(CLOSE).code == code


@pytest.mark.parametrize("payload", [b"\x03", b"\x03\xec", b"\x03\xed", b"\x00\x00", b"\x13\x88"])
def test_a_close_with_a_code_that_nobody_may_send_is_refused(both: Open, payload: bytes) -> None:
    both.browser.send(CLOSE, payload)
    assert both.browser.expect(CLOSE).code == 1002


def test_a_close_whose_reason_is_not_utf_8_is_refused(both: Open) -> None:
    both.browser.send(CLOSE, (1000).to_bytes(2, "big") + b"\xff")
    assert both.browser.expect(CLOSE).code == 1007


def test_a_message_in_the_same_read_as_the_close_is_not_lost(both: Open) -> None:
    both.browser.send_raw(ws_frame(TEXT, b"last words") + ws_frame(CLOSE))
    assert both.above.received == b"last words"
    both.browser.expect(CLOSE)
    assert both.socket.is_closed


def test_a_message_after_the_close_is_ignored(both: Open) -> None:
    both.browser.send_raw(ws_frame(CLOSE) + ws_frame(TEXT, b"too late"))
    assert both.above.received == b""


def test_tcp_ends_after_a_close_only_when_everything_is_sent(both: Open) -> None:
    both.socket.room = 0
    both.websocket.write(bytes(100_000))
    both.browser.send(CLOSE)
    assert not both.socket.is_closed
    both.socket.give_room()
    assert len(both.browser.expect(BINARY).payload) == 100_000
    both.browser.expect(CLOSE)
    assert both.socket.is_closed


def test_a_tcp_connection_that_breaks_is_told_to_the_protocol_above(both: Open) -> None:
    both.socket.end()
    assert both.above.is_lost
    assert both.site.clock.getDelayedCalls() == []


# ---------------------------------------------------------------- we close


def test_a_close_of_ours_waits_for_the_answer(both: Open) -> None:
    both.websocket.loseConnection()
    assert both.browser.expect(CLOSE).code == 1000
    both.advance(GRACE_S - 0.2)
    assert not both.socket.is_closed
    both.browser.send(CLOSE, (1000).to_bytes(2, "big"))
    assert both.socket.is_closed
    assert not both.socket.was_cut


def test_a_close_of_ours_is_cut_without_an_answer(both: Open) -> None:
    both.websocket.loseConnection()
    both.advance(GRACE_S + 0.2)
    assert both.socket.was_cut
    assert both.above.is_lost


def test_a_close_may_give_the_other_side_more_time(both: Open) -> None:
    both.websocket.close_with(1000, "", 30)
    both.advance(29.5)
    assert not both.socket.is_closed
    both.advance(1)
    assert both.socket.was_cut


def test_of_several_closes_the_first_is_said_and_the_shortest_time_holds(both: Open) -> None:
    both.websocket.close_with(1000, "first", 30)
    both.websocket.close_with(1012, "second")
    both.websocket.close_with(1011, "third", 60)
    frames = both.browser.received()
    assert [(frame.code, frame.reason) for frame in frames] == [(1000, "first")]
    both.advance(GRACE_S + 0.2)
    assert both.socket.was_cut


def test_after_a_close_of_ours_nothing_is_sent_and_nothing_taken(both: Open) -> None:
    both.websocket.loseConnection()
    both.websocket.write(b"too late")
    both.browser.send(TEXT, b"too late")
    both.browser.expect(CLOSE)
    assert both.browser.received() == []
    assert both.above.received == b""


def test_a_close_follows_what_was_written_before(both: Open) -> None:
    both.socket.room = 0
    both.websocket.write(b"hello")
    both.websocket.loseConnection()
    both.socket.give_room()
    both.browser.expect(BINARY)
    both.browser.expect(CLOSE)


def test_a_browser_that_reads_nothing_is_cut_as_well(both: Open) -> None:
    both.socket.room = 0
    both.websocket.loseConnection()
    both.advance(GRACE_S + 0.2)
    assert both.socket.was_cut


def test_the_protocol_above_may_close_while_it_reads(both: Open) -> None:
    both.browser.send_raw(ws_frame(TEXT, b"lose"))
    assert both.browser.expect(CLOSE).code == 1000


def test_the_protocol_above_may_cut_while_it_reads(both: Open) -> None:
    both.browser.send_raw(ws_frame(PING) + ws_frame(TEXT, b"abort"))
    assert both.socket.was_cut
    assert both.above.is_lost


def test_a_close_before_the_handshake_comes_after_its_answer() -> None:
    factory = Uppers()
    factory.closes_at_once = True
    both = Open(factory)
    frame = both.browser.expect(CLOSE)
    assert (frame.code, frame.reason) == (1011, "target unreachable")
    both.advance(GRACE_S + 1)  # the answer to the handshake was taken meanwhile
    assert both.socket.was_cut


def test_a_long_reason_is_cut_between_characters(both: Open) -> None:
    both.websocket.close_with(1011, "é" * 100)
    frame = both.browser.expect(CLOSE)
    assert frame.reason == "é" * 61
    assert len(frame.payload) <= 125


def test_closing_what_is_gone_does_nothing(both: Open) -> None:
    both.socket.end()
    both.websocket.loseConnection()
    both.websocket.resumeProducing()
    assert both.site.clock.getDelayedCalls() == []


def test_a_server_that_stops_says_1012_and_waits_until_all_are_gone() -> None:
    site = FakeSite()
    browsers = [site.browser().open() for _ in range(2)]
    done: list[None] = []
    site.websockets.shut_down().addCallback(done.append)
    for browser in browsers:
        frame = browser.expect(CLOSE)
        assert (frame.code, frame.reason) == (1012, "server shutting down")
    browsers[0].send(CLOSE, (1012).to_bytes(2, "big"))
    assert done == []
    browsers[1].socket.end()
    assert done == [None]


def test_a_server_that_stops_without_websockets_is_done_at_once() -> None:
    done: list[None] = []
    FakeSite().websockets.shut_down().addCallback(done.append)
    assert done == [None]


def test_a_server_that_stops_begins_no_new_websocket() -> None:
    site = FakeSite()
    browser = site.browser()
    site.websockets.shut_down()
    assert browser.ask(upgrade_request()).status == 503
    assert not site.websockets.protocols


# ---------------------------------------------------------------- STOMP's reasons as close codes


def stomp_closes(reason: CloseReason) -> FakeBrowser:
    """Let the broker close a client for this reason."""
    limits = Limits(max_backlog_bytes=1000, max_headers=10)
    site = FakeSite(limits=limits)
    browser = site.browser().open(subprotocols="v12.stomp")
    if reason is not CloseReason.LOGIN_TIMEOUT:
        connect = frame_bytes("CONNECT", accept_version="1.2", heart_beat="5000,0")
        browser.send(TEXT, connect)
        browser.expect(TEXT)
    if reason is CloseReason.DONE:
        browser.send(TEXT, frame_bytes("DISCONNECT"))
    elif reason is CloseReason.PROTOCOL:
        browser.send(TEXT, b"NONSENSE\n\n\0")
    elif reason is CloseReason.LIMIT:
        browser.send(TEXT, b"SEND\n" + b"a:b\n" * 11 + b"\n\0")
    elif reason is CloseReason.REFUSED:
        browser.send(TEXT, frame_bytes("SEND", destination="/presence/topic/chat"))
    elif reason is CloseReason.REPLACED:
        browser = site.browser().open(subprotocols="v12.stomp")
        for each in (browser, site.browser().open(subprotocols="v12.stomp")):
            token = frame_bytes("CONNECT", accept_version="1.2", nick="a", x_presence_token="t")
            each.send(TEXT, token)
    elif reason in (CloseReason.LOGIN_TIMEOUT, CloseReason.SILENT):
        for _ in range(11):
            site.clock.advance(1)
    elif reason is CloseReason.SLOW:
        browser.send(TEXT, frame_bytes("SUBSCRIBE", id="0", destination="/topic/a"))
        browser.socket.room = 0
        for _ in range(3):
            browser.send(TEXT, frame_bytes("SEND", b"x" * 600, destination="/topic/a"))
        browser.socket.give_room()
    elif reason is CloseReason.STORAGE:
        file = HistoryFile(None, is_power_safe=False, max_bytes=1 << 20)
        store = SteppedStore(file, site.broker.cork.flush)
        store.broken = "disk full"
        rules = HistoryRules([HistoryRule("/topic/a", 1)])
        HistoryTopics(site.broker, rules, HistoryLimits(), store, file.snapshot)
        browser.send(TEXT, frame_bytes("SEND", destination="/topic/a"))
        store.step()
    elif reason is CloseReason.SHUTDOWN:
        site.stomp.shut_down()
    elif reason in PROBLEMS:
        [client] = site.stomp.protocols
        with site.broker.turn:
            client.session.fail(PROBLEMS[reason])
    elif reason is CloseReason.BUG:
        site.broker.events.add(Listener(lambda message: 1 // 0))
        browser.send(TEXT, frame_bytes("SEND", destination="/topic/a"))
    return browser


PROBLEMS = {
    CloseReason.ACCESS: AccessRefused("a wrong password"),
    CloseReason.NO_RIGHT: NoRight("read", "/topic/a"),
    CloseReason.EXPIRED: TokenExpired(),
}

CLOSES = [
    (CloseReason.DONE, 1000, "disconnected"),
    (CloseReason.PROTOCOL, 1007, "unknown command"),
    (CloseReason.LIMIT, 1009, "more than 10 headers"),
    (CloseReason.REFUSED, 1008, "nobody can send there"),
    (CloseReason.ACCESS, 3501, "access refused"),
    (CloseReason.NO_RIGHT, 3502, "not allowed: read /topic/a"),
    (CloseReason.EXPIRED, 3000, "token expired"),
    (CloseReason.REPLACED, 3500, "replaced by a newer connection"),
    (CloseReason.LOGIN_TIMEOUT, 1008, "no CONNECT within 10 seconds"),
    (CloseReason.SILENT, 3012, "nothing received for 10 seconds"),
    (CloseReason.SLOW, 3008, "too slow: more than 1000 bytes wait to be read"),
    (CloseReason.STORAGE, 1013, "history cannot be written"),
    (CloseReason.SHUTDOWN, 1012, "server shutting down"),
    (CloseReason.BUG, 1011, "internal error"),
]


@pytest.mark.parametrize("reason, code, text", CLOSES)
def test_the_close_code_tells_why_stomp_ended(reason: CloseReason, code: int, text: str) -> None:
    *words, frame = stomp_closes(reason).received()
    is_told = reason not in (CloseReason.DONE, CloseReason.SHUTDOWN)
    assert [b"ERROR\n" in word.payload for word in words[-1:]] == [True] * is_told
    assert (frame.opcode, frame.code, frame.reason) == (CLOSE, code, text)


def test_every_reason_of_stomp_is_tested_above() -> None:
    assert {reason for reason, _, _ in CLOSES} == set(CloseReason)


def test_an_error_frame_comes_before_the_close() -> None:
    error, close = stomp_closes(CloseReason.PROTOCOL).received()
    assert error.payload.startswith(b"ERROR\n")
    assert close.opcode == CLOSE


# ---------------------------------------------------------------- pings


def test_a_ping_goes_out_at_every_interval() -> None:
    both = Open(ping_interval_s=20, ping_timeout_s=20)
    both.advance(19.5)
    assert both.browser.received() == []
    both.advance(1)
    both.browser.expect(PING)
    both.browser.send(PONG)
    for _ in range(4):
        both.advance(20)
        both.browser.expect(PING)
        both.browser.send(PONG)
        assert both.browser.received() == []


def test_a_browser_that_does_not_answer_a_ping_is_closed_with_3012(logs: Logs) -> None:
    both = Open(ping_interval_s=20, ping_timeout_s=10)
    both.advance(20.1)
    both.browser.expect(PING)
    both.advance(9.5)
    assert both.browser.received() == []
    both.advance(1)
    frame = both.browser.expect(CLOSE)
    assert (frame.code, frame.reason) == (3012, "no pong within 10 s")
    assert logs.lines("warn") == [
        "192.0.2.1:54321: no answer to a WebSocket ping within 10 s, closed"
    ]
    both.advance(GRACE_S + 0.2)
    assert both.socket.was_cut


def test_any_byte_after_a_ping_is_an_answer() -> None:
    both = Open(ping_interval_s=20, ping_timeout_s=10)
    for _ in range(5):
        both.advance(20.5)
        both.browser.send_raw(ws_frame(TEXT, b"x")[:3])
        both.browser.send_raw(ws_frame(TEXT, b"x")[3:])
    assert {frame.opcode for frame in both.browser.received()} == {PING}


def test_a_ping_timeout_longer_than_the_interval_is_kept() -> None:
    both = Open(ping_interval_s=5, ping_timeout_s=12)
    both.advance(5.1 + 11.5)
    assert {frame.opcode for frame in both.browser.received()} == {PING}
    both.advance(1)
    assert both.browser.received()[-1].code == 3012


def test_a_ping_interval_of_0_turns_pings_off() -> None:
    both = Open(ping_interval_s=0, ping_timeout_s=1)
    both.advance(300)
    assert both.browser.received() == []
    assert both.site.clock.getDelayedCalls() == []


def test_a_ping_timeout_of_0_waits_for_ever() -> None:
    both = Open(ping_interval_s=20, ping_timeout_s=0)
    both.advance(20 * 30)
    frames = both.browser.received()
    assert {frame.opcode for frame in frames} == {PING}
    assert len(frames) >= 28
    assert not both.socket.is_closed


def test_while_we_do_not_read_nobody_has_to_answer() -> None:
    both = Open(ping_interval_s=20, ping_timeout_s=10)
    both.websocket.pauseProducing()
    both.advance(195)
    assert {frame.opcode for frame in both.browser.received()} == {PING}
    both.websocket.resumeProducing()
    both.advance(14)  # the next ping goes out after 200 seconds
    assert {frame.opcode for frame in both.browser.received()} == {PING}
    both.advance(2)
    assert both.browser.received()[-1].code == 3012


@pytest.mark.parametrize(
    "heart_beat, is_pinged",
    [
        ("10000,10000", False),
        ("20000,20000", False),
        ("10000,21000", True),
        ("21000,10000", True),
        ("0,10000", True),
        ("10000,0", True),
        ("0,0", True),
    ],
)
def test_heart_beats_that_come_as_often_take_the_place_of_pings(
    heart_beat: str, is_pinged: bool
) -> None:
    site = FakeSite(ping_interval_s=20, ping_timeout_s=15)
    browser = site.browser().open(subprotocols="v12.stomp")
    browser.send(TEXT, frame_bytes("CONNECT", accept_version="1.2", heart_beat=heart_beat))
    browser.expect(TEXT)
    seen: list[int] = []
    for _ in range(100):
        site.clock.advance(1)
        browser.socket.turn()
        frames = browser.received()
        seen += [frame.opcode for frame in frames]
        if PING in [frame.opcode for frame in frames]:
            browser.send(PONG)
        if heart_beat[0] != "0" and site.clock.seconds() % 10 < 1:
            browser.send(TEXT, b"\n")
    assert CLOSE not in seen
    assert (PING in seen) == is_pinged
    sends_beats = not heart_beat.endswith(",0")
    assert (TEXT in seen) == sends_beats
    if not is_pinged:
        # Who falls silent is found out all the same.
        for _ in range(41):
            site.clock.advance(1)
            browser.socket.turn()
        assert browser.received()[-1].code == 3012


def test_a_websocket_that_is_closing_is_not_pinged() -> None:
    both = Open(ping_interval_s=2, ping_timeout_s=2)
    both.websocket.close_with(1000, "", 30)
    both.browser.expect(CLOSE)
    both.advance(20)
    assert both.browser.received() == []


def test_a_close_while_a_pong_is_waited_for_keeps_its_time() -> None:
    both = Open(ping_interval_s=2, ping_timeout_s=2)
    both.advance(2.2)
    both.browser.expect(PING)
    both.websocket.close_with(1000, "", 30)
    both.advance(28)
    assert [frame.code for frame in both.browser.received()] == [1000]
    assert not both.socket.is_closed


# ---------------------------------------------------------------- back-pressure


def test_reading_stops_while_a_producer_asks_for_it(both: Open) -> None:
    both.websocket.pauseProducing()
    assert not both.socket.is_reading
    both.websocket.resumeProducing()
    assert both.socket.is_reading


def test_a_pause_after_the_end_is_not_watched(both: Open) -> None:
    both.socket.end(ConnectionLost())
    both.advance(60)
    waiting = list(both.site.clock.getDelayedCalls())
    both.websocket.pauseProducing()
    assert both.site.clock.getDelayedCalls() == waiting


def test_a_close_of_ours_reads_on_to_hear_the_answer(both: Open) -> None:
    both.websocket.pauseProducing()
    both.websocket.loseConnection()
    assert both.socket.is_reading
    both.websocket.pauseProducing()
    assert both.socket.is_reading


def test_a_producer_is_paused_while_the_browser_does_not_read(both: Open) -> None:
    feeder = Feeder()
    both.websocket.registerProducer(feeder, True)
    both.socket.room = 0
    both.websocket.write(bytes(64 * 1024 + 1))
    assert feeder.calls == ["pause"]
    both.socket.give_room()
    assert feeder.calls == ["pause", "resume"]


def test_a_producer_that_left_is_left_alone(both: Open) -> None:
    feeder = Feeder()
    both.websocket.registerProducer(feeder, True)
    both.websocket.unregisterProducer()
    both.socket.room = 0
    both.websocket.write(bytes(100_000))
    assert feeder.calls == []


def test_a_pull_producer_is_refused(both: Open) -> None:
    @implementer(IPullProducer)
    class Pull:
        def resumeProducing(self) -> None:
            """Do nothing."""

        def stopProducing(self) -> None:
            """Do nothing."""

    with pytest.raises(ValueError, match="push producers only"):
        both.websocket.registerProducer(Pull(), False)


def test_a_websocket_whose_reader_is_gone_closes(both: Open) -> None:
    both.websocket.stopProducing()
    assert both.browser.expect(CLOSE).code == 1000


# ---------------------------------------------------------------- without a page


def test_the_factory_alone_reads_the_request_itself_as_txws_does() -> None:
    site = FakeSite(wrapped=Uppers())
    socket = FakeSocket()
    socket.connect(site.websockets.buildProtocol(None))
    data = upgrade_request() + ws_frame(TEXT, b"echo")
    for start in range(0, len(data), 50):
        socket.receive(data[start : start + 50])
    answer, rest = read_answer(socket.taken())
    assert (answer.status, answer.headers["sec-websocket-accept"]) == (101, ACCEPT)
    assert rest == b"\x81\x04echo"


# ---------------------------------------------------------------- under TLS


def test_over_tls_the_handshake_and_the_first_frames_keep_their_order() -> None:
    # A TLS transport is written to directly from the start; nothing may overtake the answer.
    factory = Uppers()
    factory.says_at_once = [b"banner"]
    site = FakeSite(wrapped=factory)
    transport = PushTransport()
    websocket = WebSockets(
        factory, site.clock, Cork(), ping_interval_s=0, ping_timeout_s=0, max_message_bytes=1000
    ).buildProtocol(None)
    websocket.makeConnection(transport)
    websocket.accept(upgrade_request(), None)
    data = transport.drain()
    assert data.startswith(b"HTTP/1.1 101 ")
    assert data.endswith(b"\r\n\r\n\x82\x06banner")


def test_a_request_that_txws_does_not_take_ends_the_connection() -> None:
    transport = PushTransport()
    site = FakeSite(wrapped=Uppers())
    websocket = site.websockets.buildProtocol(None)
    websocket.makeConnection(transport)
    websocket.accept(upgrade_request(sec_websocket_version="99"), None)
    assert transport.disconnecting
    site.clock.advance(GRACE_S + 0.1)
    assert transport.disconnected


def test_stomp_over_a_websocket_that_is_not_open_yet_waits() -> None:
    site = FakeSite()
    browser = site.browser()
    browser.socket.room = 5
    browser.socket.receive(upgrade_request() + ws_frame(TEXT, CONNECT))
    assert bytes(browser.socket.sent) == b"HTTP/"
    browser.socket.give_room()
    assert bytes(browser.socket.sent).startswith(b"HTTP/1.1 101 ")
    assert b"\r\n\r\n\x81" in browser.socket.sent
    assert b"CONNECTED\n" in browser.socket.sent
