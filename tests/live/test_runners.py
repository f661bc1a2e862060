"""Every runner of Twisted's starts the server, or ends with one sentence and leaves nothing."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.process import ROOT, Server, environment, free_port, get, until
from support.wire import Wire

pytestmark = [pytest.mark.live]

BIN = Path(sys.executable).parent

CONFIG = ("rtchat", "--config", "chat.ini")
FOREGROUND = {
    "twistd -n": ("twistd", "-n", *CONFIG),
    "twist": ("twist", *CONFIG),
    "chat.tac": ("twistd", "-n", "--pidfile=", "-y", "chat.tac"),
}
DAEMONS = {
    "twistd": ("twistd", *CONFIG),
    "chat.tac as a daemon": ("twistd", "-y", "chat.tac"),
}
RUNNERS = [pytest.param(words, id=name) for name, words in (FOREGROUND | DAEMONS).items()]

# An interpreter in root's own folder can be read, too, and it is no root all the same.
AS_NOBODY = (
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
    *("--inh-caps=+dac_override", "--ambient-caps=+dac_override"),
)
in_namespace = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="only root can begin a PID namespace, with unshare",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with chat.tac in it."""
    shutil.copy(ROOT / "chat.tac", tmp_path)
    return tmp_path


def run(folder: Path, *words: str, prefix: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run a command that has to end by itself, a daemon's included."""
    command, *arguments = words
    return subprocess.run(
        [*prefix, str(BIN / command), *arguments],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def fails(folder: Path, runner: Sequence[str], chat_ini: str, prefix: Sequence[str] = ()) -> str:
    """Start, which has to fail; return the one sentence that says why."""
    (folder / "chat.ini").write_text(chat_ini, encoding="utf-8")
    done = run(folder, *runner, prefix=prefix)
    assert done.returncode not in (0, None), done
    sentences = done.stderr.splitlines()
    assert len(sentences) == 1, done.stderr
    assert sentences[0].startswith("rtchat: "), done.stderr
    log = folder / "twistd.log"
    logged = log.read_text(encoding="utf-8") if log.exists() else ""
    assert "Traceback" not in done.stdout + logged
    assert not (folder / "twistd.pid").exists()
    return sentences[0].removeprefix("rtchat: ").replace(f"{folder}/chat.ini", "chat.ini")


def chats(http: int, stomp: int) -> None:
    """Fetch the page and send a message through the broker."""
    assert get(http, "/", Host="localhost")[0] == 200
    with Wire(stomp) as wire:
        wire.connect()
        wire.subscribe("/topic/start")
        wire.publish("/topic/start", "hello")
        assert wire.frame().body == b"hello"


def listen(http: int, stomp: int, more: str = "") -> str:
    return f"[listen]\nhttp://127.0.0.1:{http}\nstomp://127.0.0.1:{stomp}\n{more}"


# It works


@pytest.mark.parametrize("words", FOREGROUND.values(), ids=FOREGROUND)
def test_a_runner_in_the_foreground_opens_the_ports(folder: Path, words: Sequence[str]) -> None:
    http, stomp = free_port(), free_port()
    (folder / "chat.ini").write_text(listen(http, stomp), encoding="utf-8")
    program, *arguments = words
    with Server(
        folder, None, http=http, stomp=stomp, program=program, arguments=arguments
    ) as server:
        chats(http, stomp)
        server.stop()
    assert not (folder / "twistd.pid").exists()


@pytest.mark.parametrize("words", DAEMONS.values(), ids=DAEMONS)
def test_a_daemon_opens_the_ports_and_the_shell_goes_on(folder: Path, words: Sequence[str]) -> None:
    http, stomp = free_port(), free_port()
    (folder / "chat.ini").write_text(listen(http, stomp), encoding="utf-8")
    done = run(folder, *words)
    assert (done.returncode, done.stderr) == (0, "")
    pid_file = folder / "twistd.pid"
    pid = int(pid_file.read_text(encoding="ascii"))
    try:
        chats(http, stomp)
    finally:
        os.kill(pid, signal.SIGTERM)
    until("end of the daemon", lambda: not Path(f"/proc/{pid}").exists())
    assert not pid_file.exists()


def test_the_folder_of_a_server_in_the_foreground_need_not_be_writable(tmp_path: Path) -> None:
    http, stomp = free_port(), free_port()
    ini = tmp_path / "chat.ini"
    ini.write_text(listen(http, stomp), encoding="utf-8")
    arguments = ["-n", "rtchat", "--config", str(ini)]
    server = Server(tmp_path, None, http=http, stomp=stomp, arguments=arguments)
    server.folder = Path("/proc")  # not even root can create a file there
    with server:
        chats(http, stomp)


def test_a_pid_file_that_is_asked_for_is_written(tmp_path: Path) -> None:
    http, stomp = free_port(), free_port()
    (tmp_path / "chat.ini").write_text(listen(http, stomp), encoding="utf-8")
    arguments = ["-n", "--pidfile=twistd.pid", *CONFIG]
    with Server(tmp_path, None, http=http, stomp=stomp, arguments=arguments) as server:
        pid_file = tmp_path / "twistd.pid"
        assert pid_file.read_text(encoding="ascii") == str(server.pid)
        done = run(tmp_path, "twistd", "-n", "--pidfile=twistd.pid", *CONFIG)
        assert done.returncode == 1
        assert done.stderr == (
            f"rtchat: a server runs already, twistd.pid names its process {server.pid}; stop it, "
            "or name another file with --pidfile.\n"
        )
    assert not pid_file.exists()


# It does not work


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_port_that_is_taken(folder: Path, runner: Sequence[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert fails(folder, runner, listen(free_port(), port)) == (
            f"chat.ini:3: [listen] stomp://127.0.0.1:{port} cannot be opened: Address already in "
            "use. Choose another port, or stop the program that has this one."
        )


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_mistake_in_the_file(folder: Path, runner: Sequence[str]) -> None:
    said = fails(folder, runner, listen(free_port(), 70000))
    assert said.startswith("chat.ini:3: [listen] stomp://127.0.0.1:70000 has the port 70000; ")


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize(
    "more, expected",
    [
        ("[history]\n/topic/a = 1\nfile = chat.tac\n", "[history] file = chat.tac cannot be used"),
        ("[log]\nmessages = chat.tac/log\n", "[log] messages = chat.tac/log "),
        ("https://127.0.0.1:1\n[ssl]\ncrt = chat.tac\nkey = chat.tac\n", "[ssl] crt = chat.tac "),
    ],
    ids=["history", "log", "certificate"],
)
def test_a_file_that_cannot_be_used(
    folder: Path, runner: Sequence[str], more: str, expected: str
) -> None:
    assert expected in fails(folder, runner, listen(free_port(), free_port(), more))


@pytest.mark.parametrize("runner", RUNNERS)
def test_privileges_that_are_not_there(folder: Path, runner: Sequence[str]) -> None:
    text = listen(free_port(), free_port(), "[global]\nuser = nobody\n")
    prefix = AS_NOBODY if os.geteuid() == 0 else ()
    said = fails(folder, runner, text, prefix)
    assert said.startswith("chat.ini:5: [global] user = nobody needs a start as root: ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("runner", RUNNERS)
def test_a_root_that_may_not_become_another_user(folder: Path, runner: Sequence[str]) -> None:
    text = listen(free_port(), free_port(), "[global]\nuser = nobody\n")
    prefix = ("setpriv", "--bounding-set=-setuid,-setgid")
    assert fails(folder, runner, text, prefix) == (
        "chat.ini:5: [global] user = nobody is not permitted (Operation not permitted); give the "
        "process the capabilities setuid and setgid, or remove the line."
    )


@pytest.mark.parametrize(
    "words, what",
    [
        (["twistd", *CONFIG], "the log /proc/twistd.log"),
        (["twistd", "-l", "{folder}/log", *CONFIG], "the pid file /proc/twistd.pid"),
        (["twistd", "-n", "-l", "/none/log", *CONFIG], "the log /none/log"),
        (["twistd", "-n", "--pidfile=/none/pid", *CONFIG], "the pid file /none/pid"),
        (["twistd", "-n", "--rundir=/none", *CONFIG], "the folder /none"),
    ],
)
def test_a_file_of_the_runner_that_cannot_be_written(
    tmp_path: Path, words: Sequence[str], what: str
) -> None:
    ini = tmp_path / "chat.ini"
    ini.write_text(listen(free_port(), free_port()), encoding="utf-8")
    done = run(
        Path("/proc"),
        *(word.replace("{folder}", str(tmp_path)) for word in words[:-1]),
        str(ini),
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"rtchat: {what} ")
    assert len(done.stderr.splitlines()) == 1


# After kill -9


@contextmanager
def as_process_1(folder: Path, http: int, stomp: int, *words: str) -> Iterator[Server]:
    """Run the server as process 1 of a PID namespace, as containers do, and end it at once."""
    server = Server(
        folder,
        None,
        http=http,
        stomp=stomp,
        arguments=words,
        prefix=("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"),
    )
    server.start()
    try:
        yield server
    finally:
        server.kill()
        until("free port", lambda: _is_free(http))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@in_namespace
@pytest.mark.parametrize("options", [[], ["--pidfile=rtchat.pid"]], ids=["default", "pid file"])
def test_process_1_starts_again_after_its_end(tmp_path: Path, options: list[str]) -> None:
    http, stomp = free_port(), free_port()
    (tmp_path / "chat.ini").write_text(listen(http, stomp), encoding="utf-8")
    for _ in range(2):
        with as_process_1(tmp_path, http, stomp, "-n", *options, *CONFIG):
            chats(http, stomp)
        assert (tmp_path / "rtchat.pid").exists() == bool(options)
        assert not (tmp_path / "twistd.pid").exists()


@in_namespace
@pytest.mark.parametrize("options", ["", ":lockfile=0"], ids=["with lock", "without lock"])
def test_process_1_opens_the_socket_that_it_left(tmp_path: Path, options: str) -> None:
    http = free_port()
    chat_ini = f"[listen]\nhttp://127.0.0.1:{http}\nstomp = unix:a.sock{options}\n"
    (tmp_path / "chat.ini").write_text(chat_ini, encoding="utf-8")
    for _ in range(2):
        with as_process_1(tmp_path, http, 0, "-n", *CONFIG), socket.socket(socket.AF_UNIX) as one:
            one.connect(str(tmp_path / "a.sock"))
            one.sendall(b"CONNECT\naccept-version:1.2\nhost:a\n\n\0")
            assert one.recv(9) == b"CONNECTED"
        assert (tmp_path / "a.sock").exists()


@pytest.mark.parametrize("left", ["1", "", "{other}"])
def test_a_pid_file_that_names_no_server_is_stale(tmp_path: Path, left: str) -> None:
    http, stomp = free_port(), free_port()
    (tmp_path / "chat.ini").write_text(listen(http, stomp), encoding="utf-8")
    pid_file = tmp_path / "rtchat.pid"
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            pid_file.write_text(left.replace("{other}", str(other.pid)), encoding="ascii")
            arguments = ["-n", "--pidfile=rtchat.pid", *CONFIG]
            with Server(tmp_path, None, http=http, stomp=stomp, arguments=arguments) as server:
                assert pid_file.read_text(encoding="ascii") == str(server.pid)
                chats(http, stomp)
        finally:
            other.kill()


def test_a_file_that_is_no_pid_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / "chat.ini").write_text(listen(free_port(), free_port()), encoding="utf-8")
    (tmp_path / "notes").write_text("dear diary", encoding="ascii")
    done = run(tmp_path, "twistd", "-n", "--pidfile=notes", *CONFIG)
    assert done.returncode == 1
    assert done.stderr == (
        "rtchat: notes is no pid file, so it is not overwritten; remove it, or name another file "
        "with --pidfile.\n"
    )
    assert (tmp_path / "notes").read_text(encoding="ascii") == "dear diary"
