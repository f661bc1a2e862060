"""Real servers for other people's tests: started with settings, restarted, stopped, killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.process import environment, get, until
from support.stomp import frame_bytes
from support.wire import Wire

from rtchat.blocking import publish
from rtchat.errors import ServerRefused
from rtchat.pytest_plugin import ServerFactory
from rtchat.testing import ServerFailed, ServerProcess

pytestmark = [pytest.mark.live]

HISTORY = "[history]\n/topic/chat* = 100\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path, HISTORY) as server:
        yield server


def kept(server: ServerProcess, destination: str = "/topic/chat") -> list[tuple[str, str]]:
    """Return the body and the epoch of each kept message."""
    with closing(Wire(server.stomp_port)) as wire:
        wire.connect()
        wire.send(
            frame_bytes(
                "SUBSCRIBE", id="0", destination=destination, receipt="r", x_stream_offset="first"
            )
        )
        count = int(wire.frame().headers["x-stream-offset"])
        frames = [wire.frame() for _ in range(count)]
    return [(frame.body.decode(), frame.headers["x-stream-epoch"]) for frame in frames]


def test_a_server_is_killed_and_comes_back_on_the_same_ports(server: ServerProcess) -> None:
    ports, pid = (server.http_port, server.stomp_port), server.pid
    publish("/topic/chat", "1", port=server.stomp_port)
    with closing(Wire(server.stomp_port)) as wire:
        wire.connect()
        server.kill()
        with pytest.raises((AssertionError, OSError)):
            wire.frame()
    assert not server.is_running
    with pytest.raises(ServerRefused):
        publish("/topic/chat", "2", port=server.stomp_port)
    assert "Main loop terminated" not in server.log_text
    server.start()
    assert (server.http_port, server.stomp_port) == ports
    assert server.pid != pid
    publish("/topic/chat", "3", port=server.stomp_port)
    messages = kept(server)
    assert [body for body, _ in messages] == ["1", "3"]
    assert len({epoch for _, epoch in messages}) == 1
    assert server.log_text.count(" is ready ") == 2


def test_a_server_restarts_with_other_settings(server: ServerProcess) -> None:
    publish("/topic/chat", "1", port=server.stomp_port)
    server.restart(HISTORY + "[broker]\nframe.max_bytes = 1 KiB\n")
    with pytest.raises(ServerRefused, match="1024"):
        publish("/topic/chat", "x" * 2000, port=server.stomp_port)
    server.stop()
    assert "Main loop terminated" in server.log_text
    server.restart()
    with pytest.raises(ServerRefused, match="1024"):
        publish("/topic/chat", "x" * 2000, port=server.stomp_port)
    assert [body for body, _ in kept(server)] == ["1"]


def test_no_other_program_gets_the_ports_while_the_server_is_down(server: ServerProcess) -> None:
    server.stop()
    for port in (server.http_port, server.stomp_port):
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((server.host, port))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((server.host, port), 5)
    server.close()
    with socket.socket() as other:
        other.bind((server.host, server.stomp_port))


def test_the_ports_can_be_named_in_settings(tmp_path: Path) -> None:
    settings = (
        "[listen]\nhttp://127.0.0.1:{http_port}\nstomp://127.0.0.1:{stomp_port}\n"
        "[access]\nself -> localhost:{stomp_port}\n[pubsub]\nnews = /topic/a, /topic/b\n"
    )
    with ServerProcess(tmp_path, settings) as server:
        ini = (tmp_path / "chat.ini").read_text(encoding="utf-8")
        assert ini.count("[listen]") == ini.count("[access]") == 1
        assert f"self -> localhost:{server.stomp_port}\n" in ini
        assert get(server.http_port, "/health")[0] == 200
        assert server.http_url == f"http://127.0.0.1:{server.http_port}/"
        assert server.websocket_url == f"ws://127.0.0.1:{server.http_port}/ws"
        publish("/pubsub/news", "1", port=server.stomp_port)


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, "[rate]\nmessage_per_second = 3\n")
    assert server.log_text == ""
    with pytest.raises(ServerFailed, match="does not run"):
        server.stop()
    with pytest.raises(ServerFailed, match=r"(?s)did not start:.*did you mean messages_per_second"):
        server.start()
    assert not server.is_running
    server.restart("[rate]\nmessages_per_second = 3\n")
    with pytest.raises(ServerFailed, match="runs already"):
        server.start()
    server.close()
    server.close()  # once more does nothing
    for call in (server.stop, server.kill, lambda: server.pid):
        with pytest.raises(ServerFailed, match="does not run"):
            call()
    with pytest.raises(ServerFailed, match="did not start"), ServerProcess(tmp_path, "[x]\n"):
        pass


def test_a_server_that_has_ended_by_itself_says_so(server: ServerProcess) -> None:
    os.kill(server.pid, signal.SIGKILL)
    until("end of the server", lambda: not server.is_running)
    with pytest.raises(ServerFailed, match=r"(?s)does not run:.*is ready"):
        server.stop()


def test_servers_of_the_factory_are_apart(rtchat_server_factory: ServerFactory) -> None:
    one, other = rtchat_server_factory(HISTORY), rtchat_server_factory(HISTORY)
    assert not {one.http_port, one.stomp_port} & {other.http_port, other.stomp_port}
    publish("/topic/chat", "1", port=one.stomp_port)
    assert [len(kept(server)) for server in (one, other)] == [1, 0]
    one.kill()  # what a test has ended is no failure at its end


def test_a_server_that_is_not_ready_in_time_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtchat.testing.server._START_S", 0.1)
    server = ServerProcess(tmp_path)
    with pytest.raises(ServerFailed, match=r"did not start within 0\.1 s"):
        server.start()
    assert not server.is_running
    server.close()


def test_a_server_that_does_not_stop_in_time_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtchat.testing.server._STOP_S", 0.1)
    server = ServerProcess(tmp_path)
    server.start()
    os.kill(server.pid, signal.SIGSTOP)
    with pytest.raises(ServerFailed, match=r"(?s)did not stop within 0\.1 s:.*is ready"):
        server.close()
    assert not server.is_running
    with socket.socket() as other:
        other.bind((server.host, server.stomp_port))  # given up all the same


def test_a_server_that_ends_with_an_error_says_so(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = server._process
    assert process is not None
    monkeypatch.setattr(process, "terminate", process.kill)  # it crashes when it is to stop
    with pytest.raises(ServerFailed, match=r"(?s)ended with -9:.*is ready"):
        server.stop()


def test_where_ports_cannot_be_shared_they_are_free_while_it_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtchat.testing.server._can_share_ports", lambda: False)
    with ServerProcess(tmp_path) as server:
        server.stop()
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind((server.host, server.stomp_port))
        server.start()
        publish("/topic/a", "1", port=server.stomp_port)


def test_the_plug_in_loads_nothing_of_the_server() -> None:
    # It is loaded by each run of pytest, also where no test has a use for it.
    text = (
        "import sys, rtchat.pytest_plugin; print(*[one for one in sys.modules if 'rtchat' in one])"
    )
    done = subprocess.run(
        [sys.executable, "-c", text + "; assert 'twisted' not in sys.modules"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert set(done.stdout.split()) == {"rtchat", "rtchat.pytest_plugin"}


OTHERS_TESTS = """
import pytest
from rtchat.testing import ServerProcess

@pytest.fixture(scope="module")
def own(tmp_path_factory):
    with ServerProcess(tmp_path_factory.mktemp("own")) as server:
        yield server

def test_factory(rtchat_server_factory):
    pids.append(rtchat_server_factory("[history]\\n/topic/a = 1\\n").pid)
    assert False, "factory"

def test_own(own):
    pids.append(own.pid)
    with own.log.open("a") as log:
        log.write("too long ago\\n" + "x" * 19_990 + "\\nthe end of the log\\n")
    assert False, "own"

def test_shared(rtchat_server):
    assert False, "shared"

def test_setting(rtchat_server_factory):
    rtchat_server_factory("[histori]\\n")

def test_passing(rtchat_server_factory, rtchat_broker):
    pids.append(rtchat_server_factory().pid)
    rtchat_broker.connect()

pids = []

def test_ends():
    import os
    for pid in (pids[0], pids[2]):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    os.kill(pids[1], 0)
    print("PID", pids[1])
"""


def test_a_failure_shows_the_log_of_its_servers(tmp_path: Path) -> None:
    (tmp_path / "test_others.py").write_text(OTHERS_TESTS, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rP", "-p", "no:cacheprovider", "test_others.py"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )
    said = done.stdout
    assert "4 failed, 2 passed" in said, said
    parts = {part.split()[0]: part for part in said.split("____ test_")[1:]}
    shown = {name: part.count("- rtchat log: ") for name, part in parts.items()}
    assert shown == {"factory": 1, "own": 1, "shared": 1, "setting": 1, "ends": 0}, said
    assert "history of /topic/a is kept" in parts["factory"]
    assert "the end of the log" in parts["own"]
    assert "too long ago" not in parts["own"].partition("rtchat log: ")[2]
    assert " is ready " in parts["shared"]
    assert "did you mean [history]?" in parts["setting"]
    pid = int(parts["ends"].partition("PID ")[2].split()[0])
    until("end of the last server", lambda: not Path(f"/proc/{pid}").exists())
