"""The programs of the gateway's benchmarks: rtchat, websockify, and the load generator.

Both the generator and the target behind a gateway are ``gateway``, compiled from ``gateway.c``.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gateway_tables import Figures, Load
from benchmarks.process_tree import TICKS_A_SECOND, cpu_s, memory_kb, processes_of
from benchmarks.servers import HOST, BenchError, free_ports

__all__ = [
    "HOLD_NAME",
    "RATES",
    "REMEDY",
    "SPARE_FILES",
    "Gateway",
    "Generator",
    "find_websockify",
    "hold",
    "rtchat",
    "version_of",
    "websockify",
]

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0
# The generator stops by itself after a stall; this limit applies if it hangs.
ANSWER_TIMEOUT_S = 120.0
# Connect these first: the server then imports what it loads lazily, and that is not counted.
WARM_UP_CONNECTIONS = 20
# An upper bound of the files that a gateway opens besides its connections.
SPARE_FILES = 100
QUIET_S = 0.1
QUIET_TIMEOUT_S = 5.0

REMEDY = (
    "apt-get install websockify, or pip install websockify, "
    "or name its program with --websockify or WEBSOCKIFY"
)
HOLD_NAME = "hold connections, an echo a second on each"

RATES: tuple[Load, ...] = (
    Load("open, echo once, close", "open", "connections", {"parallel": 32}),
    Load(
        "64-byte echoes, 1 connection, 100 under way",
        "messages",
        "messages",
        {"connections": 1, "window": 100},
    ),
    Load(
        "64-byte echoes, 50 connections, 1 under way each",
        "messages",
        "messages",
        {"connections": 50, "window": 1},
    ),
    Load(
        "64-byte echoes, 50 connections, 20 under way each",
        "messages",
        "messages",
        {"connections": 50, "window": 20},
    ),
    Load("64 KiB messages to the target", "up", "MB", {"body": 65536, "window": 64}),
    Load("bytes from the target", "down", "MB", {}),
)


class Gateway:
    """A running gateway, as a context manager.

    Args:
        name: Its name in tables.
        command: The command line.
        directory: Its working directory, and the folder of its log.
        port: The port that it will listen on.
        path: The path of the WebSocket that leads to the target.
    """

    def __init__(
        self, name: str, command: Sequence[str], directory: Path, port: int, path: str
    ) -> None:
        self.name = name
        self.port = port
        self.path = path
        self._command = command
        self._directory = directory
        self._log = directory / "server.log"

    def __enter__(self) -> Gateway:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._directory,
                # Run this source tree, not an installed version.
                env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.pid = self._process.pid
        try:
            self._wait()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), 1):
                return
            time.sleep(0.05)
        raise BenchError(f"{self.name} did not start; it said:\n{self.last_words()}")

    def _stop(self) -> None:
        family = processes_of(self.pid)
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pid in family[1:]:  # its children, by their numbers
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 15)

    def last_words(self) -> str:
        """Return the end of the gateway's log."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-15:])

    def wait_until_quiet(self) -> None:
        """Wait until the gateway is idle and none of its children is about to end."""
        deadline = time.monotonic() + QUIET_TIMEOUT_S
        before = None
        while time.monotonic() < deadline:
            now = (cpu_s(self.pid), len(processes_of(self.pid)))
            if now == before:
                return
            before = now
            time.sleep(QUIET_S)


class Generator:
    """The compiled load generator, which is also the target."""

    def __init__(self, directory: Path) -> None:
        """Compile ``gateway.c`` into ``directory``."""
        compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
        if not compiler:
            raise BenchError("a C compiler is needed for the load generator: install gcc or clang")
        self.program = directory / "gateway"
        source = Path(__file__).resolve().with_name("gateway.c")
        subprocess.run([*compiler.split(), "-O3", "-o", self.program, source], check=True)

    def __enter__(self) -> Generator:
        self._target = subprocess.Popen(
            [self.program, "target"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.target_port = int(answer_of(self._target)["port"])
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._target.terminate()
        self._target.communicate()

    def run(
        self, gateway: Gateway, mode: str, seconds: float, settings: Mapping[str, float]
    ) -> Figures:
        """Load a gateway once.

        Raises:
            BenchError: The load could not begin, or the generator hangs.
        """
        command = [str(self.program), mode, HOST, str(gateway.port), f"path={gateway.path}"]
        command += [f"{name}={value}" for name, value in settings.items()]
        command.append(f"seconds={seconds}")
        gateway.wait_until_quiet()
        kb_before = memory_kb(gateway.pid)
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            opened = answer_of(process)["open"]
            gateway.wait_until_quiet()
            before, target_before = cpu_s(gateway.pid), cpu_s(self._target.pid)
            go_on(process)
            done = answer_of(process, seconds)
            if mode == "open":  # a gateway's children are counted once they have ended
                gateway.wait_until_quiet()
            used = cpu_s(gateway.pid) - before
            target_used = cpu_s(self._target.pid) - target_before
            kb = memory_kb(gateway.pid) - kb_before
            go_on(process)
        except BenchError as error:
            said = f"{gateway.name} said:\n{gateway.last_words()}"
            raise BenchError(f"{' '.join(command)}: {error}\n{said}") from None
        finally:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_TIMEOUT_S)
            process.kill()
            process.communicate()
        wall_s = done["wall_s"]
        is_bulk = mode in ("up", "down")
        if is_bulk:
            amount = done["bytes"] / 1e6
        else:
            amount = done["connections" if mode == "open" else "messages"]
        return Figures(
            connections=opened or done["connections"],
            lost=done["lost"],
            cpu_s=used,
            wall_s=wall_s,
            per_cpu_s=amount / max(used, 1 / TICKS_A_SECOND),
            per_wall_s=amount / wall_s,
            p50_ms=None if is_bulk else done["p50_ms"],
            p99_ms=None if is_bulk else done["p99_ms"],
            kb_per_connection=kb / opened if mode == "hold" else None,
            generator_percent=100 * max(done["generator_cpu_s"], target_used) / wall_s,
            problem=done["problem"],
        )


def go_on(process: subprocess.Popen[bytes]) -> None:
    """Send the generator the command to begin or to end."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it has ended; what it says next tells why
        process.stdin.write(b"\n")
        process.stdin.flush()


def answer_of(process: subprocess.Popen[bytes], seconds: float = 0.0) -> dict[str, Any]:
    """Return the generator's next line.

    Raises:
        BenchError: It has ended, or hangs: no line for much longer than the load should take.
    """
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], seconds + ANSWER_TIMEOUT_S)[0]:
        raise BenchError("the generator hangs")
    line = process.stdout.readline()
    if not line:
        process.wait()
        said = process.stderr.read().decode(errors="replace") if process.stderr else ""
        raise BenchError(said.strip() or f"the generator ended with {process.returncode}")
    answer: dict[str, Any] = json.loads(line)
    return answer


def rtchat(directory: Path, target_port: int) -> Gateway:
    """Return ``twistd -n rtchat`` with one rule, for the target."""
    (port,) = free_ports(1)
    directory.mkdir()
    (directory / "chat.ini").write_text(
        f"[listen]\nhttp://{HOST}:{port}\n[access]\nself -> {HOST}:{target_port}\n"
        "[proxy]\nconnections.per_source = 0\n",
        encoding="utf-8",
    )
    start = "from twisted.scripts.twistd import run; run()"
    command = [sys.executable, "-c", start, "-n", "--pidfile=", "rtchat", "--config", "chat.ini"]
    return Gateway("rtchat", command, directory, port, f"/tcp/{HOST}:{target_port}")


def websockify(program: str, directory: Path, target_port: int) -> Gateway:
    """Return websockify for the target."""
    (port,) = free_ports(1)
    directory.mkdir()
    command = [program, f"{HOST}:{port}", f"{HOST}:{target_port}"]
    return Gateway("websockify", command, directory, port, "/")


def find_websockify(named: str | None) -> str | None:
    """Return websockify's path: the given one, or from this Python's environment, or from PATH.

    Raises:
        BenchError: The given path does not exist.
    """
    named = named or os.environ.get("WEBSOCKIFY")
    if named:
        found = shutil.which(named)
        if found is None:
            raise BenchError(f"{named} is not a program; leave it out or name websockify's")
        return found
    beside = shutil.which("websockify", path=str(Path(sys.executable).parent))
    return beside or shutil.which("websockify")


def version_of(program: str) -> str:
    """Return the versions of websockify and of numpy, which makes it several times faster."""
    ask = (
        "from importlib.metadata import PackageNotFoundError, version\n"
        "print('websockify', version('websockify'), end='')\n"
        "try: print(' with numpy', version('numpy'))\n"
        "except PackageNotFoundError: print(' without numpy')\n"
    )
    with contextlib.suppress(OSError, subprocess.CalledProcessError, UnicodeDecodeError):
        first = Path(program).read_text(encoding="utf-8").partition("\n")[0]
        if first.startswith("#!"):
            python = first[2:].split()
            done = subprocess.run([*python, "-c", ask], capture_output=True, text=True, check=True)
            return done.stdout.strip()
    return "websockify, version unknown"


def hold(generator: Generator, gateway: Gateway, connections: int, seconds: float) -> Figures:
    """Measure many connections that echo once a second."""
    generator.run(gateway, "open", 0.5, {"parallel": WARM_UP_CONNECTIONS})
    settings = {"connections": connections, "parallel": 32}
    return generator.run(gateway, "hold", seconds, settings)
