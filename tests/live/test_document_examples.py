"""Every code block of README and docs is run as it stands: on the tutorial's ports, as people do.

What cannot be run says so, with a reason, in a comment above the block.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from support.certificate import Certificate
from support.chat_ini import LISTEN, TUTORIAL, read
from support.documents import DOCUMENTS, Block, blocks_of
from support.needs import NODE_MODULES, require, require_package
from support.process import (
    ROOT,
    Server,
    environment,
    free_port,
    tutorial_ports,
    until,
)
from support.wire import Wire
from websockets.sync.client import connect

from rtchat.server.listeners import ListenersPart

pytestmark = [pytest.mark.live]

BLOCKS = [block for path in DOCUMENTS for block in blocks_of(path)]

# How many blocks of each document are not run. A new block is run; if it really cannot be, count it
# here.
SHOWN = {
    "CONTRIBUTING.md": 2,
    "README.md": 0,
    "benchmarks/README.md": 4,
    "docs/comparing.md": 10,
    "docs/configuration.md": 4,
    "docs/design.md": 1,
    "docs/embedding.md": 3,
    "docs/gateway.md": 6,
    "docs/history.md": 1,
    "docs/presence.md": 3,
    "docs/protocol.md": 4,
    "docs/security.md": 2,
    "examples/django_chat/README.md": 3,
    "examples/turbogears/README.md": 3,
}

_READY_S = 60.0
_TEXT = "hello from the other side"
_MESSAGE = json.dumps({"nick": "Ada", "text": _TEXT})

_SERVER_INI = """\
[listen]
http://127.0.0.1:9000
stomp://127.0.0.1:61613
[access]
self -> localhost:61613
self -> localhost:{irc}
[history]
/topic/chat* = 1000, 7 days
file = :memory:
[static]
pages = pages
stompjs = {stompjs}
"""

_IMPORT_MAP = """<script type="importmap">
{"imports": {"@stomp/stompjs": "/stompjs/index.js"}}
</script>"""


def those(*languages: str, notes: str = "") -> pytest.MarkDecorator:
    """Return a test's parameters: the blocks of some languages that are run."""
    found = [
        block
        for block in BLOCKS
        if block.is_run and block.language in languages and block.note == notes
    ]
    assert found, f"no block is in {languages}"
    return pytest.mark.parametrize("block", found, ids=str)


def test_every_block_names_a_language_that_is_run_here() -> None:
    known = {
        ("sh", ""),
        ("sh", "run: until ready"),
        ("sh", "run: a shell for each line"),
        *((name, "") for name in ("haproxy", "html", "ini", "js", "json", "lua", "nginx")),
        *((name, "") for name in ("ngircd", "python", "stomp")),
    }
    strange = [
        str(block)
        for block in BLOCKS
        if block.is_run
        and (block.language, block.note) not in known
        and not block.note.startswith("part of: ")
    ]
    assert strange == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_code_is_in_fences(path: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    assert re.findall(r"(?:\A|\n)\n {4,}\S.*", text) == []


def test_no_block_is_left_out_unnoticed() -> None:
    shown = Counter(block.document for block in BLOCKS if not block.is_run)
    assert dict(shown) == {name: count for name, count in SHOWN.items() if count}


# ---------------------------------------------------------------- without a server


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.note.startswith("part of: ")], ids=str
)
def test_a_part_of_a_file_is_in_that_file(block: Block) -> None:
    path = ROOT / block.note.removeprefix("part of: ")
    assert block.text.strip() in path.read_text(encoding="utf-8")


@those("json")
def test_json_can_be_read(block: Block) -> None:
    json.loads(block.text)


@those("ini")
def test_a_chat_ini_is_taken_by_rtchats_own_reader(block: Block, ini: Path, tmp_path: Path) -> None:
    text = block.text
    # Files that the server needs are elsewhere; everything else is read as it stands.
    certificate = Certificate.for_browsers()
    certificate.write(tmp_path)
    parts = sorted(tmp_path.glob("*.pem"))
    for key, path in re.findall(r"^(crt|key|chain) = (\S+)", text, re.MULTILINE):
        target = tmp_path / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        wanted = "key" if key == "key" else "cert"
        source = next(part for part in parts if wanted in part.name)
        if source != target:
            shutil.copy(source, target)
        text = text.replace(f"{key} = {path}", f"{key} = {target}")
    for name, path in _mounts(text):
        target = tmp_path / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix:
            target.write_text("")
        else:
            target.mkdir(exist_ok=True)
        text = text.replace(f"{name} = {path}", f"{name} = {target}")
    text = text.replace("user = www-data", "user = nobody")
    settings = read(ini, text if "[listen]" in text else LISTEN + text)
    assert settings.of(ListenersPart).listeners


def _mounts(text: str) -> list[tuple[str, str]]:
    section = re.search(r"^\[static\]\n((?:(?!\[).*\n)*)", text, re.MULTILINE)
    return re.findall(r"^(\S+) = (\S+)", section[1], re.MULTILINE) if section else []


@pytest.fixture
def ini(tmp_path: Path) -> Path:
    return tmp_path / "chat.ini"


@those("nginx")
def test_nginx_takes_its_part(block: Block, tmp_path: Path) -> None:
    certificate = Certificate.for_browsers()
    certificate.write(tmp_path)
    text = block.text.replace("/etc/ssl/chat.pem", str(tmp_path / "cert.pem"))
    text = text.replace("/etc/ssl/chat.key", str(tmp_path / "key.pem"))
    conf = tmp_path / "nginx.conf"
    conf.write_text(f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{text}\n}}\n")
    command = [require("nginx"), "-t", "-c", str(conf), "-e", str(tmp_path / "log"), "-p"]
    finished([*command, str(tmp_path)], tmp_path)


@those("haproxy")
def test_haproxy_takes_its_part(block: Block, tmp_path: Path) -> None:
    certificate = Certificate.for_browsers()
    certificate.write(tmp_path)
    both = (tmp_path / "cert.pem").read_text() + (tmp_path / "key.pem").read_text()
    (tmp_path / "chat.pem").write_text(both)
    text = block.text.replace("/etc/haproxy/", f"{tmp_path}/")
    # Debian's file has these before it.
    defaults = "defaults\n  timeout connect 5s\n  timeout client 50s\n  timeout server 50s\n"
    conf = tmp_path / "haproxy.cfg"
    conf.write_text(defaults + text)
    finished([require("haproxy"), "-c", "-f", str(conf)], tmp_path)


@those("ngircd")
def test_ngircd_takes_its_part(block: Block, tmp_path: Path) -> None:
    conf = tmp_path / "ngircd.conf"
    conf.write_text(block.text)
    said = finished([require("ngircd"), "-t", "-f", str(conf)], tmp_path)
    assert "irc.example.com" in said


@those("lua")
def test_lua_can_be_read(block: Block, tmp_path: Path) -> None:
    (tmp_path / "part.lua").write_text(block.text)
    finished([require("lua"), "-e", "assert(loadfile('part.lua'))"], tmp_path)


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language == "sh" and not block.is_run], ids=str
)
def test_a_command_that_is_not_run_can_be_read_by_the_shell(block: Block, tmp_path: Path) -> None:
    finished(["bash", "-n", "-c", block.text], tmp_path)


def finished(command: list[str], folder: Path) -> str:
    """Run a command to its end; return what it said."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_READY_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def _environment() -> dict[str, str]:
    """Return the environment of a shell in which rtchat was installed."""
    variables = environment()
    variables["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{variables['PATH']}"
    return variables


# ---------------------------------------------------------------- servers


class Program:
    """A program that goes on until it is stopped; what it says is gathered."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self._said: list[str] = []
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env={**_environment(), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # The tests may have been started by a shell in the background, which ignores Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._said.append(line)

    @property
    def said(self) -> str:
        return "".join(self._said)

    def until_said(self, text: str) -> None:
        until(f"{text!r}", lambda: text in self.said or self._has_ended(), _READY_S)
        assert text in self.said, self.said

    def enter(self) -> None:
        """Press Enter."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self, number: signal.Signals | None = None) -> int:
        """Wait for its end; with a signal, ask for it first. Return the exit code."""
        if number is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
        code = self.process.wait(_READY_S)
        self._reader.join(_READY_S)
        assert "Traceback" not in self.said, self.said
        return code

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def _has_ended(self) -> bool:
        return self.process.poll() is not None


@pytest.fixture
def run() -> Iterator[Callable[[list[str], Path], Program]]:
    """Return what starts programs; none is left behind."""
    programs: list[Program] = []

    def run(command: list[str], folder: Path) -> Program:
        programs.append(Program(command, folder))
        return programs[-1]

    yield run
    for program in programs:
        program.kill()


Run = Callable[[list[str], Path], Program]


@those("sh", notes="run: until ready")
def test_a_server_comes_up_as_its_line_says(block: Block, tmp_path: Path, run: Run) -> None:
    (tmp_path / "chat.ini").write_text(_own_chat_ini(block) or TUTORIAL)
    # "make run" works in the tree; its environment is the one that the tests use.
    folder = ROOT if "make" in block.text else tmp_path
    text = block.text.replace("CONFIG=chat.ini", f"CONFIG={tmp_path}/chat.ini")
    text = text.replace(" users.txt ", f" {tmp_path}/users.txt ")
    with tutorial_ports():
        program = run(["bash", "-c", text], folder)
        program.until_said("is ready")
        program.end(signal.SIGINT)


def _own_chat_ini(block: Block) -> str:
    """Return the file that the document shows before a block; "" if it shows none."""
    before = [
        other.text
        for other in BLOCKS
        if other.document == block.document
        and other.line < block.line
        and other.text.startswith("# chat.ini\n")
    ]
    return before[-1] if before else ""


# ---------------------------------------------------------------- beside a server


@pytest.fixture(scope="module")
def irc() -> Iterator[list[bytes]]:
    """A server that writes down what it is told; the first item is its port."""
    told: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    client.settimeout(20)
                    with client:
                        told.append(client.recv(1000))
                        client.sendall(b":irc 001 anna :Welcome\r\n")

        threading.Thread(target=serve, daemon=True).start()
        told.append(str(listener.getsockname()[1]).encode())
        yield told


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, irc: list[bytes]) -> Iterator[Server]:
    """A server on the tutorial's ports, which the documents name."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "pages").mkdir()
    stompjs = NODE_MODULES / "@stomp" / "stompjs" / "esm6"
    if not stompjs.is_dir():
        stompjs = folder
    text = _SERVER_INI.format(irc=irc[0].decode(), stompjs=stompjs)
    with tutorial_ports(), Server(folder, text, http=9000, stomp=61613) as server:
        yield server


@pytest.fixture
def talk(server: Server) -> Iterator[Wire]:
    """A person who says something in the room again and again, until the test has heard it."""
    stop = threading.Event()
    with closing(Wire(server.stomp)) as wire:
        wire.connect()

        def say() -> None:
            while not stop.wait(0.3):
                with suppress(OSError):
                    wire.publish("/topic/chat", _MESSAGE)

        thread = threading.Thread(target=say, daemon=True)
        thread.start()
        yield wire
        stop.set()
        thread.join()


@those("sh", notes="run: a shell for each line")
def test_lines_run_beside_each_other(block: Block, server: Server, run: Run) -> None:
    *before, last = block.text.splitlines()
    folder = ROOT
    programs = [run(["bash", "-c", f"exec {line}"], folder) for line in before]
    until("subscriptions", lambda: server.health()["subscriptions"] >= len(before), _READY_S)
    finished(["bash", "-c", last], folder)
    for program in programs:
        program.until_said("all green")
        program.end(signal.SIGINT)


@those("sh")
def test_a_command_runs(block: Block, request: pytest.FixtureRequest) -> None:
    if re.search("^rtchat (?!backup|restore)", block.text, re.MULTILINE):
        request.getfixturevalue("server")
    finished(["bash", "-ec", block.text], ROOT)


def test_the_protocol_page_says_of_compression_what_the_server_does(server: Server) -> None:
    page = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    [row] = re.findall(r"^\| compression \| (.*?) \|", page, re.MULTILINE)
    with connect(f"ws://127.0.0.1:{server.http}/ws", compression="deflate") as client:
        assert [found.name for found in client.protocol.extensions] == ["permessage-deflate"]
    assert "permessage-deflate" in row


@those("stomp")
def test_a_frame_is_taken(block: Block, server: Server) -> None:
    with closing(Wire(server.stomp)) as wire:
        wire.connect()
        wire.send(block.text.rstrip("\n") + "\n\n\0")
        wire.send("SEND\ndestination:/topic/x\nreceipt:after\n\n\0")
        receipts = []
        while "after" not in receipts:
            frame = wire.frame()
            assert frame.command != "ERROR", frame
            if frame.command == "RECEIPT":
                receipts.append(frame.headers["receipt-id"])
        assert receipts == [*re.findall(r"^receipt:(.*)$", block.text, re.MULTILINE), "after"]


def _programs() -> list[list[Block]]:
    """Return the Python blocks; those of one document that go on with each other are together."""
    together: list[list[Block]] = []
    for block in BLOCKS:
        if block.language != "python" or not block.is_run or block.note.startswith("part of: "):
            continue
        goes_on = "import" not in block.text.split("\n\n")[0] and "def test_" not in block.text
        if goes_on and together and together[-1][0].document == block.document:
            together[-1].append(block)
        else:
            together.append([block])
    return together


@pytest.mark.parametrize("blocks", _programs(), ids=lambda blocks: str(blocks[0]))
def test_python_runs(
    blocks: list[Block], server: Server, talk: Wire, tmp_path: Path, run: Run
) -> None:
    text = "\n".join(block.text for block in blocks)
    program_file = tmp_path / "test_example.py"
    port = free_port()
    if "reactor.listenTCP" in text:
        text = text.replace("9000", str(port))
    program_file.write_text(text)
    if "def test_" in text:
        said = finished(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(program_file)],
            tmp_path,
        )
        assert "1 passed" in said
        return
    program = run([sys.executable, str(program_file)], tmp_path)
    if "reactor.run()" in text:
        until("the port", lambda: _is_open(port) or program.process.poll() is not None, _READY_S)
        path = "live" if 'b"live"' in text else ""
        with connect(f"ws://127.0.0.1:{port}/{path}") as client:
            client.send("hello")
            assert client.recv(_READY_S) in ("hello", b"hello")
        program.end(signal.SIGINT)
        return
    if "print(" in text:
        program.until_said(_TEXT)
    if "input(" in text:
        program.enter()
    assert program.end() == 0, program.said


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# ---------------------------------------------------------------- in a browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


@those("html", "js")
@pytest.mark.browser
def test_a_page_works(
    block: Block, server: Server, talk: Wire, irc: list[bytes], page: Page
) -> None:
    text = block.text.replace("6667", irc[0].decode())
    text = text.replace("http://chat.example.org:9000", "")
    if "@stomp/stompjs" in text:
        require_package("@stomp/stompjs")
    if block.language == "js":
        kind = "module" if "import " in text else "text/javascript"
        text = f"{_IMPORT_MAP}\n<script src=/static/stomp.js></script>\n" + (
            f"<script type={kind}>\n{text}</script>"
        )
    (server.folder / "pages" / "example.html").write_text(f"<!doctype html>\n<body>{text}")
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(f"uncaught: {error}"))
    page.goto("http://127.0.0.1:9000/pages/example.html")
    if "embed.js" in text:
        page.frame_locator("iframe").locator("#cover-button").wait_for()
    elif "TCPSocket" in text:
        page.wait_for_event("console", lambda message: "Welcome" in message.text)
        assert irc[-1].startswith(b"NICK anna\r\n")
    else:
        page.wait_for_event("console", lambda message: _TEXT in message.text)
    assert not [line for line in said if line.startswith("uncaught")], said
