"""Attacks on a real server with an honest client beside it, and what both may cost.

:func:`attack` encloses one: before it the server's memory is noted and the honest client begins;
after it the honest client's round trips, the server's memory and its log are looked at::

    with attack(server) as scene:
        eve = scene.stranger()
        eve.pour(message_bytes("/topic/a", b"x") * 100_000)

Strangers come from addresses of their own, so that what they do does not count for the honest
client's source, nor for the next attack's.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import select
import socket
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from support.examples import IS_SOAK
from support.process import ROOT, Server, environment, free_port, until
from support.sockets import TcpStream, WebSocketStream, connect
from support.stomp import Frame, frame_bytes, message_bytes
from support.websocket import BINARY, PING, upgrade_request, ws_frame
from support.wire import Wire

__all__ = [
    "KIB",
    "MIB",
    "NO_END",
    "GuardedServer",
    "Honest",
    "Scene",
    "Stranger",
    "TooSlowError",
    "attack",
    "guarded",
    "times",
]

KIB, MIB = 1024, 1024 * 1024

_SOURCES = itertools.cycle(f"127.66.{net}.{host}" for net in range(256) for host in range(1, 255))
"""Where strangers come from: those of each attack from another address."""

_MOST_MEMORY = 3 << 30
"""What the server's process may map, so that an attack that succeeds ends at the server."""

_MOST_GROWTH = 64 * MIB
_MOST_MS = 100.0
_MOST_MS_OF_A_BUSY_MACHINE = 250.0
_BUSY = 0.1
"""A machine is busy if it lets the server wait for a processor for more than this part of the
time: then its own time is what the round trips are judged by."""

NO_END = "the server ends no connection"
"""For attacks after which no client is cut: what they do is served, slowed down or refused."""

_END = re.compile(
    r"closed by the server|broken WebSocket|no answer to a WebSocket ping|: cut|: refused:"
)
_REFUSED = re.compile(r" (\S+):\d+: refused:")
_DOOR = "[broker] connections."
_MOST_LINES = 100  # [log] client.max_lines

_MOST_MS_BESIDE = 50.0
_MOST_TIMES_BESIDE = 2
"""For attacks that are compared with the time before them: whichever is more."""

_LOOKS_ON_S = 4.0 if IS_SOAK else 0.5
_LOOKS_BEFORE_S = 4.0 if IS_SOAK else 1.0
_HONEST_TOPIC = "/topic/honest"
_PIECE = 256 * KIB


def times(short: int, long: int) -> int:
    """Return how often something is done in an attack, in its short and in its long form."""
    return long if IS_SOAK else short


class GuardedServer(Server):
    """A server whose process cannot take the whole machine's memory."""

    def processor_s(self) -> float:
        """Return how much of a processor's time it has used."""
        text = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii")
        user, system = text.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def connections(self) -> list[str]:
        """Return the lines of /proc/net/tcp about its STOMP port."""
        port = f"{self.stomp:04X}"
        lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()
        return [line for line in lines if line.split()[1].endswith(f":{port}")]


def guarded(
    folder: Path,
    config: str = "",
    listen: str | None = None,
    modules: Path | None = None,
) -> GuardedServer:
    """Return a server that is not started, with the defaults of a file that says nothing more.

    Args:
        folder: Where it runs.
        config: More sections.
        listen: Other lines in ``[listen]``.
        modules: A folder with Python modules that its process finds first.
    """
    http, stomp = free_port(), free_port()
    lines = listen or f"http://127.0.0.1:{http}\nstomp://127.0.0.1:{stomp}"
    text = f"[listen]\n{lines}\n[access]\nself -> localhost:{stomp}\n{config}"
    limit = ["prlimit", f"--as={_MOST_MEMORY}"]
    if modules is not None:
        limit += ["env", f"PYTHONPATH={modules}:{ROOT}"]
    text = text.replace("{http}", str(http)).replace("{stomp}", str(stomp))
    return GuardedServer(folder, text, http=http, stomp=stomp, prefix=limit)


class Honest:
    """The honest client: a process that says how long it had to wait.

    Args:
        server: Where it connects to.
        destination: What it publishes to and subscribes to.
    """

    def __init__(self, server: Server, destination: str) -> None:
        program = Path(__file__).with_name("honest_client.py")
        command = [sys.executable, "-I", "-S", str(program)]
        self._process = subprocess.Popen(
            [*command, str(server.stomp), str(server.pid), destination],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def report(self) -> list[tuple[float, float]]:
        """Return the round trips since it began, or since the last report; it goes on."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        facts: dict[str, Any] = json.loads(self._process.stdout.readline())
        return [(passed, waited) for passed, waited in facts["ms"]]

    def end(self) -> dict[str, Any]:
        """Let it end; return what it has found since the last report."""
        try:
            found, _ = self._process.communicate(timeout=40)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
        facts: dict[str, Any] = json.loads(found.splitlines()[-1])
        return facts


class Stranger(Wire):
    """A client that may do anything, and goes on whatever the server does.

    Attributes:
        source: Its address.
        name: How the server's log names it.
        taken: How many bytes the server has taken of what was poured.
        has_left: Whether it has said DISCONNECT, or closed.
        was_ended: Whether the server has ended the connection; see :meth:`see_end`.
    """

    has_left = was_ended = False

    def __init__(self, stream: TcpStream | WebSocketStream) -> None:
        super().__init__(stream)
        host, port = self.socket.getsockname()[:2]
        self.source = str(host)
        self.name = f"{host}:{port}"
        self.taken = 0
        self._asked = 0

    def pour(self, data: bytes, within_s: float = 10.0, *, reads: bool = True) -> bool:
        """Send bytes as fast as the server takes them, and read what comes, unless told not to.

        Returns:
            Whether the server has taken all. It has not if it has closed, or if time was up.
        """
        deadline_s = time.monotonic() + within_s
        view = memoryview(data)
        self.socket.setblocking(False)
        try:
            while view and (left_s := deadline_s - time.monotonic()) > 0 and not self.is_closed:
                readers = [self.socket] if reads else []
                readable, writable, _ = select.select(readers, [self.socket], [], left_s)
                if readable:
                    self._read()
                if writable:
                    sent = self.socket.send(view[:_PIECE])
                    self.taken += sent
                    view = view[sent:]
        except BlockingIOError:
            pass
        except OSError:
            self.is_closed = True
        finally:
            self.socket.setblocking(True)
        return not view

    def say(self, command: str, body: bytes = b"", /, **headers: str) -> None:
        """Send a frame; a server that has closed is no error."""
        with suppress(OSError):
            self.send(frame_bytes(command, body, **headers))

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.has_left |= data.startswith(b"DISCONNECT")
        super().send_bytes(data)

    def close(self) -> None:
        """Close the connection."""
        self.has_left = True
        super().close()

    def reset(self) -> None:
        """End the connection with a reset; its port is free at once."""
        with suppress(OSError):
            option = socket.SO_LINGER
            self.socket.setsockopt(socket.SOL_SOCKET, option, b"\1\0\0\0\0\0\0\0")
        with suppress(OSError):
            self.socket.close()

    def see_end(self, within_s: float = 2.0) -> None:
        """Read, and forget, all that has come, to see whether the server has ended it."""
        deadline_s = time.monotonic() + within_s
        try:
            self.socket.setblocking(False)
            while not self.is_closed and time.monotonic() < deadline_s:
                self.is_closed = not self.socket.recv(1 << 20)
        except BlockingIOError:
            pass
        except OSError:
            self.is_closed = True
        self.was_ended = self.is_closed and not self.has_left

    def until_done(self, within_s: float = 15.0) -> list[Frame]:
        """Wait until the server has dealt with all that was sent, or has closed.

        Returns:
            All frames that came.
        """
        self._asked += 1
        name = f"done-{self._asked}"
        with suppress(OSError):
            self.send(frame_bytes("BEGIN", transaction=name, receipt=name))
            self.send(frame_bytes("ABORT", transaction=name))
        return self.frames_until(lambda frame: frame.headers.get("receipt-id") == name, within_s)

    def until_pong(self, within_s: float = 15.0) -> None:
        """Wait until the server has answered a WebSocket ping, or has closed."""
        self.pour(ws_frame(PING, b"are you done?"), within_s)
        deadline_s, tail = time.monotonic() + within_s, b""
        while not self.is_closed and b"are you done?" not in tail:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not select.select([self.socket], [], [], left_s)[0]:
                return
            try:
                data = self.socket.recv(1 << 20)
            except OSError:
                data = b""
            self.is_closed = not data
            tail = tail[-20:] + data

    def frames_until(self, is_last: Callable[[Frame], bool], within_s: float = 15.0) -> list[Frame]:
        """Return the frames that come, up to one, an ERROR, or the end of the connection."""
        frames: list[Frame] = []
        with suppress(EOFError, TimeoutError, OSError):
            while not frames or not (is_last(frames[-1]) or frames[-1].command == "ERROR"):
                frames.append(self.next_frame(within_s))
        return frames

    def error(self, within_s: float = 10.0) -> Frame:
        """Return the ERROR that ends the session; what comes before it is passed over."""
        while (frame := self.next_frame(within_s)).command != "ERROR":
            pass
        return frame

    @property
    def heart_beats(self) -> int:
        """How many heart-beats have come."""
        for _ in self.waiting():
            pass
        return self._reader.eols

    def look(self) -> None:
        """Read what has come, to see whether the server has closed."""
        with suppress(TimeoutError):
            for _ in range(1000):
                if self.is_closed:
                    return
                try:
                    self._receive(0)
                except ConnectionError:
                    self.is_closed = True

    def swallow(self, for_s: float) -> None:
        """Read, and forget, what comes; a client that has done this reads no frames any more."""
        deadline_s = time.monotonic() + for_s
        while not self.is_closed and (left_s := deadline_s - time.monotonic()) > 0:
            if select.select([self.socket], [], [], left_s)[0]:
                try:
                    self.is_closed = not self.socket.recv(1 << 20)
                except OSError:
                    self.is_closed = True

    def _read(self) -> None:
        """Read what has come."""
        try:
            self._receive(0)
        except TimeoutError:
            pass
        except OSError:
            self.is_closed = True
        self.socket.setblocking(False)


class Scene:
    """One attack.

    Attributes:
        server: The server.
        source: The strangers' address.
        strangers: All who came.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.strangers: list[Stranger] = []
        self.source = next(_SOURCES)
        self._log_begins = len(server.log())

    def stranger(
        self, kind: str = "TCP", *, logs_in: bool = True, source: str = "", **headers: str
    ) -> Stranger:
        """Return a new connection, logged in unless told not to."""
        port = self.server.stomp if kind == "TCP" else self.server.http
        plain = connect(port, source=(source or self.source, 0), timeout_s=20)
        stream: TcpStream | WebSocketStream = TcpStream(plain)
        if kind != "TCP":
            stream = WebSocketStream(plain, host=f"localhost:{port}", is_binary=True)
        stranger = Stranger(stream)
        self.strangers.append(stranger)
        if logs_in:
            stranger.connect(heart_beat="0,0", **headers)
        return stranger

    def websocket(self, *, deflates: bool = False) -> Stranger:
        """Return a client of ``/ws`` that is logged in and sends WebSocket frames as bytes."""
        port = self.server.http
        extensions = "permessage-deflate" if deflates else None
        stranger = self.raw(
            upgrade_request(
                "/ws",
                host=f"localhost:{port}",
                subprotocols="v12.stomp",
                sec_websocket_extensions=extensions,
            )
            + ws_frame(BINARY, frame_bytes("CONNECT", accept_version="1.2", host="test"))
        )
        data = b""
        while b"CONNECTED" not in data:
            piece = stranger.socket.recv(65536)
            assert piece, data
            data += piece
        return stranger

    def raw(self, data: bytes = b"", *, to: int | None = None, port: int = 0) -> Stranger:
        """Return a connection that has sent these bytes, to the page's port if to no other.

        Args:
            data: What it sends.
            to: The server's port.
            port: Its own port, if it matters.
        """
        plain = connect(to or self.server.http, source=(self.source, port), timeout_s=20)
        stranger = Stranger(TcpStream(plain))
        self.strangers.append(stranger)
        if data:
            stranger.pour(data)
        return stranger

    def log(self) -> str:
        """Return what the server said since the attack began."""
        return self.server.log()[self._log_begins :]

    def lines(self, text: str) -> list[str]:
        """Return the lines of the log since the attack began that have a text."""
        return [line for line in self.log().splitlines() if text in line]

    def until_logged(self, text: str, within_s: float = 10.0) -> None:
        """Wait for a line."""
        until(f"{text!r} in the log", lambda: self.lines(text), within_s, self.log)

    def ended(self, stranger: Stranger, why: str) -> str:
        """Wait until the server has ended a session; return the one line about it.

        Args:
            stranger: Whose it was.
            why: What the line has to say.
        """

        def ends() -> list[str]:
            return [line for line in self.lines(stranger.name) if "closed" in line]

        until(f"end of {stranger.name} in the log", ends, 15, self.log)
        found = ends()
        assert len(found) == 1, f"more than one line about the end: {found}"
        assert why in found[0], found[0]
        return found[0]

    def message(self, body: bytes, destination: str = "/topic/hostile", **headers: str) -> bytes:
        """Return the bytes of a SEND."""
        return message_bytes(destination, body, **headers)

    def close(self) -> None:
        """Let the strangers go."""
        for stranger in self.strangers:
            stranger.reset()  # nothing that the server still has for it may hold up the next attack

    def look(self) -> None:
        """See whose connections the server has ended."""
        for stranger in self.strangers:
            stranger.see_end()

    def check_ends(self, *reasons: str) -> None:
        """See that each end has one line in the log, with a reason; :meth:`look` came before.

        Args:
            reasons: What the lines have to say; :data:`NO_END` if the server ends no connection, or
                if it need not.
        """
        ended = [stranger for stranger in self.strangers if stranger.was_ended]
        # By name, and not one by one: a port that is free again may have been another's before.
        owners = Counter(stranger.name for stranger in self.strangers)
        lines: dict[str, list[str]] = defaultdict(list)
        for one in self.strangers:
            lines[one.name] = self._end_lines(one) or lines[one.name]
        found = [line for some in lines.values() for line in some]
        if reasons == (NO_END,) or (NO_END in reasons and not found):
            assert not found, f"the server has ended a connection: {found[:3]}"
            assert not ended, f"the server has ended {len(ended)} connections without a line"
            return
        double = [some for name, some in lines.items() if len(some) > owners[name]]
        assert not double, f"more than one line about an end: {double[:3]}"
        found += [line for line in self.lines(_DOOR) if line not in found]
        assert found, f"no line says that a connection has ended: {self.log()[-3000:]}"
        odd = [line for line in found if not any(why in line for why in reasons)]
        assert not odd, f"{reasons} are not in {odd[:3]}"
        # Of one source so many lines a minute are written, and one about those at the door.
        told = {match[1] for line in found if (match := _REFUSED.search(line))}
        silent = [one for one in ended if not lines[one.name] and one.source not in told]
        assert not silent or len(found) >= _MOST_LINES, f"no line about {len(silent)} ends"

    def _end_lines(self, stranger: Stranger) -> list[str]:
        lines = self.lines(f"{stranger.name}: ")
        hard = [line for line in lines if _END.search(line)]
        # A request that is refused may be the end of its connection, and is not as a rule.
        return hard or [line for line in lines if stranger.was_ended and ": refused /" in line][-1:]


class TooSlowError(AssertionError):
    """The honest client had to wait for too long."""


@contextmanager
def attack(
    server: Server,
    ends: str | tuple[str, ...],
    *,
    holds: int = 0,
    destination: str = _HONEST_TOPIC,
    looks_on_s: float = 0,
    is_compared: bool = False,
) -> Iterator[Scene]:
    """Have an attack and, beside it, an honest client; see what both have cost.

    Args:
        server: A running server.
        ends: Why the server ends the strangers' connections, as the one line about each end has
            it, or reasons of which it has one; :data:`NO_END` if it ends none of them.
        holds: How many bytes the limits allow the strangers to make it hold.
        destination: Where the honest client talks to itself.
        looks_on_s: For how long the honest client goes on after the attack, if not as usual.
        is_compared: Whether its round trips may be twice as long as before the attack, or 50 ms,
            and not as long as usual.
    """
    scene = Scene(server)
    before, calm = server.resident_bytes(), None
    server.reset_peak()
    honest = Honest(server, destination)
    if is_compared:
        time.sleep(_LOOKS_BEFORE_S)
        calm = honest.report()
    begun_s, waited_s = time.monotonic(), _waited_s(server)
    try:
        yield scene
        time.sleep(looks_on_s or _LOOKS_ON_S)
    finally:
        facts = honest.end()
        passed_s = time.monotonic() - begun_s
        grown = 0
        with suppress(OSError, AssertionError):
            grown = server.peak_bytes() - before
            waited_s = _waited_s(server) - waited_s
        scene.look()
        scene.close()
        _note(facts, grown, passed_s, waited_s, calm)
    scene.check_ends(*([ends] if isinstance(ends, str) else ends))
    assert not facts["is_cut"], f"the honest client was cut:\n{scene.log()[-3000:]}"
    judge(facts["ms"], is_busy=waited_s > _BUSY * passed_s, calm=calm)
    assert grown < _MOST_GROWTH + holds, (
        f"{grown / MIB:.0f} MiB more, {holds / MIB:.0f} are allowed"
    )


def judge(
    round_trips: list[tuple[float, float]],
    *,
    is_busy: bool,
    calm: list[tuple[float, float]] | None = None,
) -> None:
    """See that round trips are short; on a busy machine the time without a processor is left out.

    Args:
        round_trips: Milliseconds that passed, and in which one of the two had no processor.
        is_busy: Whether the machine is.
        calm: Those of the time before the attack, if they are compared with them.

    Raises:
        TooSlowError: They are not. ``conftest.py`` has the attack twice more, which has to pass
            both times: a host may stop the whole machine for a moment.
    """
    assert len(round_trips) >= 30, f"{len(round_trips)} round trips say nothing"
    most_ms = _MOST_MS_OF_A_BUSY_MACHINE if is_busy else _MOST_MS
    if calm is not None:
        assert len(calm) >= 30, f"{len(calm)} round trips before the attack say nothing"
        most_ms *= max(_MOST_MS_BESIDE, _MOST_TIMES_BESIDE * _judged_ms(calm, is_busy=is_busy))
        most_ms /= _MOST_MS  # a busy machine is given as much more as usual
    if _judged_ms(round_trips, is_busy=is_busy) >= most_ms:
        passed, own = (_judged_ms(round_trips, is_busy=busy) for busy in (False, True))
        raise TooSlowError(
            f"{passed:.0f} ms at the 99th percentile, {own:.0f} of them with a processor; "
            f"{most_ms:.0f} are allowed"
        )


def _judged_ms(round_trips: list[tuple[float, float]], *, is_busy: bool) -> float:
    """Return the 99th percentile; on a busy machine, of the time with a processor."""
    return percentile([passed - (waited if is_busy else 0) for passed, waited in round_trips])


def percentile(values: list[float], share: float = 0.99) -> float:
    """Return what a share of the values are not above."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def _waited_s(server: Server) -> float:
    text = Path(f"/proc/{server.pid}/schedstat").read_text(encoding="ascii")
    return int(text.split()[1]) / 1e9


def _note(
    facts: dict[str, Any],
    grown: int,
    passed_s: float,
    waited_s: float,
    calm: list[tuple[float, float]] | None,
) -> None:
    """Add a line with the figures to a file, if the environment names one."""
    path = os.environ.get("RTCHAT_HOSTILE_FIGURES")
    if path is None:
        return
    passed, own = (_judged_ms(facts["ms"] or [(0, 0)], is_busy=busy) for busy in (False, True))
    name = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition("::")[2].removesuffix(" (call)")
    before = "" if calm is None else f" | before: {_judged_ms(calm or [(0, 0)], is_busy=False):.1f}"
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(
            f"{name} | {passed:.0f} ms | {own:.0f} ms own | {grown / MIB:+.0f} MiB | "
            f"{passed_s:.1f} s, {waited_s:.1f} s without processor | cut: {facts['is_cut']}"
            f"{before}\n"
        )
