"""Much at once from a target: every byte, the right messages, and the right end."""

from __future__ import annotations

import fcntl
import hashlib
import re
import signal
import socket
import struct
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest
from support.process import Server, free_port, until
from support.sockets import RealWebSocket
from support.websocket import BINARY, CLOSE, TEXT

pytestmark = pytest.mark.live

KIB, MIB = 1024, 1024 * 1024
SOON_S = 10.0
"""Well below the 30 s that either side may take for the last bytes of the other."""

MUCH = b"".join(number.to_bytes(4, "big") for number in range(4 * MIB))  # all different
MUCH_TEXT = "".join(f"{number:07}\n" for number in range(512 * KIB)).encode()

INI = """\
[listen]
http://127.0.0.1:{http}
stomp://127.0.0.1:{stomp}
[access]
self -> 127.0.0.1:{target}
self -> unix:app = app.sock
[global]
session.ping_interval = 0
[proxy]
{more}
"""


class Pair:
    """A browser and its target, with the gateway between them."""

    def __init__(self, browser: RealWebSocket, target: socket.socket) -> None:
        self.browser = browser
        self.target = target
        self.port: int = browser.socket.getsockname()[1]

    def read(self, size: int, opcode: int = BINARY) -> bytes:
        """Read messages of one kind until there is so much."""
        got = bytearray()
        while len(got) < size:
            frame = self.browser.read()
            assert (frame.opcode, frame.is_final) == (opcode, True), frame.payload[:100]
            got += frame.payload
        return bytes(got)

    def read_to_close(self) -> tuple[bytes, int]:
        """Read to the end; give all bytes, and the close code."""
        got = bytearray()
        while (frame := self.browser.read()).opcode != CLOSE:
            assert frame.opcode == BINARY
            got += frame.payload
        assert frame.code is not None
        return bytes(got), frame.code


class Place:
    """A server, and what is behind it."""

    def __init__(self, folder: Path, more: str = "") -> None:
        self._stack = ExitStack()
        self._listeners = {"tcp": socket.socket(), "unix": socket.socket(socket.AF_UNIX)}
        http, stomp, target = free_port(), free_port(), free_port()
        self._listeners["tcp"].bind(("127.0.0.1", target))
        self._listeners["unix"].bind(str(folder / "app.sock"))
        for listener in self._listeners.values():
            listener.listen()
            listener.settimeout(10)
            self._stack.enter_context(listener)
        self._paths = {"tcp": f"/tcp/127.0.0.1:{target}", "unix": "/tcp/unix:app"}
        self.way = f" (no Origin) -> 127.0.0.1:{target}: "
        ini = INI.format(http=http, stomp=stomp, target=target, more=more)
        self.server = Server(folder, ini, http=http, stomp=stomp).start()

    def pair(self, kind: str = "tcp", **headers: Any) -> Pair:
        """Return both ends of a connection through the gateway."""
        browser = RealWebSocket(self.server.http, self._paths[kind], **headers)
        self._stack.enter_context(browser)
        target, _ = self._listeners[kind].accept()
        self._stack.enter_context(target)
        target.settimeout(20)
        return Pair(browser, target)

    def lines_about(self, port: int) -> list[str]:
        """Return what the log says about a browser."""
        return [line for line in self.server.log().splitlines() if re.search(rf":{port}\b", line)]

    def close(self) -> None:
        """End it all."""
        self._stack.close()
        self.server.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One server for most of the module; the connections of each test are its own."""
    with closing(Place(tmp_path_factory.mktemp("bulk"))) as place:
        yield place


class Sender(threading.Thread):
    """Lets a target send; it ends when the other side has gone, too."""

    def __init__(self, target: socket.socket, data: bytes, ending: str) -> None:
        super().__init__()
        self._target = target
        self._data = data
        self._ending = ending

    def run(self) -> None:
        """Send, then end."""
        with suppress(OSError):
            self._target.sendall(self._data)
            if self._ending == "RST":
                reset(self._target)
            elif self._ending == "FIN":
                self._target.shutdown(socket.SHUT_WR)
            elif self._ending == "close":
                self._target.close()

    def __enter__(self) -> Sender:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.join()


def reset(target: socket.socket) -> None:
    """Vanish: the other side gets a RST."""
    target.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    target.close()


def unacknowledged(target: socket.socket) -> int:
    """Return how much of what it sent is not yet at the other end."""
    (size,) = struct.unpack("i", fcntl.ioctl(target, termios.TIOCOUTQ, bytes(4)))
    return int(size)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# ---------------------------------------------------------------- a target that breaks off


def expect_broken_off(place: Place, pair: Pair) -> None:
    """See the one line about it, which is the same as when little came."""
    until("line", lambda: place.lines_about(pair.port), details=place.server.log)
    time.sleep(0.05)
    (line,) = place.lines_about(pair.port)
    assert f":{pair.port}{place.way}target broke off: Connection to the other side was lost" in line


def test_a_target_that_resets_while_it_sends(place: Place) -> None:
    pair = place.pair()
    with Sender(pair.target, MUCH, "RST"):
        begun_s = time.monotonic()
        got, code = pair.read_to_close()
        assert time.monotonic() - begun_s < SOON_S
    assert code == 1000
    assert got
    assert MUCH.startswith(got)
    expect_broken_off(place, pair)


def test_a_reset_after_bytes_that_were_not_read_yet(place: Place) -> None:
    pair = place.pair()
    with Sender(pair.target, MUCH, "nothing"):
        assert digest(pair.read(len(MUCH))) == digest(MUCH)
    # The server finds both at once: so much that a pipe takes it, and then the reset.
    last = MUCH[: 100 * KIB]
    place.server.send_signal(signal.SIGSTOP)
    try:
        pair.target.sendall(last)
        until("bytes at the server", lambda: not unacknowledged(pair.target))
        reset(pair.target)
    finally:
        place.server.send_signal(signal.SIGCONT)
    begun_s = time.monotonic()
    assert pair.read_to_close() == (last, 1000)
    assert time.monotonic() - begun_s < SOON_S
    expect_broken_off(place, pair)


# ---------------------------------------------------------------- a limit to silence


def test_much_is_no_silence(tmp_path: Path) -> None:
    with closing(Place(tmp_path, "idle.timeout = 1")) as place:
        busy, steady, silent = place.pair(), place.pair(), place.pair()
        end_s = time.monotonic() + 3
        while time.monotonic() < end_s:
            with Sender(busy.target, MUCH[: 4 * MIB], "nothing"):
                assert busy.read(4 * MIB) == MUCH[: 4 * MIB]
            # This fits into one packet, so that after the first each goes through a pipe.
            steady.target.sendall(MUCH[: 40 * KIB])
            assert steady.read(40 * KIB) == MUCH[: 40 * KIB]
            time.sleep(0.02)
        for pair in (busy, steady):
            pair.target.close()
            assert pair.browser.read().code == 1000
            assert place.lines_about(pair.port) == []
        # The other one was cut meanwhile.
        assert silent.browser.read().code == 1001


# ---------------------------------------------------------------- messages of another kind


def test_a_browser_that_spoke_text_gets_text_however_much(place: Place) -> None:
    pair = place.pair()
    pair.browser.send(TEXT, b"send me much")
    assert pair.target.recv(100) == b"send me much"
    with Sender(pair.target, MUCH_TEXT, "FIN"):
        assert digest(pair.read(len(MUCH_TEXT), TEXT)) == digest(MUCH_TEXT)
        assert pair.browser.read().code == 1000


def test_a_browser_that_speaks_text_in_the_middle_gets_the_rest_as_text(place: Place) -> None:
    pair = place.pair()
    with Sender(pair.target, MUCH_TEXT, "nothing"):
        got = pair.read(len(MUCH_TEXT))
    assert digest(got) == digest(MUCH_TEXT)
    pair.browser.send(TEXT, b"more")
    assert pair.target.recv(100) == b"more"
    with Sender(pair.target, MUCH_TEXT, "FIN"):
        assert digest(pair.read(len(MUCH_TEXT), TEXT)) == digest(MUCH_TEXT)
        assert pair.browser.read().code == 1000


def test_an_offer_to_compress_changes_nothing(place: Place) -> None:
    pair = place.pair(sec_websocket_extensions="permessage-deflate")
    # It is not taken: what goes to a target is often compressed or encrypted already.
    assert "sec-websocket-extensions" not in pair.browser.answer.headers
    with Sender(pair.target, MUCH_TEXT, "FIN"):
        got, code = pair.read_to_close()
    assert (digest(got), code) == (digest(MUCH_TEXT), 1000)


# ---------------------------------------------------------------- a Unix socket


@pytest.mark.parametrize("ending", ["FIN", "close"])
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_much_from_either_kind_of_socket_and_then_the_close(
    place: Place, kind: str, ending: str
) -> None:
    pair = place.pair(kind)
    with Sender(pair.target, MUCH, ending):
        got, code = pair.read_to_close()
    assert (len(got), digest(got), code) == (len(MUCH), digest(MUCH), 1000)
    assert place.lines_about(pair.port) == []
