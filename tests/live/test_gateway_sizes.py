"""Messages of every size come back unchanged, however they are cut and whatever comes between.

Frames are cut at random, the bytes of the wire are cut at random again, pings come between the
fragments, and the server pings as well. ``RTCHAT_SEED=N`` repeats a run.
"""

from __future__ import annotations

import hashlib
import os
import random
import select
import time
import zlib
from collections.abc import Iterator

import pytest
from support.certificate import Certificate
from support.echo import Echo
from support.process import Server, free_port
from support.raw_browser import RawBrowser
from support.services import echo_server
from support.websocket import BINARY, PING, PONG, TEXT, WsFrame
from typing_extensions import Self
from websockets.speedups import apply_mask

pytestmark = pytest.mark.live

KIB, MIB = 1024, 1024 * 1024
SIZES = [64, KIB, 65_535, 65_536, 65_537, MIB, 16 * MIB]
WITHIN_S = 60.0
RESERVED_1 = 0x40

INI = """\
[listen]
http://127.0.0.1:{http}
https://127.0.0.1:{https}
stomp://127.0.0.1:{stomp}
[ssl]
crt = {crt}
key = {key}
[access]
* -> 127.0.0.1:{target}
[global]
session.ping_interval = 0.1
session.ping_timeout = 30
"""


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> random.Random:
    """Return random numbers; a failure says how to have the same ones again."""
    seed = int(os.environ.get("RTCHAT_SEED") or random.randrange(1 << 32))
    request.node.add_report_section("setup", "seed", f"RTCHAT_SEED={seed} repeats this run")
    return random.Random(seed)


# ---------------------------------------------------------------- what is sent


def text_of(dice: random.Random, size: int) -> bytes:
    """Return text of so many bytes, with characters of each length."""
    piece = "".join(dice.choices("aäß世🌍\n", k=min(size, 20_000) + 1)).encode()
    data = (piece * (size // len(piece) + 1))[:size]
    whole = data.decode("utf-8", "ignore").encode()
    return whole + b"." * (size - len(whole))


def bytes_of(dice: random.Random, size: int) -> bytes:
    """Return bytes of which half can be made smaller."""
    noise = dice.randbytes(size // 2)
    return noise + bytes(size - len(noise))


def deflated(dice: random.Random, data: bytes) -> bytes:
    """Compress as a client may: at several levels, in any blocks (RFC 7692, 7.2.1)."""
    packer = zlib.compressobj(dice.choice([0, 1, 2, 4]), wbits=-15)
    packed = b""
    for piece in cut(dice, data, dice.randrange(4)):
        packed += packer.compress(piece)
        if dice.random() < 0.5:
            packed += packer.flush(dice.choice([zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH]))
    return (packed + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")


def cut(dice: random.Random, data: bytes, cuts: int) -> Iterator[bytes]:
    """Cut at random places; a piece may be empty."""
    places = sorted(dice.randint(0, len(data)) for _ in range(cuts))
    for start, end in zip([0, *places], [*places, len(data)], strict=True):
        yield data[start:end]


def frame(dice: random.Random, first: int, data: bytes) -> bytes:
    """Return a client's frame."""
    size, key = len(data), dice.randbytes(4)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65536:
        head = bytes((first, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0x80 | 127)) + size.to_bytes(8, "big")
    return head + key + apply_mask(data, key)


class Sending:
    """One message on its way: cut into frames, with pings between them.

    Attributes:
        wire: All of it.
        pings: What the pings say.
    """

    def __init__(self, dice: random.Random, opcode: int, data: bytes, *, deflate: bool) -> None:
        self.pings: list[bytes] = []
        is_packed = deflate and dice.random() < 0.8
        packed = deflated(dice, data) if is_packed else data
        frames = []
        first = opcode | (RESERVED_1 if is_packed else 0)
        fragments = list(cut(dice, packed, dice.choice([0, 1, 3, 10, 60])))
        for number, piece in enumerate(fragments, start=1):
            frames.append(frame(dice, first | (0x80 if number == len(fragments) else 0), piece))
            first = 0
            for _ in range(dice.choice([0, 0, 1, 3])):
                # No two are the same, so that each pong shows which one it answers.
                self.pings.append(dice.randbytes(dice.choice([10, 20, 125])))
                frames.append(frame(dice, 0x80 | PING, self.pings[-1]))
            if dice.random() < 0.1:
                frames.append(frame(dice, 0x80 | PONG, b"nobody asked"))
        self.wire = b"".join(frames)


def segments(dice: random.Random, wire: bytes) -> Iterator[bytes]:
    """Cut the bytes of the wire; each piece is one write to the socket."""
    yield from cut(dice, wire, dice.choice([0, 1, 7, min(len(wire), 40), min(len(wire), 200)]))


# ---------------------------------------------------------------- what comes back


class Frames:
    """Reads the server's frames as they come; the large ones at no cost for each read."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._needs = 2

    def feed(self, data: bytes) -> Iterator[tuple[WsFrame, int]]:
        """Yield frames and their reserved bits."""
        self._pieces.append(data)
        self._size += len(data)
        while self._size >= self._needs:
            buffer = b"".join(self._pieces)
            length, start = buffer[1], 2
            assert length < 0x80, "a server's frames are not masked"
            if length >= 126:
                start = 4 if length == 126 else 10
                length = int.from_bytes(buffer[2:start], "big") if len(buffer) >= start else 0
            self._pieces = [buffer]
            self._needs = start + length
            if len(buffer) < start or len(buffer) < self._needs:
                continue
            payload = buffer[start : start + length]
            rest = buffer[start + length :]
            self._pieces, self._size, self._needs = [rest], len(rest), 2
            yield WsFrame(buffer[0] & 0x0F, payload, buffer[0] >= 0x80), buffer[0] & 0x70


class Conversation:
    """A browser that sends and reads at the same time.

    Attributes:
        messages: What came, whole messages.
        pongs: What the pongs said.
        server_pings: How many pings of the server's came.
    """

    def __init__(self, dice: random.Random, browser: RawBrowser) -> None:
        self._dice = dice
        self._browser = browser
        self._frames = Frames()
        self._answers: list[bytes] = []
        self.messages: list[tuple[int, bytes]] = []
        self.received_bytes = 0
        self.pongs: list[bytes] = []
        self.server_pings = 0

    def __enter__(self) -> Self:
        """Use it in a with statement."""
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up."""
        self._browser.socket.close()

    def exchange(self, sending: Sending, expected_bytes: int) -> None:
        """Send a message, and read until so many bytes of messages came and every last pong."""
        out = segments(self._dice, sending.wire)
        left = memoryview(b"")
        is_sending = True
        end_s = time.monotonic() + WITHIN_S
        last_ping = sending.pings[-1:]
        while (
            is_sending
            or left
            or self.received_bytes < expected_bytes
            or (last_ping and self.pongs[-1:] != last_ping)
        ):
            assert time.monotonic() < end_s, (
                f"after {WITHIN_S:g} s {self.received_bytes} bytes of {expected_bytes} are here"
            )
            if not left and is_sending:
                piece = next(out, None)
                is_sending = piece is not None
                # An answer to a ping goes between two frames only; here that is at the end.
                left = memoryview(self._browser.seal(piece or b""))
            if not left and not is_sending:
                left = memoryview(self._browser.seal(b"".join(self._answers)))
                self._answers.clear()
            left = self._turn(left)

    def _turn(self, left: memoryview) -> memoryview:
        """Write a bit, read a bit; give what is left to be written."""
        sock = self._browser.socket
        readable, writable, _ = select.select([sock], [sock] if left else [], [], 0.05)
        if readable:
            data = sock.recv(256 * KIB)
            assert data, "the server closed the connection"
            for one, reserved in self._frames.feed(self._browser.open(data)):
                self._take(one, reserved)
        return left[sock.send(left) :] if writable else left

    def _take(self, one: WsFrame, reserved: int) -> None:
        assert one.is_final
        if one.opcode == PONG:
            self.pongs.append(one.payload)
        elif one.opcode == PING:
            self.server_pings += 1
            self._answers.append(frame(self._dice, 0x80 | PONG, one.payload))
        else:
            assert one.opcode in (TEXT, BINARY), one.payload[:100]
            data = one.payload
            if reserved:
                assert reserved == RESERVED_1
                inflater = zlib.decompressobj(-15)
                data = inflater.decompress(data + b"\x00\x00\xff\xff")
                assert not inflater.unconsumed_tail
            self.messages.append((one.opcode, data))
            self.received_bytes += len(data)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def is_part_in_order(part: list[bytes], whole: list[bytes]) -> bool:
    """Whether everything in one list stands in the other one, in the same order."""
    rest = iter(whole)
    return all(one in rest for one in part)


# ---------------------------------------------------------------- through the layer of messages


@pytest.fixture(scope="module", params=["ws", "wss"])
def echo(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Echo]:
    """Start examples/echo.py, in the clear and with TLS."""
    server = Echo(tmp_path_factory.mktemp("tls") if request.param == "wss" else None)
    yield server
    try:
        assert server.stop() == (0, "")
    finally:
        server.close()


@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflate"])
def test_messages_keep_their_bytes_and_bounds(
    echo: Echo, dice: random.Random, deflate: bool
) -> None:
    offer = {"sec_websocket_extensions": "permessage-deflate"} if deflate else {}
    browser = RawBrowser(echo.port, "/", is_tls=echo.certificate is not None, headers=offer)
    assert ("permessage-deflate" in str(browser.answer.headers)) == deflate
    with Conversation(dice, browser) as talk:
        for size in [*SIZES, 0, *(dice.randrange(1, 300_000) for _ in range(6))]:
            opcode = dice.choice([TEXT, BINARY])
            data = text_of(dice, size) if opcode == TEXT else bytes_of(dice, size)
            sending = Sending(dice, opcode, data, deflate=deflate)
            talk.pongs.clear()
            talk.exchange(sending, talk.received_bytes + size)
            if not size:
                talk.exchange(Sending(dice, TEXT, b"!", deflate=False), talk.received_bytes + 1)
                assert talk.messages.pop() == (TEXT, b"!")
            ((back, echoed),) = talk.messages
            talk.messages.clear()
            assert (back, len(echoed), digest(echoed)) == (opcode, size, digest(data))
            # Nothing comes back before all is there, so nothing keeps a pong from being sent.
            pongs = talk.pongs if size else talk.pongs[: len(sending.pings)]
            assert pongs == sending.pings


# ---------------------------------------------------------------- through the proxy


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """Run a server in front of an echo."""
    folder = tmp_path_factory.mktemp("sizes")
    crt, key = Certificate.make().write(folder)
    with echo_server() as target:
        ports = {name: free_port() for name in ("http", "https", "stomp")} | {"target": target}
        server = Server(
            folder, INI.format(**ports, crt=crt, key=key), http=ports["http"], stomp=ports["stomp"]
        )
        try:
            server.start()
            yield ports
        finally:
            server.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_stream_keeps_its_bytes(ports: dict[str, int], dice: random.Random, scheme: str) -> None:
    # The offer is not taken: what goes to a target is often compressed or encrypted already.
    offer = {"sec_websocket_extensions": "permessage-deflate"}
    path = f"/tcp/127.0.0.1:{ports['target']}"
    browser = RawBrowser(ports[scheme], path, is_tls=scheme == "https", headers=offer)
    assert "sec-websocket-extensions" not in browser.answer.headers
    with Conversation(dice, browser) as talk:
        for size in [*SIZES, *(dice.randrange(1, 300_000) for _ in range(6))]:
            data = bytes_of(dice, size)
            sending = Sending(dice, BINARY, data, deflate=False)
            talk.pongs.clear()
            talk.exchange(sending, talk.received_bytes + size)
            echoed = b"".join(piece for _, piece in talk.messages)
            talk.messages.clear()
            assert (len(echoed), digest(echoed)) == (size, digest(data))
            # While much waits for a browser it gets no pong but for the latest ping.
            assert is_part_in_order(talk.pongs, sending.pings)
            if size <= 64 * KIB:
                assert talk.pongs == sending.pings
        assert talk.server_pings
