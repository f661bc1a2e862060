"""A peer that does not read costs a real server no more than 256 KiB a direction.

What the process holds is what is nowhere else: of the bytes that a sender got rid of, those that
wait in the kernel's queues (``/proc/net/tcp``) and those that have come out at the other end are
taken away; the rest is inside. The heads of frames and TLS's own bytes are not counted.
"""

from __future__ import annotations

import fcntl
import select
import socket
import struct
import termios
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from support.certificate import Certificate
from support.process import Server, free_port
from support.raw_browser import RawBrowser
from support.websocket import BINARY, WebSocketReader, ws_frame

pytestmark = [pytest.mark.live, pytest.mark.slow]

KIB, MIB = 1024, 1024 * 1024
LIMIT_BYTES = 256 * KIB

QUIET_S = 0.4
"""A stall: for this time in seconds, no end takes anything."""

DRIP_BYTES = 16 * KIB
MOST_BYTES = 128 * MIB
"""So much goes into no system's queues."""

ZEROS = bytes(16 * MIB)

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
* -> unix:app = app.sock
[global]
session.ping_interval = 0
"""

WAYS = {
    "TCP": ("http", "tcp"),
    "Unix socket": ("http", "unix"),
    "TLS": ("https", "tcp"),
    "TLS, Unix socket": ("https", "unix"),
}


class Place:
    """A server and the targets behind it."""

    def __init__(self, folder: Path) -> None:
        self.listeners = {"tcp": socket.socket(), "unix": socket.socket(socket.AF_UNIX)}
        # A small queue at the end that stalls, so that the test need not send so much.
        self.listeners["tcp"].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 * KIB)
        target = free_port()
        self.listeners["tcp"].bind(("127.0.0.1", target))
        self.listeners["unix"].bind(str(folder / "app.sock"))
        for listener in self.listeners.values():
            listener.listen(200)
            listener.settimeout(10)
        self.paths = {"tcp": f"/tcp/127.0.0.1:{target}", "unix": "/tcp/unix:app"}
        crt, key = Certificate.make().write(folder)
        http, stomp, https = free_port(), free_port(), free_port()
        ini = INI.format(http=http, https=https, stomp=stomp, target=target, crt=crt, key=key)
        self.ports = {"http": http, "https": https}
        self.server = Server(folder, ini, http=http, stomp=stomp).start()

    def connect(self, stack: ExitStack, scheme: str, kind: str) -> tuple[RawBrowser, socket.socket]:
        """Return both ends of a connection through the gateway."""
        browser = RawBrowser(
            self.ports[scheme],
            self.paths[kind],
            is_tls=scheme == "https",
            receive_buffer_bytes=128 * KIB,
        )
        stack.enter_context(browser.socket)
        target, _ = self.listeners[kind].accept()
        stack.enter_context(target)
        if kind == "unix":
            target.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 * KIB)
        else:
            target.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        target.setblocking(False)
        return browser, target

    def close(self) -> None:
        """End it all."""
        for listener in self.listeners.values():
            listener.close()
        self.server.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One server for all of the module; the connections of each test are its own."""
    place = Place(tmp_path_factory.mktemp("stalls"))
    yield place
    place.close()


Pair = tuple[RawBrowser, socket.socket]
"""The browser's end of a connection through the gateway, and the target's."""


# ---------------------------------------------------------------- the kernel's queues


def tcp_queues() -> dict[tuple[int, int], tuple[int, int]]:
    """Return (bytes to be sent or acknowledged, bytes to be read) by own and other port."""
    queues = {}
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        _, own, other, _, waiting, *_ = line.split()
        ports = tuple(int(address.split(":")[1], 16) for address in (own, other))
        sending, _, reading = waiting.partition(":")
        queues[ports] = (int(sending, 16), int(reading, 16))
    return queues  # type: ignore[return-value]


def ports_of(end: socket.socket) -> tuple[int, int]:
    """Return the port of the test's end, and the server's."""
    return end.getsockname()[1], end.getpeername()[1]


class Waiting(NamedTuple):
    """What one connection through the gateway has in the kernel, by who wrote it."""

    by_browser: int
    for_browser: int
    by_target: int
    for_target: int


def waiting(pairs: Iterable[Pair]) -> list[Waiting]:
    """Look at the queues of all four sockets of each."""
    queues = tcp_queues()
    counts = []
    for browser, target in pairs:
        mine, other = ports_of(browser.socket)
        sending, receiving = queues[mine, other], queues[other, mine]
        by_browser, for_browser = sending[0] + receiving[1], receiving[0] + sending[1]
        if target.family == socket.AF_UNIX:
            # How much of what it sent is not read yet its peer alone knows, and that is the
            # server. With a small SO_SNDBUF it is little; it counts as if the server held it.
            (queued,) = struct.unpack("i", fcntl.ioctl(target, termios.FIONREAD, bytes(4)))
            counts.append(Waiting(by_browser, for_browser, 0, queued))
            continue
        mine, other = ports_of(target)
        sending, receiving = queues[mine, other], queues[other, mine]
        by_target, for_target = sending[0] + receiving[1], receiving[0] + sending[1]
        counts.append(Waiting(by_browser, for_browser, by_target, for_target))
    return counts


def at_rest(server: Server, pairs: Collection[Pair]) -> list[Waiting]:
    """Look until nothing moves any more, and not because the server waits for a processor."""
    seen: list[list[Waiting]] = []
    end_s = time.monotonic() + 30
    while seen[-4:] != [counts := waiting(pairs)] * 4:
        assert time.monotonic() < end_s, f"the queues do not come to rest: {seen[-4:]}"
        seen = [*seen, counts] if server.is_asleep else []
        time.sleep(0.05)
    return counts


class Stream:
    """Bytes that one end sends, again and again the same, until the other end takes no more.

    Args:
        end: The socket.
        block: The bytes, made up for the wire as they are needed.
        seal: Makes them up.
        piece_bytes: How much is sent at a time.

    Attributes:
        sent: How much went, on the wire.
    """

    def __init__(
        self,
        end: socket.socket,
        block: bytes,
        seal: Callable[[bytes], bytes] = bytes,
        piece_bytes: int = MIB,
    ) -> None:
        self.end = end
        self.sent = 0
        self._block = block
        self._seal = seal
        self._piece_bytes = piece_bytes
        self._left = memoryview(b"")
        self._lengths: list[int] = []

    def push(self) -> None:
        """Send some of it."""
        assert self.sent < MOST_BYTES, "nobody stops it"
        with suppress(BlockingIOError):
            for _ in range(-(-64 * KIB // self._piece_bytes)):
                if not self._left:
                    wire = self._seal(self._block)
                    self._left = memoryview(wire)
                    if self._seal is not bytes:
                        self._lengths += record_lengths(wire)
                size = self.end.send(self._left[: self._piece_bytes])
                self._left = self._left[size:]
                self.sent += size

    def plain_bytes(self, wire_bytes: int, *, whole: bool = False) -> int:
        """Return how much was in the first bytes of the wire; of TLS's records in whole ones."""
        if self._seal is bytes:
            return wire_bytes
        at = plain = 0
        for length in self._lengths:
            # A head of 5 bytes, the record, its type and a tag of 16 bytes (RFC 8446, 5.2).
            there = min(wire_bytes - at - 5, length)
            if there <= 0 or (whole and there < length):
                break
            plain += min(there, length - 17)
            at += 5 + length
        return plain


def record_lengths(wire: bytes) -> Iterator[int]:
    """Yield the lengths of TLS's records."""
    at = 0
    while at < len(wire):
        length = int.from_bytes(wire[at + 3 : at + 5], "big")
        yield length
        at += 5 + length


def push(streams: Iterable[Stream]) -> None:
    """Send all streams until no end has taken anything for a while."""
    ends = {stream.end: stream for stream in streams}
    while ready := select.select([], ends, [], QUIET_S)[1]:
        for end in ready:
            ends[end].push()


def read_drops(ends: Mapping[str, socket.socket]) -> Iterator[tuple[str, bytes]]:
    """Read a little at a time, as one who is slow does."""
    for _ in range(40):
        time.sleep(0.01)
        for name, end in ends.items():
            with suppress(BlockingIOError):
                yield name, end.recv(DRIP_BYTES)


def read_rest(end: socket.socket) -> bytes:
    """Read to the end."""
    end.settimeout(20)
    return b"".join(iter(lambda: end.recv(MIB), b""))


# ---------------------------------------------------------------- a target that stalls


class Messages(NamedTuple):
    """Messages that are all alike, in frames that are all alike."""

    size: int
    frame_size: int

    @cache  # noqa: B019  # there are but a few
    def block(self) -> bytes:
        """Return some of them."""
        data = bytes(self.frame_size)
        count = self.size // self.frame_size
        if count == 1:
            message = ws_frame(BINARY, data)
        else:
            message = ws_frame(BINARY, data, is_final=False)
            message += ws_frame(0, data, is_final=False) * (count - 2) + ws_frame(0, data)
        return message * (-(-256 * KIB // len(message)))

    def payload_in(self, sent: int) -> int:
        """Return how much of so many bytes of the stream is payload."""
        frame = len(ws_frame(BINARY, bytes(self.frame_size)))
        whole, rest = divmod(sent, frame)
        return whole * self.frame_size + max(0, rest - (frame - self.frame_size))


MESSAGES = {
    "64 bytes": Messages(64, 64),
    "1000 bytes": Messages(1000, 1000),
    "64 KiB and one byte": Messages(64 * KIB + 1, 64 * KIB + 1),
    "16 MiB": Messages(16 * MIB, 16 * MIB),
    "16 MiB in frames of 512 bytes": Messages(16 * MIB, 512),
    "16 MiB in frames of 256 KiB": Messages(16 * MIB, 256 * KIB),
}
WITH_TLS = ("64 bytes", "16 MiB", "16 MiB in frames of 512 bytes")


def test_a_target_that_stalls(place: Place) -> None:
    cases = {
        f"{way}, {name}": (WAYS[way], MESSAGES[name])
        for way in WAYS
        for name in (WITH_TLS if "TLS" in way else MESSAGES)
    }
    with ExitStack() as stack:
        pairs = {name: place.connect(stack, *way) for name, (way, _) in cases.items()}
        streams = {
            name: Stream(
                browser.socket,
                cases[name][1].block(),
                browser.seal if "TLS" in name else bytes,
            )
            for name, (browser, _) in pairs.items()
        }
        read = dict.fromkeys(cases, 0)
        for is_slow in (False, True):
            if is_slow:
                for name, data in read_drops({name: target for name, (_, target) in pairs.items()}):
                    read[name] += len(data)
            push(streams.values())
            for name, waits in zip(cases, at_rest(place.server, pairs.values()), strict=True):
                taken = streams[name].plain_bytes(streams[name].sent - waits.by_browser)
                held = cases[name][1].payload_in(taken) - waits.for_target - read[name]
                # Nothing at all would be a mistake in the counting.
                assert 0 < held <= LIMIT_BYTES, f"{name}: {held} bytes (slow: {is_slow})"
        for name, (browser, target) in pairs.items():
            browser.socket.shutdown(socket.SHUT_WR)
            read[name] += len(read_rest(target))
            taken = streams[name].plain_bytes(streams[name].sent, whole=True)
            assert read[name] == cases[name][1].payload_in(taken), name


# ---------------------------------------------------------------- a browser that stalls

CHUNKS = {"64 bytes": 64, "1000 bytes": 1000, "64 KiB": 64 * KIB, "16 MiB": 16 * MIB}


class Reading:
    """Counts the payload in what a browser reads."""

    def __init__(self, browser: RawBrowser) -> None:
        self._browser = browser
        self._frames = WebSocketReader()
        self._whole = 0
        self.wire = 0

    def take(self, data: bytes) -> None:
        """Take what came over the wire."""
        self.wire += len(data)
        frames = self._frames.feed(self._browser.open(data))
        self._whole += sum(len(frame.payload) for frame in frames if frame.opcode == BINARY)

    @property
    def payload(self) -> int:
        """How much came; a frame that is not complete counts with what is there."""
        begun = self._frames.rest
        head = 0 if len(begun) < 2 else {126: 4, 127: 10}.get(begun[1], 2)
        return self._whole + max(0, len(begun) - head)


def held_for(browser: RawBrowser, reading: Reading, waits: Waiting, sent: int) -> int:
    """Read all that the target sent; give how much of it the server held when it was at rest."""
    browser.socket.settimeout(10)
    left = waits.for_browser
    while left:
        data = browser.socket.recv(min(left, MIB))
        left -= len(data)
        reading.take(data)
    held = sent - waits.by_target - reading.payload
    while reading.payload < sent:
        reading.take(browser.socket.recv(MIB))
    assert reading.payload == sent
    return held


def test_a_browser_that_stalls(place: Place) -> None:
    cases = {f"{way}, {name}": (WAYS[way], CHUNKS[name]) for way in WAYS for name in CHUNKS}
    with ExitStack() as stack:
        pairs = {name: place.connect(stack, *way) for name, (way, _) in cases.items()}
        streams = {
            name: Stream(target, ZEROS, piece_bytes=cases[name][1])
            for name, (_, target) in pairs.items()
        }
        readings = {name: Reading(pairs[name][0]) for name in cases}
        for is_slow in (False, True):
            if is_slow:
                ends = {name: browser.socket for name, (browser, _) in pairs.items()}
                for name, data in read_drops(ends):
                    readings[name].take(data)
            push(streams.values())
        # How much payload the kernel had shows when it is read, so that comes last: what had
        # left the server then is known by its length on the wire.
        counts = dict(zip(cases, at_rest(place.server, pairs.values()), strict=True))
        for name, (browser, _) in pairs.items():
            held = held_for(browser, readings[name], counts[name], streams[name].sent)
            assert 0 < held <= LIMIT_BYTES, f"{name}: {held} bytes"


def test_a_browser_that_stalls_before_a_flood(place: Place) -> None:
    # What just does not make the server stop may wait already when much more comes. It is TLS
    # behind which the number of waiting bytes is not known exactly.
    for drop in (50_000, 56_000, 62_000):
        with ExitStack() as stack:
            pair = browser, target = place.connect(stack, "https", "tcp")
            stream = Stream(target, ZEROS, piece_bytes=drop)
            held = 0
            while held < drop * 0.9:
                target.settimeout(5)
                target.sendall(ZEROS[:drop])
                stream.sent += drop
                time.sleep(0.004)
                (waits,) = waiting([pair])
                # TLS adds 22 bytes to 16 KiB.
                held = stream.sent - waits.by_target - waits.for_browser * 744 // 745
            target.setblocking(False)
            push([stream])
            (waits,) = at_rest(place.server, [pair])
            held = held_for(browser, Reading(browser), waits, stream.sent)
            assert 0 < held <= LIMIT_BYTES, f"{drop}: {held} bytes"


# ---------------------------------------------------------------- memory

STALLED = 100


@pytest.mark.parametrize("who", ["browser", "target"])
def test_memory_of_many_that_stall(tmp_path: Path, who: str) -> None:
    # A server of its own: memory that was in use before would be used again, and not be seen.
    with closing(Place(tmp_path)) as place, ExitStack() as stack:
        pairs = [place.connect(stack, "http", "unix") for _ in range(STALLED)]
        before = place.server.resident_bytes()
        if who == "target":
            block = MESSAGES["16 MiB"].block()
            push([Stream(browser.socket, block) for browser, _ in pairs])
        else:
            push([Stream(target, ZEROS) for _, target in pairs])
        at_rest(place.server, pairs)
        grown = place.server.resident_bytes() - before
        # Less than a little would be a mistake in the measuring.
        assert STALLED * 16 * KIB < grown <= STALLED * LIMIT_BYTES
