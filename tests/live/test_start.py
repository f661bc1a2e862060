"""The start: what is said when it works, and one sentence when it does not."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from support.process import (
    ROOT,
    TUTORIAL_HTTP,
    TUTORIAL_STOMP,
    Server,
    environment,
    free_port,
    get,
    tutorial_ports,
    twistd,
)
from support.wire import Wire
from twisted.python.lockfile import FilesystemLock

from rtchat import __version__

pytestmark = [pytest.mark.live]

NOBODY = 65534

# The interpreter may stand in root's own folder, so this ``nobody`` may read and write every file,
# and is no root all the same.
AS_NOBODY = (
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    "--inh-caps=+dac_override",
    "--ambient-caps=+dac_override",
)

is_root = os.geteuid() == 0
needs_root = pytest.mark.skipif(not is_root, reason="only root can become another user")


def run(folder: Path, *words: str, prefix: Sequence[str] = ()) -> tuple[int, str]:
    """Run twistd to its end; give the exit code and all it said."""
    done = subprocess.run(
        [*prefix, str(twistd()), *words],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=20,
        check=False,
    )
    return done.returncode, done.stdout


def sentence(folder: Path, *words: str, prefix: Sequence[str] = ()) -> str:
    """Run twistd, which has to fail; give the one sentence that says why."""
    code, said = run(folder, "-n", "--pidfile=", *words, prefix=prefix)
    assert code not in (0, None), said
    assert "Traceback" not in said, said
    sentences = re.findall(r"(?:^|\[stderr#error\] )rtchat: (.*)$", said, re.MULTILINE)
    assert len(sentences) == 1, said
    return str(sentences[0])


def sentence_about(folder: Path, chat_ini: str, prefix: Sequence[str] = ()) -> str:
    """Return the sentence that a configuration causes."""
    (folder / "chat.ini").write_text(chat_ini, encoding="utf-8")
    return sentence(folder, "rtchat", "--config", "chat.ini", prefix=prefix)


# It works


def test_help_explains_itself_line_by_line(tmp_path: Path) -> None:
    code, said = run(tmp_path, "-n", "rtchat", "--help")
    assert code == 0
    lines = [line.strip() for line in said.splitlines()]
    assert "Usage: twistd [options] rtchat [--config chat.ini]" in lines
    assert "twistd -n rtchat --config chat.ini    run with your own" in lines
    assert "self -> localhost:61613" in lines
    assert max(map(len, said.splitlines())) <= 90
    assert list(tmp_path.iterdir()) == []


def test_version_says_the_version(tmp_path: Path) -> None:
    assert run(tmp_path, "-n", "rtchat", "--version") == (0, f"rtchat {__version__}\n")


def test_twistd_lists_it(tmp_path: Path) -> None:
    code, said = run(tmp_path, "--help")
    assert code == 0
    assert re.search(r"^\s+rtchat\s+\S+", said, re.MULTILINE), said


def test_it_says_where_it_is_and_what_deserves_a_second_look(
    serve: Callable[..., Server],
) -> None:
    server = serve()
    said = server.log()
    assert f"open in a browser: http://localhost:{server.http}/" in said
    assert f"STOMP clients: stomp://localhost:{server.stomp}" in said
    assert "(settings: chat.ini); Ctrl-C stops it" in said
    warnings = [line for line in said.splitlines() if "#warn]" in line]
    assert len(warnings) == 2
    listeners = f"http://:{server.http}, stomp://:{server.stomp}"
    assert f"open to the world: {listeners} can be reached" in warnings[0]
    assert f"chat.ini: [access] * -> localhost:{server.stomp} lets every web page" in warnings[1]


@pytest.fixture
def built_in(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start servers on the built-in ports, however they are started."""
    servers: list[Server] = []

    def start(arguments: Sequence[str] | None = None) -> Server:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        server = Server(
            elsewhere, None, http=TUTORIAL_HTTP, stomp=TUTORIAL_STOMP, arguments=arguments
        )
        servers.append(server)
        return server.start()

    with tutorial_ports():
        yield start
        for server in servers:
            server.close()


def chats(server: Server) -> None:
    """Fetch the page and send a message through the broker."""
    status, _, page = get(server.http, "/", Host="localhost")
    assert status == 200
    assert "<title>rtchat</title>" in page
    with Wire(server.stomp) as wire:
        wire.connect()
        wire.subscribe("/topic/start")
        wire.publish("/topic/start", "hello")
        assert wire.frame().body == b"hello"


def listening_addresses(port: int) -> set[str]:
    """Return the local addresses, in hexadecimal, that listen on a port."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
            address, state = line.split()[1], line.split()[3]
            host, _, number = address.rpartition(":")
            if state == "0A" and int(number, 16) == port:
                found.add(host)
    return found


def test_without_a_file_it_is_there_for_this_machine_and_its_own_page(
    built_in: Callable[..., Server],
) -> None:
    server = built_in()
    chats(server)
    assert "(settings: built-in defaults)" in server.log()
    loopback = {"0100007F"}
    assert listening_addresses(TUTORIAL_HTTP) == loopback
    assert listening_addresses(TUTORIAL_STOMP) == loopback

    def knock(path: str, origin: str) -> int:
        return get(
            TUTORIAL_HTTP,
            path,
            Host=f"localhost:{TUTORIAL_HTTP}",
            Origin=origin,
            Upgrade="websocket",
            Connection="Upgrade",
            **{"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="},
        )[0]

    own = f"http://localhost:{TUTORIAL_HTTP}"
    for path in ("/ws", f"/tcp/localhost:{TUTORIAL_STOMP}"):
        assert knock(path, "http://elsewhere.example") == 403
        assert knock(path, own) == 101
    assert knock("/tcp/localhost:22", own) == 403
    assert "#warn]" in server.log()  # the refusals have their lines


def test_chat_tac_without_a_file_beside_it(built_in: Callable[..., Server], tmp_path: Path) -> None:
    tac = shutil.copy(ROOT / "chat.tac", tmp_path / "chat.tac")
    server = built_in(["--pidfile=", "-ny", str(tac)])
    chats(server)
    assert "(settings: built-in defaults)" in server.log()


def test_chat_tac_with_chat_ini_beside_it(tmp_path: Path) -> None:
    http, stomp = free_port(), free_port()
    tac = shutil.copy(ROOT / "chat.tac", tmp_path / "chat.tac")
    chat_ini = tmp_path / "chat.ini"
    chat_ini.write_text(f"[listen]\nhttp://127.0.0.1:{http}\nstomp://127.0.0.1:{stomp}\n", "utf-8")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    arguments = ["--pidfile=", "-ny", str(tac)]
    server = Server(elsewhere, None, http=http, stomp=stomp, arguments=arguments).start()
    chats(server)
    assert f"(settings: {chat_ini})" in server.log()
    server.close()


def test_chat_tac_with_a_bad_chat_ini_beside_it(tmp_path: Path) -> None:
    tac = shutil.copy(ROOT / "chat.tac", tmp_path / "chat.tac")
    (tmp_path / "chat.ini").write_text("[listen]\nhttp://:70000\n", encoding="utf-8")
    said = sentence(tmp_path, "-y", str(tac))
    assert said == (
        f"{tmp_path / 'chat.ini'}:2: [listen] http://:70000 has the port 70000; "
        "use a number from 1 to 65535"
    )


# It does not work


class UnixListener:
    """A program that runs and has a Unix socket; Twisted marks that with a link to its process."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = FilesystemLock(path + ".lock")
        self._socket = socket.socket(socket.AF_UNIX)

    def __enter__(self) -> None:
        assert self._lock.lock()
        self._socket.bind(self._path)
        self._socket.listen()

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._lock.unlock()


def test_a_unix_socket_that_another_program_has_is_said_with_a_remedy(tmp_path: Path) -> None:
    with UnixListener(str(tmp_path / "a.sock")):
        said = sentence_about(tmp_path, "[listen]\nstomp = unix:a.sock\n")
    assert said.startswith("chat.ini:2: [listen] stomp = unix:a.sock cannot be opened: ")
    assert said.strip().endswith("Stop the program that has this socket, or choose another path.")


@pytest.mark.parametrize(
    "chat_ini, expected",
    [
        pytest.param(
            "[listen]\nhttp://127.0.0.1:{port}\n[glabal]\n",
            "chat.ini:3: [glabal] is not a known section; did you mean [global]?",
            id="section",
        ),
        pytest.param(
            "[listen]\nhttp://127.0.0.1:{port}\n\n[global]\nsession.ping_intervall = 20\n",
            "chat.ini:5: [global] session.ping_intervall is not a known key; "
            "did you mean session.ping_interval?",
            id="key",
        ),
        pytest.param(
            "[listen]\nhttp://127.0.0.1:{port}\n[global]\nsession.ping_interval = soon\n",
            "chat.ini:4: [global] session.ping_interval = soon cannot be used; "
            "write 0 or a number of seconds from 0.1 to 86400",
            id="value",
        ),
        pytest.param(
            "[listen]\nhttp://127.0.0.1:{port}\n[access]\n* -> *:80\n",
            "chat.ini:4: [access] * -> *:80 is not a rule: ",
            id="rule",
        ),
        pytest.param(
            "[listen]\nhttp://192.0.2.1:{port}\n",
            "chat.ini:2: [listen] http://192.0.2.1:{port} cannot be opened: Cannot assign "
            "requested address. Name an address of this machine, or none to listen on all.",
            id="address",
        ),
        pytest.param(
            "[listen]\nhttp://127.0.0.1:{port}\nstomp = carrier:pigeon\n",
            "chat.ini:3: [listen] stomp = carrier:pigeon cannot be used as an endpoint (Unknown "
            "endpoint type: 'carrier'); write one that Twisted knows, such as tcp:61613",
            id="endpoint",
        ),
        pytest.param(
            "[listen]\nhttp://127.0.0.1:{port}\nstomp = unix:none/such.sock\n",
            "chat.ini:3: [listen] stomp = unix:none/such.sock cannot be opened: No such file or "
            "directory. Create the folder, or change the path.",
            id="socket",
        ),
        pytest.param(
            "[listen]\nhttps://127.0.0.1:{port}\n[ssl]\ncrt = chat.ini\nkey = chat.ini\n",
            "chat.ini:4: [ssl] crt = chat.ini holds no certificate; ",
            id="certificate",
        ),
        pytest.param(
            "[listen]\nhttp://127.0.0.1:{port}\n[log]\nmessages = none/such.jsonl\n",
            "chat.ini:4: [log] messages = none/such.jsonl is in a folder that does not exist; ",
            id="log",
        ),
        pytest.param(
            "[listen]\nhttp://127.0.0.1:{port}\n[static]\npictures = none\n",
            "chat.ini:4: [static] pictures = none does not exist; ",
            id="static",
        ),
        pytest.param(
            "[listen]\nhttp://127.0.0.1:{port}\n[global]\nuser = no-such-user\n",
            "chat.ini:4: [global] user = no-such-user is not a user of this machine; name one that",
            id="user",
        ),
        pytest.param(
            "[listen]\nhttp://127.0.0.1:{port}\n[global]\ngroup = no-such-group\n",
            "chat.ini:4: [global] group = no-such-group is not a group of this machine; name one",
            id="group",
        ),
        pytest.param("[global]\n", "chat.ini: there is nothing to listen on; ", id="no listener"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_place_and_a_remedy(
    tmp_path: Path, chat_ini: str, expected: str
) -> None:
    port = free_port()
    said = sentence_about(tmp_path, chat_ini.replace("{port}", str(port)))
    assert said.startswith(expected.replace("{port}", str(port)))


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for free, line in (("http://127.0.0.1", "stomp"), ("stomp://127.0.0.1", "http")):
            chat_ini = f"[listen]\n{free}:{free_port()}\n\n{line}://127.0.0.1:{port}  # mine\n"
            assert sentence_about(tmp_path, chat_ini) == (
                f"chat.ini:4: [listen] {line}://127.0.0.1:{port} cannot be opened: Address already "
                "in use. Choose another port, or stop the program that has this one."
            )


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert sentence(tmp_path, "rtchat", "--config", "chat.init") == (
        "chat.init: there is no such file; check the path, or start without --config to use the "
        "built-in defaults"
    )


def test_a_certificate_that_is_none(tmp_path: Path) -> None:
    pem = "-----BEGIN {0}-----\nbm90aGluZw==\n-----END {0}-----\n"
    (tmp_path / "crt.pem").write_text(pem.format("CERTIFICATE"), encoding="ascii")
    (tmp_path / "key.pem").write_text(pem.format("PRIVATE KEY"), encoding="ascii")
    url = f"https://127.0.0.1:{free_port()}"
    said = sentence_about(tmp_path, f"[listen]\n{url}\n[ssl]\ncrt = crt.pem\nkey = key.pem\n")
    assert said.startswith(f"chat.ini:2: [listen] {url} cannot use TLS: ")


@pytest.mark.parametrize("words", [["--confg", "chat.ini"], ["chat.ini"]])
def test_a_slip_on_the_command_line(tmp_path: Path, words: list[str]) -> None:
    code, said = run(tmp_path, "-n", "--pidfile=", "rtchat", *words)
    assert code != 0
    assert "Usage: twistd [options] rtchat" in said or "Usage: twistd [options]" in said
    assert "Traceback" not in said


# Privileges


def prefix_of_nobody() -> Sequence[str]:
    """Return the words that run a command without root."""
    return AS_NOBODY if is_root else ()


@pytest.mark.parametrize("key", ["user = nobody", "group = nogroup"])
def test_only_root_can_become_another_user(tmp_path: Path, key: str) -> None:
    chat_ini = f"[listen]\nhttp://127.0.0.1:{free_port()}\n[global]\n{key}\n"
    assert sentence_about(tmp_path, chat_ini, prefix_of_nobody()) == (
        f"chat.ini:4: [global] {key} needs a start as root: only root can become another user. "
        "Remove the line."
    )


def test_a_port_that_needs_root(tmp_path: Path) -> None:
    first_free = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text(encoding="ascii")
    if int(first_free) <= 81:
        pytest.skip("this machine lets everybody open every port")
    assert sentence_about(tmp_path, "[listen]\nhttp://127.0.0.1:81\n", prefix_of_nobody()) == (
        "chat.ini:2: [listen] http://127.0.0.1:81 cannot be opened: Permission denied. "
        "Choose a port above 1023, or start as root and set [global] user."
    )


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that all users may enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def privileged_port() -> int:
    """Return a free port that only root may open."""
    for port in range(1023, 600, -1):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    pytest.fail("no port below 1024 is free")


@needs_root
@pytest.mark.parametrize("more", ["", "group = nogroup\n"], ids=["user", "user and group"])
def test_root_is_given_up_once_the_ports_are_open(open_folder: Path, more: str) -> None:
    shutil.chown(open_folder, NOBODY, NOBODY)
    http, stomp = privileged_port(), free_port()
    chat_ini = (
        f"[listen]\nhttp://127.0.0.1:{http}\nstomp://127.0.0.1:{stomp}\n"
        f"[global]\nuser = nobody\n{more}[log]\nmessages = messages.jsonl\n"
    )
    server = Server(open_folder, chat_ini, http=http, stomp=stomp).start()
    assert server.uids() == {NOBODY}
    assert server.gids() == {NOBODY}
    assert server.groups() <= {NOBODY}
    assert "privileges dropped: user nobody" in server.log()
    with Wire(stomp) as wire:
        wire.connect()
        wire.publish("/topic/chat", "seen by nobody")
        wire.send("DISCONNECT\nreceipt:1\n\n\0")
        assert wire.frame().command == "RECEIPT"
    assert server.health()["messages"] == 1
    server.close()
    log = open_folder / "messages.jsonl"
    assert log.stat().st_uid == NOBODY
    assert log.stat().st_gid == NOBODY
    assert "seen by nobody" in log.read_text(encoding="utf-8")


@needs_root
def test_a_message_log_that_the_new_user_may_not_write(open_folder: Path) -> None:
    chat_ini = (
        f"[listen]\nhttp://127.0.0.1:{free_port()}\n"
        "[global]\nuser = nobody\n[log]\nmessages = messages.jsonl\n"
    )
    said = sentence_about(open_folder, chat_ini)
    assert re.fullmatch(
        r"chat\.ini:\d+: \[log\] messages = messages\.jsonl cannot be written by nobody "
        r"\(Permission denied: /\S*/messages\.jsonl\); change the permissions or the path\.",
        said,
    )
