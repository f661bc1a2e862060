"""Whoever does not read costs a real server no more than 256 KiB a direction.

What the process holds is what nobody else has: of the bytes that a sender got rid of, those that
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
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from live.certificate import Certificate
from live.rawbrowser import RawBrowser
from live.server import Server, free_port
from netfakes import BINARY, FrameReader, ws_frame

pytestmark = pytest.mark.live

KIB, MIB = 1024, 1024 * 1024
LIMIT_BYTES = 256 * KIB

QUIET_S = 0.4
"""So long does nobody take anything: it is a stall."""

PUSHED_BYTES = 24 * MIB
DRIP_BYTES = 16 * KIB

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
        """Give both ends of a connection through the gateway."""
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
    """Give (bytes to be sent or acknowledged, bytes to be read) by own and other port."""
    queues = {}
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        _, own, other, _, waiting, *_ = line.split()
        ports = tuple(int(address.split(":")[1], 16) for address in (own, other))
        sending, _, reading = waiting.partition(":")
        queues[ports] = (int(sending, 16), int(reading, 16))
    return queues  # type: ignore[return-value]


def ports_of(end: socket.socket) -> tuple[int, int]:
    """Give the port of the test's end, and the server's."""
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


def at_rest(pairs: Collection[Pair]) -> list[Waiting]:
    """Look until nothing moves any more."""
    seen: list[list[Waiting]] = []
    end_s = time.monotonic() + 10
    while seen[-4:] != [counts := waiting(pairs)] * 4:
        assert time.monotonic() < end_s, f"the queues do not come to rest: {seen[-4:]}"
        seen.append(counts)
        time.sleep(0.05)
    return counts


def push(
    streams: Mapping[str, tuple[socket.socket, bytes]],
    sent: dict[str, int],
    pieces: Mapping[str, int] | None = None,
) -> None:
    """Go on sending all streams until nobody has taken anything for a while.

    Args:
        streams: Through which socket goes what.
        sent: How much of each went already; counted on.
        pieces: How much each sends at a time.
    """
    names = {end: name for name, (end, _) in streams.items()}
    while True:
        ends = [end for end, name in names.items() if sent[name] < len(streams[name][1])]
        ready = select.select([], ends, [], QUIET_S)[1]
        if not ready:
            return
        for end in ready:
            name = names[end]
            data = memoryview(streams[name][1])
            size = pieces[name] if pieces else MIB
            with suppress(BlockingIOError):
                for _ in range(-(-64 * KIB // size)):
                    sent[name] += end.send(data[sent[name] :][:size])


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

    @property
    def stream(self) -> bytes:
        """As many as nobody takes without reading."""
        data = bytes(self.frame_size)
        count = self.size // self.frame_size
        if count == 1:
            message = ws_frame(BINARY, data)
        else:
            message = ws_frame(BINARY, data, is_final=False)
            message += ws_frame(0, data, is_final=False) * (count - 2) + ws_frame(0, data)
        return message * (PUSHED_BYTES // len(message) + 1)

    def payload_in(self, sent: int) -> int:
        """Give how much of so many bytes of the stream is payload."""
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


def test_a_target_that_stalls(place: Place) -> None:
    cases = {f"{way}, {name}": (WAYS[way], MESSAGES[name]) for way in WAYS for name in MESSAGES}
    with ExitStack() as stack:
        pairs = {name: place.connect(stack, *way) for name, (way, _) in cases.items()}
        wires = {name: pairs[name][0].seal(cases[name][1].stream) for name in cases}
        sent = dict.fromkeys(cases, 0)
        read = dict.fromkeys(cases, 0)
        for is_slow in (False, True):
            if is_slow:
                for name, data in read_drops({name: target for name, (_, target) in pairs.items()}):
                    read[name] += len(data)
            push({name: (pairs[name][0].socket, wires[name]) for name in cases}, sent)
            for name, waits in zip(cases, at_rest(pairs.values()), strict=True):
                assert sent[name] < len(wires[name]), f"{name}: nobody stops the browser"
                taken = pairs[name][0].plain_bytes(wires[name][: sent[name] - waits.by_browser])
                held = cases[name][1].payload_in(taken) - waits.for_target - read[name]
                # Nothing at all would be a mistake in the counting.
                assert 0 < held <= LIMIT_BYTES, f"{name}: {held} bytes (slow: {is_slow})"
        for name, (browser, target) in pairs.items():
            browser.socket.shutdown(socket.SHUT_WR)
            read[name] += len(read_rest(target))
            taken = browser.plain_bytes(wires[name][: sent[name]], whole=True)
            assert read[name] == cases[name][1].payload_in(taken), name


# ---------------------------------------------------------------- a browser that stalls

CHUNKS = {"64 bytes": 64, "1000 bytes": 1000, "64 KiB": 64 * KIB, "16 MiB": 16 * MIB}


class Reading:
    """Counts the payload in what a browser reads."""

    def __init__(self, browser: RawBrowser) -> None:
        self._browser = browser
        self._frames = FrameReader()
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


def test_a_browser_that_stalls(place: Place) -> None:
    cases = {f"{way}, {name}": (WAYS[way], CHUNKS[name]) for way in WAYS for name in CHUNKS}
    with ExitStack() as stack:
        pairs = {name: place.connect(stack, *way) for name, (way, _) in cases.items()}
        streams = {name: (pairs[name][1], bytes(PUSHED_BYTES)) for name in cases}
        readings = {name: Reading(pairs[name][0]) for name in cases}
        sent = dict.fromkeys(cases, 0)
        for is_slow in (False, True):
            if is_slow:
                ends = {name: browser.socket for name, (browser, _) in pairs.items()}
                for name, data in read_drops(ends):
                    readings[name].take(data)
            push(streams, sent, {name: size for name, (_, size) in cases.items()})
        # How much payload the kernel had shows when it is read, so that comes last: what had
        # left the server then is known by its length on the wire.
        counts = dict(zip(cases, at_rest(pairs.values()), strict=True))
        for name, (browser, _) in pairs.items():
            assert sent[name] < PUSHED_BYTES, f"{name}: nobody stops the target"
            reading, waits = readings[name], counts[name]
            browser.socket.settimeout(10)
            left = waits.for_browser
            while left:
                data = browser.socket.recv(min(left, MIB))
                left -= len(data)
                reading.take(data)
            held = sent[name] - waits.by_target - reading.payload
            assert 0 < held <= LIMIT_BYTES, f"{name}: {held} bytes"
            while reading.payload < sent[name]:
                reading.take(browser.socket.recv(MIB))
            assert reading.payload == sent[name], name


# ---------------------------------------------------------------- memory

STALLED = 100


@pytest.mark.parametrize("who", ["browser", "target"])
def test_memory_of_many_that_stall(tmp_path: Path, who: str) -> None:
    names = [str(number) for number in range(STALLED)]
    # A server of its own: memory that was in use before would be used again, and not be seen.
    with ExitStack() as stack, closing(Place(tmp_path)) as place:
        pairs = {name: place.connect(stack, "http", "tcp") for name in names}
        before = place.server.resident_bytes()
        if who == "target":
            stream = Messages(16 * MIB, 16 * MIB).stream
            streams = {name: (browser.socket, stream) for name, (browser, _) in pairs.items()}
        else:
            streams = {name: (target, bytes(PUSHED_BYTES)) for name, (_, target) in pairs.items()}
        sent = dict.fromkeys(names, 0)
        push(streams, sent)
        at_rest(pairs.values())
        assert max(sent.values()) < PUSHED_BYTES
        grown = place.server.resident_bytes() - before
        # Less than a little would be a mistake in the measuring.
        assert STALLED * 16 * KIB < grown <= STALLED * LIMIT_BYTES
