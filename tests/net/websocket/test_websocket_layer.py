"""The WebSocket layer on its own: whole messages, compression, pauses, and a resource of one."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.logs import captured_logs
from support.net import FakeBrowser, FakeSite, PushTransport
from support.stomp import CONNECT, frame_bytes
from support.websocket import (
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
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from typing_extensions import override

from rtchat.core.access.hosts import HostList
from rtchat.core.websocket.deflate import agree
from rtchat.net.web.site import PageSite
from rtchat.net.websocket.factory import WebSockets
from rtchat.net.websocket.messages import MessageProtocol
from rtchat.net.websocket.transport import WebSocket
from rtchat.net.websocket.upgrade import WebSocketResource

# The first text of all makes Hypothesis build its table of characters, which takes seconds.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

MIB = 1 << 20
OFFER = "permessage-deflate; client_max_window_bits"
ANSWER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")


def inflated(data: bytes, bits: int = 15) -> bytes:
    return zlib.decompressobj(-bits).decompress(data + b"\0\0\xff\xff")


class Talker(MessageProtocol):
    """Takes note of messages, and does what the test wants with each."""

    last: Talker

    def __init__(self, act: Callable[[Talker, bytes, bool], None] | None = None) -> None:
        Talker.last = self
        self.act = act
        self.messages: list[tuple[bytes, bool]] = []

    @override
    def message_received(self, data: bytes, is_text: bool) -> None:
        self.messages.append((data, is_text))
        if self.act is not None:
            self.act(self, data, is_text)


def echo(talker: Talker, data: bytes, is_text: bool) -> None:
    talker.send_message(data, is_text)


def raw_frames(data: bytes) -> list[tuple[int, bytes]]:
    """Return the first byte and the payload of each frame of the server's."""
    frames = []
    while data:
        start = {126: 4, 127: 10}.get(data[1], 2)
        size = data[1] if start == 2 else int.from_bytes(data[2:start], "big")
        frames.append((data[0], data[start : start + size]))
        data = data[start + size :]
    return frames


class Opened:
    """A resource that is a whole site, and a browser that has opened it."""

    def __init__(
        self, build: Callable[[], Protocol], request: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        self.clock = Clock()
        options = {"ping_interval_s": 0, "ping_timeout_s": 0, **kwargs}
        self.sockets = WebSockets(Factory.forProtocol(build), self.clock, **options)
        site = PageSite(WebSocketResource(self.sockets), HostList(), self.clock)
        self.browser = FakeBrowser(site)
        self.socket = self.browser.socket
        self.answer = self.browser.ask(upgrade_request("/any/path", **(request or {})))
        assert self.answer.status == 101, self.answer

    def sent(self) -> list[tuple[int, bytes]]:
        """Return the first byte and the payload of each frame since the last call."""
        return raw_frames(self.socket.taken())


def opened(act: Callable[[Talker, bytes, bool], None] | None = None, **kwargs: Any) -> Opened:
    return Opened(lambda: Talker(act), **kwargs)


def deflating(act: Callable[[Talker, bytes, bool], None] | None = None, **kwargs: Any) -> Opened:
    return opened(act, request={"sec_websocket_extensions": OFFER}, **kwargs)


# ---------------------------------------------------------------- whole messages


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 300_000])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_comes_back_with_its_opcode(opcode: int, size: int) -> None:
    both = opened(echo)
    both.browser.send(opcode, b"x" * size)
    assert both.sent() == [(0x80 | opcode, b"x" * size)]
    assert Talker.last.messages == [(b"x" * size, opcode == TEXT)]


def test_messages_of_one_read_keep_their_bounds() -> None:
    both = opened(echo)
    data = ws_frame(TEXT, b"a") + ws_frame(BINARY, b"") + ws_frame(TEXT, b"b", is_final=False)
    both.browser.send_raw(data + ws_frame(PING, b"?") + ws_frame(CONT, b"c"))
    assert both.sent() == [(0x81, b"a"), (0x82, b""), (0x8A, b"?"), (0x81, b"bc")]


_WORDS = st.lists(st.integers(0, 3), max_size=12)
"""0 is a ping, another number a message in so many fragments."""


@given(words=_WORDS, pings=st.lists(st.booleans()), cut=st.integers(1, 60))
def test_answers_come_in_the_order_of_what_they_answer(
    words: list[int], pings: list[bool], cut: int
) -> None:
    """Whatever is in a read: messages, their fragments, pings between them and within."""
    both = opened(echo)
    asked, expected = b"", []
    is_pinged = iter(pings)
    for number, fragments in enumerate(words):
        name = b"%d" % number
        for part in range(max(fragments, 1)):
            if not fragments or next(is_pinged, False):
                asked += ws_frame(PING, name)
                expected.append((0x8A, name))
            if fragments:
                is_last = part == fragments - 1
                asked += ws_frame(CONT if part else TEXT, name, is_final=is_last)
        if fragments:
            expected.append((0x81, name * fragments))
    for start in range(0, len(asked), cut):
        both.browser.send_raw(asked[start : start + cut])
    assert both.sent() == expected


def test_a_message_is_handed_up_when_it_is_whole() -> None:
    both = opened()
    for byte in ws_frame(TEXT, b"hel", is_final=False) + ws_frame(CONT, b"lo")[:-1]:
        both.browser.send_raw(bytes([byte]))
    assert Talker.last.messages == []
    both.browser.send_raw(ws_frame(CONT, b"lo")[-1:])
    assert Talker.last.messages == [(b"hello", True)]


def test_a_message_over_the_limit_is_refused() -> None:
    both = opened(max_message_bytes=1000)
    both.browser.send(BINARY, bytes(600), is_final=False)
    both.browser.send_raw(ws_frame(CONT, bytes(401))[:4])
    assert both.browser.expect(CLOSE).code == 1009
    assert Talker.last.messages == []


def test_text_that_is_not_utf_8_is_not_sent() -> None:
    both = opened()
    with pytest.raises(ValueError, match="UTF-8"):
        Talker.last.send_message(b"\xff", is_text=True)
    assert both.sent() == []


def test_a_protocol_of_messages_may_speak_first_and_close() -> None:
    class First(Talker):
        @override
        def connectionMade(self) -> None:
            self.send_message(b"welcome", is_text=True)
            self.send_message(b"", is_text=False)

    both = Opened(First)
    assert [frame.payload for frame in both.browser.received()] == [b"welcome", b""]
    Talker.last.close(4000, "enough")
    frame = both.browser.expect(CLOSE)
    assert (frame.code, frame.reason) == (4000, "enough")
    Talker.last.send_message(b"late", is_text=True)
    assert both.browser.received() == []


def test_messages_after_a_close_of_ours_are_not_handed_up() -> None:
    both = opened(lambda talker, data, is_text: talker.close())
    both.browser.send_raw(ws_frame(TEXT, b"one") + ws_frame(TEXT, b"two"))
    assert Talker.last.messages == [(b"one", True)]


def test_a_client_that_does_not_read_is_not_read() -> None:
    both = opened(echo)
    both.socket.room = 0
    sent = 0
    while both.socket.is_reading:
        both.browser.send(BINARY, bytes(10_000))
        sent += 1
        assert sent < 20
    assert len(Talker.last.messages) == sent
    both.socket.give_room()
    assert both.socket.is_reading
    assert len(both.sent()) == sent


def test_messages_of_one_read_wait_while_the_client_does_not_read() -> None:
    both = opened(echo)
    both.socket.room = 0
    both.browser.send_raw(ws_frame(BINARY, bytes(50_000)) * 10 + ws_frame(PING, b"?"))
    assert len(Talker.last.messages) == 2
    while len(Talker.last.messages) < 10:
        both.socket.give_room()
        both.clock.advance(0)
        both.socket.room = 0
    both.socket.give_room()
    both.clock.advance(0)
    assert [len(payload) for _, payload in both.sent()] == [50_000] * 10 + [1]
    assert both.socket.is_reading
    both.clock.advance(1)
    assert both.clock.getDelayedCalls() == []


def test_a_connection_that_is_lost_while_messages_wait_forgets_them() -> None:
    both = opened(echo)
    both.socket.room = 0
    both.browser.send_raw(ws_frame(BINARY, bytes(50_000)) * 10)
    both.socket.end()
    both.clock.advance(1)
    assert len(Talker.last.messages) == 2
    assert both.clock.getDelayedCalls() == []


# ---------------------------------------------------------------- pauses


class Pausing(Protocol):
    """A stream that pauses after each piece."""

    last: Pausing
    transport: WebSocket

    def __init__(self) -> None:
        Pausing.last = self
        self.pieces: list[bytes] = []

    @override
    def dataReceived(self, data: bytes) -> None:
        self.pieces.append(data)
        self.transport.pauseProducing()


class Counting(Protocol):
    """A stream that counts."""

    last: Counting
    transport: WebSocket

    def __init__(self) -> None:
        Counting.last = self
        self.count = self.most = 0

    @override
    def dataReceived(self, data: bytes) -> None:
        self.count += len(data)
        self.most = max(self.most, len(data))


def test_what_is_inflated_waits_compressed_while_somebody_pauses() -> None:
    both = Opened(Pausing, request={"sec_websocket_extensions": OFFER})
    data = os.urandom(1000) * 8000
    both.browser.send_raw(ws_frame(BINARY, deflated(data), reserved=4) + ws_frame(PING))
    pieces = Pausing.last.pieces
    assert [len(piece) for piece in pieces] == [32 * 1024]
    assert not both.socket.is_reading
    while b"".join(pieces) != data:
        count = len(pieces)
        Pausing.last.transport.resumeProducing()
        assert len(pieces) == count
        assert not both.socket.is_reading
        both.clock.advance(0)
        assert len(pieces) == count + 1
    assert max(map(len, pieces)) <= 64 * 1024
    Pausing.last.transport.resumeProducing()
    both.clock.advance(0)
    assert both.socket.is_reading
    both.browser.expect(PONG)


def test_in_a_turn_no_more_than_64_kib_are_inflated() -> None:
    both = Opened(Counting, request={"sec_websocket_extensions": OFFER})
    small = ws_frame(BINARY, deflated(bytes(5000)), reserved=4) * 100
    both.browser.send_raw(small + ws_frame(BINARY, deflated(bytes(1 << 20)), reserved=4))
    rounds = 0
    turns = Counting.last.transport.factory.cork.turns
    assert Counting.last.count <= 64 * 1024
    while not both.socket.is_reading:
        rounds += 1
        turns.begin_round()
    assert Counting.last.count == 500_000 + (1 << 20)
    assert Counting.last.most <= 64 * 1024
    assert rounds > 3  # a round has some turns, as they are short
    assert not turns


def test_a_connection_may_be_lost_while_the_rest_waits_compressed() -> None:
    both = Opened(Counting, request={"sec_websocket_extensions": OFFER})
    both.browser.send_raw(ws_frame(BINARY, deflated(bytes(1 << 20)), reserved=4))
    both.socket.end()
    both.clock.advance(1)
    assert Counting.last.count <= 64 * 1024
    assert both.clock.getDelayedCalls() == []


def test_a_close_of_ours_ends_the_pause() -> None:
    both = Opened(Pausing, request={"sec_websocket_extensions": OFFER})
    data = deflated(bytes(1 << 20))
    both.browser.send_raw(ws_frame(BINARY, data, reserved=4) + ws_frame(CLOSE))
    Pausing.last.transport.loseConnection()
    both.clock.advance(0)
    assert both.browser.expect(CLOSE).code == 1000
    assert both.socket.is_closed
    assert len(Pausing.last.pieces) == 1


# ---------------------------------------------------------------- compression


def test_compression_is_agreed_upon_when_it_is_offered() -> None:
    assert deflating().answer.headers["sec-websocket-extensions"] == ANSWER
    assert "sec-websocket-extensions" not in opened().answer.headers
    assert "sec-websocket-extensions" not in deflating(deflate=False).answer.headers


def test_offers_may_come_in_several_headers() -> None:
    request = upgrade_request(sec_websocket_extensions="permessage-deflate; unknown")[:-2]
    request += b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10\r\n\r\n"
    answer = FakeSite().browser().ask(request)
    assert answer.headers["sec-websocket-extensions"] == f"{ANSWER}; server_max_window_bits=10"


@pytest.mark.parametrize("header", ["permessage-deflate;", "a b", 'x; y="', "größe"])
def test_a_header_that_cannot_be_read_is_refused(header: str) -> None:
    answer = FakeSite().browser().ask(upgrade_request(sec_websocket_extensions=header))
    assert answer.status == 400
    assert answer.text == "Sec-WebSocket-Extensions is not a list of extensions.\n"


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_messages_are_compressed_both_ways(opcode: int) -> None:
    both = deflating(echo)
    data = b"hello " * 1000
    both.browser.send(opcode, deflated(data), reserved=4)
    assert Talker.last.messages == [(data, opcode == TEXT)]
    [(first, payload)] = both.sent()
    assert first == 0xC0 | opcode
    assert inflated(payload) == data


def test_each_message_is_compressed_by_itself() -> None:
    both = deflating(echo)
    for _ in range(3):
        both.browser.send(BINARY, b"hello " * 1000)
    assert [inflated(payload) for _, payload in both.sent()] == [b"hello " * 1000] * 3


def test_the_window_that_the_client_asks_for_is_kept() -> None:
    offer = "permessage-deflate; server_max_window_bits=9"
    both = opened(echo, request={"sec_websocket_extensions": offer})
    data = os.urandom(2000) + b"a" * 3000 + os.urandom(400) * 40
    both.browser.send(BINARY, data)
    [(first, payload)] = both.sent()
    assert first == 0xC2
    assert inflated(payload, 9) == data


def test_tiny_messages_go_out_as_they_are() -> None:
    both = deflating(echo)
    both.browser.send(TEXT, b"hi")
    assert both.sent() == [(0x81, b"hi")]


def test_a_small_message_that_inflates_to_too_much_is_refused() -> None:
    both = deflating(max_message_bytes=MIB)
    both.browser.send(BINARY, deflated(bytes(100 * MIB)), reserved=4)
    both.clock.advance(0)
    assert both.browser.expect(CLOSE).code == 1009
    assert Talker.last.messages == []


def test_a_compressed_message_without_agreement_is_refused() -> None:
    both = opened()
    both.browser.send(BINARY, deflated(b"hello"), reserved=4)
    assert both.browser.expect(CLOSE).code == 1002


def test_one_compressed_message_serves_every_subscriber(monkeypatch: pytest.MonkeyPatch) -> None:
    site = FakeSite()
    browsers = [site.browser() for _ in range(5)]
    for browser in browsers:
        browser.ask(upgrade_request(sec_websocket_extensions=OFFER, subprotocols="v12.stomp"))
        browser.send(TEXT, CONNECT)
        browser.send(TEXT, frame_bytes("SUBSCRIBE", id="sub-0", destination="/topic/a"))
        browser.received()
    compressions: list[int] = []
    original = zlib.compressobj

    def counting(*args: Any) -> Any:
        compressions.append(1)
        return original(*args)

    monkeypatch.setattr(zlib, "compressobj", counting)
    body = b"The same for all. " * 100
    browsers[0].send(TEXT, frame_bytes("SEND", body, destination="/topic/a"))
    frames = {browser.socket.taken() for browser in browsers}
    assert len(frames) == 1
    [(first, payload)] = raw_frames(frames.pop())
    assert first == 0xC1
    assert len(payload) < len(body) / 4
    assert inflated(payload).endswith(body + b"\0\n")
    assert compressions == [1]


def test_the_first_frames_may_follow_the_request_in_one_read() -> None:
    site = PageSite(
        WebSocketResource(WebSockets(Factory.forProtocol(lambda: Talker(echo)), Clock())),
        HostList(),
        Clock(),
    )
    browser = FakeBrowser(site)
    frames = ws_frame(TEXT, b"one") + ws_frame(BINARY, deflated(b"two"), reserved=4)
    browser.socket.receive(upgrade_request(sec_websocket_extensions=OFFER) + frames)
    answer, rest = read_answer(browser.socket.taken())
    assert answer.status == 101
    assert rest == b"\x81\x03one\x82\x03two"


# ---------------------------------------------------------------- the resource


@pytest.mark.parametrize(
    "sources, origin, status",
    [
        (["self"], None, 101),
        (["self"], "http://localhost:9000", 101),
        (["self"], "http://evil.example", 403),
        (["app.example"], "http://app.example", 101),
        (["app.example"], "http://evil.example", 403),
        (["app.example", "self"], "http://localhost:9000", 101),
        (["*"], "http://evil.example", 101),
        ([], None, 403),
    ],
)
def test_a_resource_lets_the_pages_in_that_it_names(
    sources: list[str], origin: str | None, status: int
) -> None:
    sockets = WebSockets(Factory.forProtocol(Talker), Clock())
    site = PageSite(WebSocketResource(sockets, sources=sources), HostList(), Clock())
    assert FakeBrowser(site).ask(upgrade_request(origin=origin)).status == status


def test_a_resource_chooses_of_the_sub_protocols_that_it_names() -> None:
    sockets = WebSockets(Factory.forProtocol(Talker), Clock())
    resource = WebSocketResource(sockets, subprotocols=["best", "good"])
    site = PageSite(resource, HostList(), Clock())
    answer = FakeBrowser(site).ask(upgrade_request(subprotocols="other, good, best"))
    assert answer.headers["sec-websocket-protocol"] == "best"


def test_a_source_that_is_none_is_refused_at_once() -> None:
    sockets = WebSockets(Factory.forProtocol(Talker), Clock())
    with pytest.raises(ValueError, match="source"):
        WebSocketResource(sockets, sources=["http://app.example"])


# ---------------------------------------------------------------- anything


@patient
@given(st.binary(max_size=400), st.booleans(), st.booleans())
def test_garbage_gives_one_close_at_most_and_never_an_exception(
    garbage: bytes, is_deflating: bool, is_masked: bool
) -> None:
    with captured_logs() as logs:
        both = deflating(echo) if is_deflating else opened(echo)
        for start in range(0, len(garbage), 7):
            if not both.socket.is_closed:
                both.browser.send_raw(garbage[start : start + 7])
        sent = both.sent()
        closes = [frame for frame in sent if frame[0] == 0x88]
        assert len(closes) <= 1
        assert not closes or sent[-1] == closes[0]
        # What breaks a rule is logged once; nothing fails in here.
        assert logs.lines("critical") == []
        assert len(logs.lines("warn")) <= 1
        if not closes:
            # Then the rest of a frame is waited for, and a close frame inside it is payload.
            assert not both.socket.is_closed
        both.clock.advance(6)
        assert not closes or both.socket.is_closed


@patient
@given(st.integers(0, 255), st.integers(0, 255), st.binary(min_size=14, max_size=200))
def test_any_broken_frame_gives_exactly_one_close(first: int, second: int, rest: bytes) -> None:
    both = opened()
    is_good = first in (0x01, 0x02, 0x81, 0x82, 0x88, 0x89, 0x8A) and second >= 0x80
    both.browser.send_raw(bytes((first, second)) + rest)
    if not is_good:
        both.browser.send_raw(rest)
        assert [frame[0] for frame in both.sent()] == [0x88]
        assert both.socket.is_half_closed


@patient
@given(
    st.lists(st.tuples(st.booleans(), st.text(max_size=200)), max_size=8),
    st.lists(st.integers(1, 300), min_size=1, max_size=10),
    st.booleans(),
)
def test_what_is_echoed_is_what_was_sent(
    messages: list[tuple[bool, str]], cuts: list[int], is_deflating: bool
) -> None:
    both = deflating(echo) if is_deflating else opened(echo)
    framing = b""
    for number, (is_text, text) in enumerate(messages):
        data = text.encode() * 3
        packed, reserved = (deflated(data), 4) if is_deflating and number % 2 else (data, 0)
        half = len(packed) // 2
        opcode = TEXT if is_text else BINARY
        framing += ws_frame(opcode, packed[:half], is_final=False, reserved=reserved)
        framing += ws_frame(PING, b"p") + ws_frame(CONT, packed[half:])
    at = number = 0
    while at < len(framing):
        size = cuts[number % len(cuts)]
        both.browser.send_raw(framing[at : at + size])
        at += size
        number += 1
    echoes = [
        (first & 0x0F == TEXT, inflated(payload) if first & 0x40 else payload)
        for first, payload in both.sent()
        if first != 0x8A
    ]
    assert echoes == [(is_text, text.encode() * 3) for is_text, text in messages]


def test_under_tls_messages_are_echoed_too() -> None:
    sockets = WebSockets(Factory.forProtocol(lambda: Talker(echo)), Clock())
    transport = PushTransport()
    websocket = sockets.buildProtocol(None)
    websocket.makeConnection(transport)
    websocket.accept(upgrade_request(), None, agree(OFFER).deflate)
    head = transport.drain()
    assert f"\r\nSec-WebSocket-Extensions: {ANSWER}\r\n".encode() in head
    websocket.dataReceived(ws_frame(BINARY, bytes(1000)))
    [(first, payload)] = raw_frames(transport.drain())
    assert (first, inflated(payload)) == (0xC2, bytes(1000))
