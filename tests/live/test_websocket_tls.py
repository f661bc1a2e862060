"""RFC 6455 on raw bytes through real TLS: what the layer's own tests say of TCP holds here too.

TLS brings its own pieces (records), its own close and its own buffers, and the layer writes to it
in another way than to a plain socket.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import socket
import time
import zlib
from collections.abc import Iterator

import pytest
from support.echo import Echo
from support.process import Server, free_port, tutorial_ini
from support.stomp import CONNECT
from support.websocket import (
    ACCEPT,
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    Answer,
    WebSocketReader,
    WsFrame,
    http_request,
    read_answer,
    upgrade_request,
    ws_frame,
)
from typing_extensions import Self

pytestmark = [pytest.mark.live]

MIB = 1 << 20
LIMIT = 16 * MIB  # of examples/echo.py
AT_ONCE_S = 3.0  # the server's patience ends after five

FIN, COMPRESSED = 0x80, 0x40
OFFER = "permessage-deflate; client_max_window_bits"


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")


def inflated(data: bytes) -> bytes:
    return zlib.decompressobj(-15).decompress(data + b"\0\0\xff\xff")


class Client:
    """A connection to a server; the handshake is done unless it says otherwise.

    Args:
        server: Whom to connect to.
        offer: What to offer in ``Sec-WebSocket-Extensions``.
        does_open: Whether to open a WebSocket at once.
    """

    def __init__(
        self, server: Echo | Server, offer: str | None = None, *, does_open: bool = True
    ) -> None:
        assert server.certificate is not None
        port = server.port if isinstance(server, Echo) else server.http
        plain = socket.create_connection(("127.0.0.1", port), 10)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # An end of TCP without an end of TLS before it is an error.
        self.socket = server.certificate.trusted().wrap_socket(
            plain, server_hostname="localhost", suppress_ragged_eofs=False
        )
        self.socket.settimeout(20)
        self._buffer = bytearray()
        self._reader = WebSocketReader(is_strict=False)  # reserved bits are looked at here
        self._frames: list[WsFrame] = []
        if does_open:
            self.send(upgrade_request("/", sec_websocket_extensions=offer))
            assert self.answer().status == 101

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *records: bytes) -> None:
        """Send bytes, each piece in TLS records of its own."""
        for record in records:
            self.socket.sendall(record)

    def answer(self) -> Answer:
        """Wait for an HTTP answer."""
        while b"\r\n\r\n" not in self._buffer:
            assert self._read(), f"the server closed after {bytes(self._buffer)!r}"
        answer, rest = read_answer(bytes(self._buffer))
        self._buffer = bytearray(rest)
        return answer

    def frame(self) -> tuple[int, bytes]:
        """Wait for a frame; return its first byte and its payload."""
        while not self._frames:
            assert self._buffer or self._read(), f"the server closed after {self._reader.rest!r}"
            self._frames = self._reader.feed(bytes(self._buffer))
            self._buffer.clear()
        frame = self._frames.pop(0)
        return frame.first, frame.payload

    def expect_close(self, code: int) -> str:
        """See that the server closes with this code, and TLS with it; give the reason."""
        began_s = time.monotonic()
        first, payload = self.frame()
        assert (first, int.from_bytes(payload[:2], "big")) == (FIN | CLOSE, code), payload
        self.expect_end(began_s)
        return payload[2:].decode()

    def expect_end(self, began_s: float) -> None:
        """See that nothing follows: first TLS ends, then TCP as soon as we say that we know."""
        assert (self._frames, self._reader.rest, self._buffer) == ([], b"", bytearray())
        assert not self._read()
        plain = self.socket.unwrap()
        assert plain.recv(1) == b""
        plain.close()
        assert time.monotonic() - began_s < AT_ONCE_S

    def _read(self) -> bool:
        data = self.socket.recv(1 << 18)
        self._buffer += data
        return bool(data)


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Echo]:
    server = Echo(tmp_path_factory.mktemp("tls"))
    assert server.url.startswith("wss://")
    yield server
    try:
        # Whatever the clients did, it has nothing to complain about and ends in order.
        assert server.stop() == (0, "")
    finally:
        server.close()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    http, stomp = free_port(), free_port()
    folder = tmp_path_factory.mktemp("gateway")
    server = Server(folder, tutorial_ini(http, stomp), http=http, stomp=stomp, is_tls=True)
    try:
        yield server.start()
    finally:
        server.close()


# ---------------------------------------------------------------- messages


@pytest.mark.parametrize("offer", [None, OFFER], ids=["plain", "deflate"])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_messages_in_any_fragments_and_records_come_back(
    echo: Echo, opcode: int, offer: str | None
) -> None:
    dice = random.Random(f"{opcode}{offer}")
    with Client(echo, offer) as client:
        for size in (0, 1, 64, 125, 126, 65_535, 65_536, MIB, LIMIT):
            if opcode == TEXT:
                words = "".join(dice.choices("aäß世🌍\n", k=1000)).encode()
                data = (words * (size // len(words) + 1))[:size].decode(errors="ignore").encode()
            else:
                data = dice.randbytes(size // 2) + bytes(size - size // 2)
            payload = deflated(data) if offer else data
            cuts = sorted(dice.randrange(len(payload) + 1) for _ in range(dice.randrange(5)))
            bounds = list(itertools.pairwise([0, *cuts, len(payload)]))
            stream = b""
            for number, (start, end) in enumerate(bounds):
                stream += ws_frame(
                    CONT if number else opcode,
                    payload[start:end],
                    is_final=number == len(bounds) - 1,
                    reserved=4 if offer and not number else 0,
                )
                if number < len(bounds) - 1:
                    stream += ws_frame(PING, b"%d" % number)
            record = dice.choice([3, 17, 1000, 16_384]) if size < 70_000 else 1 << 20
            client.send(*(stream[at : at + record] for at in range(0, len(stream), record)))
            # The answers to one read may come in either order, and reads are not records.
            came = [client.frame() for _ in bounds]
            [(first, echoed)] = [frame for frame in came if frame[0] != FIN | PONG]
            came.remove((first, echoed))
            assert came == [(FIN | PONG, b"%d" % number) for number in range(len(bounds) - 1)]
            if first & COMPRESSED:
                assert offer
                echoed = inflated(echoed)
            assert first & ~COMPRESSED == FIN | opcode
            assert hashlib.sha256(echoed).digest() == hashlib.sha256(data).digest()


@pytest.mark.parametrize("is_one_record", [True, False])
def test_control_frames_are_answered_between_fragments(echo: Echo, is_one_record: bool) -> None:
    frames = [
        ws_frame(TEXT, "Grü".encode()[:-1], is_final=False),
        ws_frame(PING, b"first"),
        ws_frame(CONT, "ü".encode()[-1:], is_final=False),
        ws_frame(PONG, b"nobody asked"),
        ws_frame(PING, b"second"),
        ws_frame(CONT, "ße".encode()),
    ]
    with Client(echo) as client:
        client.send(*([b"".join(frames)] if is_one_record else frames))
        came = [client.frame() for _ in range(3)]
    message = (FIN | TEXT, "Grüße".encode())
    assert message in came
    came.remove(message)
    assert came == [(FIN | PONG, b"first"), (FIN | PONG, b"second")]


def test_a_whole_conversation_may_come_a_byte_in_a_record(echo: Echo) -> None:
    stream = upgrade_request("/") + ws_frame(BINARY, b"hello") + ws_frame(CLOSE, b"\x03\xe8bye")
    with Client(echo, does_open=False) as client:
        client.send(*(bytes((byte,)) for byte in stream))
        assert client.answer().status == 101
        assert client.frame() == (FIN | BINARY, b"hello")
        assert client.expect_close(1000) == "bye"


# ---------------------------------------------------------------- the request


HEALTH = http_request("GET", "/health", {"Host": "localhost"})


def test_a_connection_that_was_kept_alive_may_upgrade(gateway: Server) -> None:
    with Client(gateway, does_open=False) as client:
        for _ in range(2):
            client.send(HEALTH)
            assert client.answer().status == 200
        client.send(upgrade_request("/ws"))
        answer = client.answer()
        assert answer.status == 101
        assert answer.headers["sec-websocket-accept"] == ACCEPT
        client.send(ws_frame(TEXT, CONNECT))
        first, payload = client.frame()
        assert first == FIN | TEXT
        assert payload.startswith(b"CONNECTED\n")


@pytest.mark.parametrize("requests_before", [0, 2])
def test_the_first_frames_may_follow_the_request_in_one_record(
    gateway: Server, requests_before: int
) -> None:
    frames = ws_frame(TEXT, CONNECT) + ws_frame(PING, b"there?")
    with Client(gateway, does_open=False) as client:
        client.send(HEALTH * requests_before + upgrade_request("/ws") + frames)
        assert [client.answer().status for _ in range(requests_before)] == [200] * requests_before
        assert client.answer().status == 101
        (ping, text) = sorted([client.frame(), client.frame()], reverse=True)
        assert ping == (FIN | PONG, b"there?")
        assert text[1].startswith(b"CONNECTED\n")
        client.send(ws_frame(CLOSE, b"\x03\xe8"))
        client.expect_close(1000)


# ---------------------------------------------------------------- what is refused

BROKEN = {
    "not masked": (1002, ws_frame(TEXT, b"hello", is_masked=False)),
    "first reserved bit": (1002, ws_frame(TEXT, b"hello", reserved=4)),
    "second reserved bit": (1002, ws_frame(TEXT, b"hello", reserved=2)),
    "third reserved bit": (1002, ws_frame(TEXT, b"hello", reserved=1)),
    "unknown opcode": (1002, ws_frame(3, b"hello")),
    "unknown control opcode": (1002, ws_frame(11)),
    "long ping": (1002, ws_frame(PING, bytes(126))),
    "ping in fragments": (1002, ws_frame(PING, b"x", is_final=False)),
    "continuation of nothing": (1002, ws_frame(CONT, b"hello")),
    "message in a message": (1002, ws_frame(TEXT, is_final=False) + ws_frame(TEXT, b"x")),
    "text that is not UTF-8": (1007, ws_frame(TEXT, b"h\xe9llo")),
    "half a character at the end": (1007, ws_frame(TEXT, "ü".encode()[:1])),
    "surrogate": (1007, ws_frame(TEXT, b"\xed\xa0", is_final=False)),
    "too large a character": (1007, ws_frame(TEXT, b"\xf4\x90", is_final=False)),
    "close of one byte": (1002, ws_frame(CLOSE, b"\x03")),
    "close with a code for nobody": (1002, ws_frame(CLOSE, b"\x03\xed")),
    "close with a code of 5000": (1002, ws_frame(CLOSE, b"\x13\x88")),
    "close with a reason that is not UTF-8": (1007, ws_frame(CLOSE, b"\x03\xe8\xff")),
    "one byte over the limit": (1009, ws_frame(BINARY, bytes(LIMIT + 1))[:14]),
    "a size of 63 bits": (1009, b"\x82\xff\x7f" + b"\xff" * 7),
    "a size of 64 bits": (1002, b"\x82\xff\xff" + b"\xff" * 7),
}


@pytest.mark.parametrize("code, frame", BROKEN.values(), ids=BROKEN)
def test_what_is_broken_gets_one_close_and_nothing_more(
    echo: Echo, code: int, frame: bytes
) -> None:
    with Client(echo) as client:
        client.send(ws_frame(TEXT, b"before") + frame + ws_frame(TEXT, b"after"))
        assert client.frame() == (FIN | TEXT, b"before")
        assert client.expect_close(code)


def test_text_that_is_not_utf_8_is_refused_before_its_frame_is_whole(echo: Echo) -> None:
    frame = ws_frame(TEXT, "Grüße ".encode() + b"\xff" + bytes(1_000_000))
    with Client(echo) as client:
        client.send(frame[:200])
        client.expect_close(1007)


def test_compressed_text_that_is_not_utf_8_is_refused_before_its_message_is_whole(
    echo: Echo,
) -> None:
    with Client(echo, OFFER) as client:
        client.send(ws_frame(TEXT, deflated(b"hello \xff"), is_final=False, reserved=4))
        client.expect_close(1007)


@pytest.mark.parametrize(
    "frame",
    [
        ws_frame(TEXT, b"x", is_final=False) + ws_frame(CONT, b"x", reserved=4),
        ws_frame(PING, b"x", reserved=4),
        ws_frame(TEXT, b"x", reserved=2),
    ],
)
def test_only_the_first_frame_of_a_message_is_marked_as_compressed(
    echo: Echo, frame: bytes
) -> None:
    with Client(echo, OFFER) as client:
        client.send(frame)
        client.expect_close(1002)


def test_what_is_not_deflate_is_refused(echo: Echo) -> None:
    with Client(echo, OFFER) as client:
        client.send(ws_frame(BINARY, b"\xff" * 20, reserved=4))
        client.expect_close(1002)


# ---------------------------------------------------------------- too large


def test_the_fragments_of_a_message_count_together(echo: Echo) -> None:
    with Client(echo) as client:
        for number in range(16):
            client.send(ws_frame(CONT if number else BINARY, bytes(MIB), is_final=False))
        client.send(ws_frame(PING, b"still here"))
        assert client.frame() == (FIN | PONG, b"still here")
        client.send(ws_frame(CONT, b"x", is_final=False))
        client.expect_close(1009)


def test_a_small_message_that_inflates_to_too_much_is_refused(echo: Echo) -> None:
    with Client(echo, OFFER) as client:
        client.send(ws_frame(BINARY, deflated(bytes(100 * MIB)), reserved=4))
        client.expect_close(1009)


def test_who_goes_on_sending_what_is_too_large_still_hears_why(echo: Echo) -> None:
    with Client(echo) as client:
        client.send(b"\x82\xff" + (1 << 40).to_bytes(8, "big") + b"\1\2\3\4")
        client.send(*[bytes(MIB)] * 20)
        assert client.frame()[1][:2] == (1009).to_bytes(2, "big")


# ---------------------------------------------------------------- the close


@pytest.mark.parametrize(
    "payload", [b"", b"\x03\xe8", b"\x03\xe9going", b"\x0b\xb8", b"\x13\x87" + "ü".encode() * 61]
)
def test_a_close_is_answered_with_its_code_and_reason_and_tcp_ends(
    echo: Echo, payload: bytes
) -> None:
    with Client(echo) as client:
        client.send(ws_frame(TEXT, b"last words") + ws_frame(CLOSE, payload))
        began_s = time.monotonic()
        assert client.frame() == (FIN | TEXT, b"last words")
        assert client.frame() == (FIN | CLOSE, payload)
        client.expect_end(began_s)


@pytest.mark.parametrize("is_reset", [True, False])
def test_a_client_that_vanishes_without_a_word_does_no_harm(echo: Echo, is_reset: bool) -> None:
    with Client(echo) as client:
        client.send(ws_frame(TEXT, b"half", is_final=False))
        if is_reset:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    with Client(echo) as client:
        client.send(ws_frame(TEXT, b"hello"))
        assert client.frame() == (FIN | TEXT, b"hello")


# ---------------------------------------------------------------- compression


def test_messages_are_compressed_each_by_itself_and_tiny_ones_not(echo: Echo) -> None:
    with Client(echo, does_open=False) as client:
        client.send(upgrade_request("/", sec_websocket_extensions=OFFER))
        assert client.answer().headers["sec-websocket-extensions"] == (
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        )
        data = b"hello " * 1000
        for _ in range(2):
            client.send(ws_frame(TEXT, deflated(data), reserved=4))
        one, two = client.frame(), client.frame()
        assert one == two
        assert one[0] == FIN | COMPRESSED | TEXT
        assert len(one[1]) < 100
        assert inflated(one[1]) == data
        client.send(ws_frame(TEXT, b"hi"))
        assert client.frame() == (FIN | TEXT, b"hi")
