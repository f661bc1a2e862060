"""Each connection that is refused, or breaks, leaves one line: who, to where, why."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.certificate import Certificate
from support.process import ROOT, Server, free_port, until
from support.sockets import RealWebSocket
from support.websocket import BINARY, CLOSE, TEXT, upgrade_request, ws_frame

pytestmark = pytest.mark.live

INI = """\
[listen]
http://127.0.0.1:{http}
https://127.0.0.1:{https}
stomp://127.0.0.1:{stomp}

[ssl]
crt = cert.pem
key = key.pem

[access]
self -> 127.0.0.1:{target}
self -> 127.0.0.1:{hanging}
self -> 127.0.0.1:{closed}
self -> unix:app = app.sock
self -> rebound.example:{target}
self -> metadata.example:{target}
self -> nobody.example:{target}

[global]
session.ping_interval = {ping_s}
session.ping_timeout = {ping_s}

[proxy]
handshake.timeout = 0.6
connect.timeout = 0.6
message.max_bytes = 64 KiB
{more}
"""

NAMES = {
    "rebound.example": "127.0.0.1",
    "metadata.example": "169.254.169.254",
}

# Names mean here what the test says; no resolver outside is asked.
RESOLVER = """\
import json, pathlib, socket

names = json.loads(pathlib.Path(__file__).with_name("names.json").read_text())
asked = socket.getaddrinfo

def getaddrinfo(host, port, *args, **kwargs):
    if isinstance(host, str) and host.endswith(".example"):
        if host not in names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        host = names[host]
    return asked(host, port, *args, **kwargs)

socket.getaddrinfo = getaddrinfo
"""

LINE = re.compile(r"\S+ \[[^\]]*\] (?P<text>.*)")


class Place:
    """A server, what is behind it, and what it says.

    Each client has a port that none had before: by these the lines are told apart.
    """

    def __init__(self, folder: Path, more: str = "", ping_s: float = 0) -> None:
        self.folder = folder
        self.stack = contextlib.ExitStack()
        self.target = self.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.target.settimeout(10)
        self.ports = {
            "target": self.target.getsockname()[1],
            "hanging": self._hanging(),
            **{name: free_port() for name in ("http", "https", "stomp", "closed")},
        }
        Certificate.make().write(folder)
        (folder / "sitecustomize.py").write_text(RESOLVER)
        (folder / "names.json").write_text(json.dumps(NAMES))
        self.server = Server(
            folder,
            INI.format(**self.ports, ping_s=ping_s, more=more),
            http=self.ports["http"],
            stomp=self.ports["stomp"],
            prefix=["env", f"PYTHONPATH={folder}:{ROOT}"],
        ).start()
        self._begin = len(self.server.log())

    def _hanging(self) -> int:
        """Open a port whose queue is full: a client that connects gets no answer."""
        listener = self.stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port: int = listener.getsockname()[1]
        for _ in range(4):
            waiting = self.stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        return port

    def lines(self) -> list[str]:
        """Return what it said since it was ready, without time and place in the code."""
        lines = self.server.log()[self._begin :].splitlines()
        return [match["text"] if (match := LINE.match(line)) else line for line in lines]

    def lines_about(self, port: int) -> list[str]:
        """Return the lines that name a client's port."""
        return [line for line in self.lines() if re.search(rf":{port}\b", line)]

    def expect(self, port: int, *words: str) -> None:
        """Wait for the line about the client with a port; it is the only one, and has the words."""
        until("line", lambda: self.lines_about(port), details=self.server.log)
        time.sleep(0.05)
        (line,) = self.lines_about(port)
        assert re.match(rf"127\.0\.0\.\d:{port}\b", line), line
        for word in words:
            assert word.format(**self.ports) in line, line

    def connect(self, scheme: str = "http", source: str = "") -> socket.socket:
        """Connect, and say nothing."""
        where = ("127.0.0.1", self.ports[scheme])
        client = socket.create_connection(where, 10, (source, free_port()))
        self.stack.enter_context(client)
        return client

    def browser(self, path: str = "/tcp/127.0.0.1:{target}", **options: object) -> RealWebSocket:
        """Open a WebSocket."""
        path = path.format(**self.ports)
        options["source_port"] = free_port()
        return self.stack.enter_context(RealWebSocket(self.ports["http"], path, **options))  # type: ignore[arg-type]

    def pair(self) -> tuple[RealWebSocket, socket.socket]:
        """Open one, and give the target's end, too."""
        browser = self.browser()
        target, _ = self.target.accept()
        self.stack.enter_context(target)
        target.settimeout(10)
        return browser, target

    def close(self) -> None:
        """End it; no connection may have left a second line in the meantime."""
        self.stack.close()
        self.server.close()
        clients = [line.split(" ")[0].rstrip(":") for line in self.lines()]
        clients = [client for client in clients if client.startswith("127.0.0.")]
        assert len(clients) == len(set(clients)), self.server.log()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("log"))
    yield place
    place.close()


def read_all(client: socket.socket) -> bytes:
    """Read until the server closes."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while read := client.recv(65536):
            data += read
    return data


def reset(client: socket.socket) -> None:
    """Vanish: the other side gets a RST."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


# ---------------------------------------------------------------- refused before the upgrade

TO_TARGET = "/tcp/127.0.0.1:{target}"

# What differs from a handshake that is in order; what stands in the line.
REQUESTS: Mapping[str, tuple[str, dict[str, Any], int, tuple[str, ...]]] = {
    "another page": (
        TO_TARGET,
        {"origin": "http://evil.example"},
        403,
        (TO_TARGET, "Origin 'http://evil.example'", "no rule lets this source reach it"),
    ),
    "another target": (
        "/tcp/127.0.0.1:1",
        {},
        403,
        ("/tcp/127.0.0.1:1", "no rule names this target"),
    ),
    "no target": ("/tcp/nothing", {}, 403, ("/tcp/nothing", "")),
    "not HOST:PORT": ("/tcp/a:b:c", {}, 403, ("/tcp/a:b:c", "not HOST:PORT")),
    "a decimal address": ("/tcp/2130706433:{target}", {}, 403, ("/tcp/2130706433:{target}", "not")),
    "an octal address": ("/tcp/0177.0.0.1:{target}", {}, 403, ("/tcp/0177.0.0.1:{target}", "not")),
    "an IPv4-mapped address": (
        "/tcp/[::ffff:127.0.0.1]:{target}",
        {},
        403,
        ("/tcp/[::ffff:127.0.0.1]:{target}", "no rule names this target"),
    ),
    "a user name": ("/tcp/a@127.0.0.1:{target}", {}, 403, ("/tcp/a@127.0.0.1:{target}", "not")),
    "an encoded slash": (
        "/tcp/127.0.0.1:{target}%2f",
        {},
        403,
        ("/tcp/127.0.0.1:{target}%2f", "not"),
    ),
    "another path": ("/ws", {"origin": "http://evil.example"}, 403, ("/ws", "evil.example")),
    "no Upgrade": (TO_TARGET, {"upgrade": None}, 426, (TO_TARGET, "no WebSocket handshake")),
    "another Upgrade": (TO_TARGET, {"upgrade": "h2c"}, 426, (TO_TARGET, "no WebSocket handshake")),
    "no Connection": (TO_TARGET, {"connection": None}, 400, (TO_TARGET, "Connection: Upgrade")),
    "another version": (
        TO_TARGET,
        {"sec_websocket_version": "8"},
        426,
        (TO_TARGET, "version 13"),
    ),
    "no key": (TO_TARGET, {"sec_websocket_key": None}, 400, (TO_TARGET, "Sec-WebSocket-Key")),
    "broken extensions": (
        TO_TARGET,
        {"sec_websocket_extensions": ";;"},
        400,
        (TO_TARGET, "Sec-WebSocket-Extensions"),
    ),
    "another Host": (TO_TARGET, {"host": "evil.example"}, 421, (TO_TARGET, "Host 'evil.example'")),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_that_is_refused(place: Place, name: str) -> None:
    path, headers, status, words = REQUESTS[name]
    client = place.connect()
    client.sendall(upgrade_request(path.format(**place.ports), **headers))
    assert client.recv(1000).startswith(f"HTTP/1.1 {status} ".encode())
    place.expect(client.getsockname()[1], ": refused ", *words)


HEAD = b"GET /tcp/127.0.0.1:%(target)d?secret=1 HTTP/1.1\r\nHost: localhost\r\n"
ASKED = "/tcp/127.0.0.1:{target}:"

NO_HTTP: Mapping[str, tuple[bytes, int, tuple[str, ...]]] = {
    "bytes beyond ASCII": (
        b"GET /tcp/\xef\xbc\x91.0.0.1:80?secret=1 HTTP/1.1\r\n\r\n",
        400,
        ("/tcp/\\xef\\xbc\\x91", "does not begin as HTTP does"),
    ),
    "two words": (b"GET /tcp/a:1\r\n\r\n", 400, ("GET /tcp/a:1", "does not begin as HTTP does")),
    "STOMP": (b"CONNECT\naccept-version:1.2\n\n\0\r\n", 400, ("CONNECT", "does not begin")),
    "a header without a colon": (HEAD + b"X\r\n\r\n", 400, (ASKED, "its head is not HTTP")),
    "a header that has no name": (HEAD + b": x\r\n\r\n", 400, (ASKED, "its head is not HTTP")),
    "a NUL in a header": (HEAD + b"X: \0\r\n\r\n", 400, (ASKED, "its head is not HTTP")),
    "too many headers": (
        HEAD + b"a: b\r\n" * 101 + b"\r\n",
        400,
        (ASKED, "its head has more than 100 lines"),
    ),
    "a large head": (
        HEAD + b"a: %s\r\n" % (b"b" * 1000) * 17 + b"\r\n",
        400,
        (ASKED, "its head is larger than 16384 bytes"),
    ),
    "a header without an end": (
        HEAD + b"a: " + b"b" * 17_000,
        400,
        (ASKED, "its head is larger than 16384 bytes"),
    ),
    "a line without an end": (b"a" * 17_000, 400, ("its head is larger than 16384 bytes",)),
    "a large body": (
        HEAD + b"Content-Length: 65537\r\n\r\n",
        413,
        (ASKED, "its body is larger than 65536 bytes"),
    ),
    "a large body in chunks": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n10001\r\n" + b"x" * 65537,
        413,
        (ASKED, "its body is larger than 65536 bytes"),
    ),
    "two lengths": (
        HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
        (ASKED, "its head is not HTTP"),
    ),
}


@pytest.mark.parametrize("name", NO_HTTP)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_what_is_no_http(place: Place, name: str, scheme: str) -> None:
    data, status, words = NO_HTTP[name]
    client = place.connect(scheme)
    if scheme == "https":
        client = trusting().wrap_socket(client)
    if b"%(target)d" in data:
        data = data.replace(b"%(target)d", str(place.ports["target"]).encode())
    client.sendall(data)
    assert read_all(client).startswith(f"HTTP/1.1 {status} ".encode())
    port = client.getsockname()[1]
    client.close()
    place.expect(port, ": refused", *words)
    # What stands behind the path may be a secret.
    assert "secret" not in place.server.log()


def test_a_request_that_takes_too_long(place: Place) -> None:
    client = place.connect()
    client.sendall(HEAD % {b"target": place.ports["target"]})
    assert read_all(client) == b""
    place.expect(client.getsockname()[1], f": refused {ASKED} no complete request within 0.6 s")


@pytest.mark.parametrize("leave", [socket.socket.close, reset], ids=["FIN", "RST"])
def test_a_request_that_breaks_off(place: Place, leave: Callable[[socket.socket], None]) -> None:
    client = place.connect()
    port = client.getsockname()[1]
    client.sendall(HEAD % {b"target": place.ports["target"]})
    time.sleep(0.1)
    leave(client)
    place.expect(port, f": broke off {ASKED} its request was incomplete (Connection ")


@pytest.mark.parametrize("leave", [socket.socket.close, reset], ids=["FIN", "RST"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_whoever_looks_whether_the_port_is_open_leaves_none(
    place: Place, leave: Callable[[socket.socket], None], scheme: str
) -> None:
    before = place.lines()
    leave(place.connect(scheme))
    place.server.health()
    assert place.lines() == before


def test_a_browser_that_keeps_its_connection_and_goes_leaves_none(place: Place) -> None:
    before = place.lines()
    client = place.connect()
    client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
    client.close()
    place.server.health()
    assert place.lines() == before


# ---------------------------------------------------------------- TLS


def trusting() -> ssl.SSLContext:
    """Return what takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def test_plain_http_on_a_port_with_tls(place: Place) -> None:
    client = place.connect("https")
    client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    read_all(client)
    place.expect(client.getsockname()[1], ": refused: the TLS handshake failed (http request)")


def test_noise_on_a_port_with_tls(place: Place) -> None:
    client = place.connect("https")
    client.sendall(bytes(range(256)))
    read_all(client)
    place.expect(
        client.getsockname()[1], ": refused: the TLS handshake failed (wrong version number)"
    )


def test_a_version_of_tls_that_is_too_old(place: Place) -> None:
    client = place.connect("https")
    port = client.getsockname()[1]
    context = trusting()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        context.wrap_socket(client)
    place.expect(port, ": refused: the TLS handshake failed (unsupported protocol)")


def shake_hands(client: socket.socket, context: ssl.SSLContext) -> None:
    """Begin TLS. The socket stays open after an error, so that the server sees the alert.

    One that is closed while it has something to read resets the connection.
    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
                return
            client.sendall(outgoing.read())
            incoming.write(client.recv(65536))
    finally:
        client.sendall(outgoing.read())


def test_a_client_that_does_not_trust_the_certificate(place: Place) -> None:
    client = place.connect("https")
    port = client.getsockname()[1]
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(client, ssl.create_default_context())
    place.expect(port, ": refused: the TLS handshake failed (tlsv1 alert unknown ca)")


def test_a_handshake_of_tls_that_breaks_off(place: Place) -> None:
    client = place.connect("https")
    port = client.getsockname()[1]
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        hello.do_handshake()
    client.sendall(outgoing.read())
    client.recv(100)
    client.close()
    place.expect(port, ": broke off: during the TLS handshake (Connection ")


def test_a_connection_with_tls_that_is_not_used_leaves_none(place: Place) -> None:
    before = place.lines()
    trusting().wrap_socket(place.connect("https")).close()
    place.server.health()
    assert place.lines() == before


# ---------------------------------------------------------------- refused after the upgrade


@pytest.mark.parametrize(
    "path, words",
    [
        (
            "/tcp/127.0.0.1:{closed}",
            ("-> 127.0.0.1:{closed}: cannot connect: Connection was refused",),
        ),
        (
            "/tcp/127.0.0.1:{hanging}",
            ("-> 127.0.0.1:{hanging}: cannot connect: no connection within 0.6 s",),
        ),
        ("/tcp/unix:app", ("-> unix:app: cannot connect: ",)),
        (
            "/tcp/rebound.example:{target}",
            ("-> rebound.example:{target}: refused: ", "127.0.0.1, which is this machine itself"),
        ),
        (
            "/tcp/metadata.example:{target}",
            ("-> metadata.example:{target}: refused: ", "169.254.169.254, which is "),
        ),
        (
            "/tcp/nobody.example:{target}",
            ("-> nobody.example:{target}: cannot connect: DNS lookup failed",),
        ),
    ],
    ids=["closed", "no answer", "no socket", "rebound", "metadata", "no address"],
)
@pytest.mark.parametrize(
    "what_follows", [ws_frame(CLOSE), b"\xff" * 10], ids=["an answer", "noise"]
)
def test_a_target_that_is_not_reached(
    place: Place, path: str, words: tuple[str, ...], what_follows: bytes
) -> None:
    host = f"localhost:{place.ports['http']}"
    browser = place.browser(path, origin=f"http://{host}", host=host)
    frame = browser.read()
    assert (frame.opcode, frame.code, frame.reason) == (CLOSE, 1011, "target unreachable")
    # What the browser does then is no second event.
    browser.socket.sendall(what_follows)
    assert read_all(browser.socket) == b""
    place.expect(browser.socket.getsockname()[1], f" (http://{host}) ", *words)


def test_a_browser_that_does_not_wait_for_the_target(place: Place) -> None:
    browser = place.browser("/tcp/127.0.0.1:{hanging}")
    port = browser.socket.getsockname()[1]
    # It is not listened to until the target is there, so what is told is the target's fault.
    browser.socket.close()
    place.expect(port, "-> 127.0.0.1:{hanging}: cannot connect: no connection within 0.6 s")


def test_caps(tmp_path: Path) -> None:
    caps = {"total": 3, "per_target": 2, "per_source": 1}
    more = "".join(f"connections.{name} = {value}\n" for name, value in caps.items())
    with contextlib.closing(Place(tmp_path, more)) as place:
        other = place.stack.enter_context(socket.socket(socket.AF_UNIX))
        other.bind(str(tmp_path / "app.sock"))
        other.listen()
        for source, path, refused in (
            ("127.0.0.2", TO_TARGET, None),
            ("127.0.0.2", TO_TARGET, (1008, "per_source = 1")),
            ("127.0.0.3", TO_TARGET, None),
            ("127.0.0.4", TO_TARGET, (1013, "per_target = 2")),
            ("127.0.0.4", "/tcp/unix:app", None),
            ("127.0.0.5", "/tcp/unix:app", (1013, "total = 3")),
        ):
            browser = place.browser(path, source=source)
            port = browser.socket.getsockname()[1]
            if refused is None:
                until("connection", lambda: place.server.health()["proxied_websockets"])
                continue
            code, limit = refused
            assert browser.read().code == code
            browser.socket.sendall(ws_frame(CLOSE))
            way = path.removeprefix("/tcp/")
            place.expect(port, f"-> {way}: refused: [proxy] connections.{limit} is reached")


HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_http_connections_over_their_limits(tmp_path: Path) -> None:
    more = "http.connections.total = 3\nhttp.connections.per_source = 2\n"
    with contextlib.closing(Place(tmp_path, more)) as place:

        def is_served(scheme: str, source: str) -> bool:
            try:
                client = place.connect(scheme, source)
                client = trusting().wrap_socket(client) if scheme == "https" else client
                place.stack.enter_context(client)
                client.sendall(HEALTH)
                kept.append(client)
                return client.recv(1000).startswith(b"HTTP/1.1 200 ")
            except OSError:
                return False

        kept: list[socket.socket] = []
        assert is_served("http", "127.0.0.2")
        assert is_served("https", "127.0.0.2")
        assert not is_served("http", "127.0.0.2")
        assert not is_served("https", "127.0.0.2")
        assert is_served("https", "127.0.0.3")
        assert not is_served("http", "127.0.0.4")
        # For each source what begins a minute, in which its others share one line.
        lines = place.lines()
        assert [re.sub(r":\d+:", ":", line) for line in lines] == [
            "127.0.0.2: refused: [proxy] http.connections.per_source = 2 is reached; raise it, or "
            "if this is a front proxy, name it in [front] trusted",
            "127.0.0.4: refused: [proxy] http.connections.total = 3 is reached; raise it",
        ]
        # A WebSocket makes room for another.
        kept[0].sendall(upgrade_request(TO_TARGET.format(**place.ports)))
        assert kept[0].recv(1000).startswith(b"HTTP/1.1 101 ")
        assert is_served("http", "127.0.0.2")
        kept[0].sendall(ws_frame(CLOSE))
        assert kept[0].recv(1000)[:1] == b"\x88"


# ---------------------------------------------------------------- broken connections

WAY = " (no Origin) -> 127.0.0.1:{target}: "


def test_a_target_that_breaks_off(place: Place) -> None:
    browser, target = place.pair()
    target.sendall(b"half of ")
    assert browser.read().payload == b"half of "
    reset(target)
    assert browser.read().code == 1000
    browser.socket.sendall(ws_frame(CLOSE))
    place.expect(browser.socket.getsockname()[1], WAY, "target broke off: Connection ")


@pytest.mark.parametrize("leave", [socket.socket.close, reset], ids=["FIN", "RST"])
def test_a_browser_that_vanishes(place: Place, leave: Callable[[socket.socket], None]) -> None:
    browser, target = place.pair()
    port = browser.socket.getsockname()[1]
    browser.send(BINARY, b"half of ")
    assert target.recv(100) == b"half of "
    leave(browser.socket)
    assert target.recv(100) == b""
    target.close()
    place.expect(port, WAY, "browser broke off: no close frame (Connection ")


@pytest.mark.parametrize(
    "data, code, error",
    [
        (ws_frame(BINARY, b"x", is_masked=False), 1002, "frame is not masked"),
        (ws_frame(BINARY, b"x", reserved=4), 1002, "reserved bits are set"),
        (ws_frame(3, b"x"), 1002, "invalid opcode 3"),
        (ws_frame(TEXT, b"\xff"), 1007, "text message is not UTF-8"),
        (ws_frame(BINARY, bytes(65537)), 1009, "message is larger than 65536 bytes"),
        (ws_frame(CLOSE, b"\0\0"), 1002, "invalid close code 0"),
    ],
)
def test_a_browser_that_breaks_the_rules(place: Place, data: bytes, code: int, error: str) -> None:
    browser, target = place.pair()
    browser.socket.sendall(data)
    assert browser.read().code == code
    port = browser.socket.getsockname()[1]
    browser.socket.close()
    assert target.recv(100) == b""
    target.close()
    place.expect(port, WAY, f"broken WebSocket: {error}")


def test_good_ends_leave_none(place: Place) -> None:
    before = place.lines()
    for browser, target in (place.pair(), place.pair()):
        browser.socket.sendall(ws_frame(CLOSE))
        assert browser.read().opcode == CLOSE
        assert target.recv(100) == b""
        target.close()
    browser, target = place.pair()
    target.close()
    assert browser.read().code == 1000
    browser.socket.sendall(ws_frame(CLOSE))
    assert read_all(browser.socket) == b""
    place.server.until_empty()
    assert place.lines() == before


def test_silence(tmp_path: Path) -> None:
    with contextlib.closing(Place(tmp_path, "idle.timeout = 1.5", ping_s=0.4)) as place:
        dead, _ = place.pair()
        idle, target = place.pair()
        # This one answers pings, and says nothing else.
        assert idle.read().code == 1001
        idle.socket.sendall(ws_frame(CLOSE))
        assert target.recv(100) == b""
        place.expect(
            idle.socket.getsockname()[1], WAY, "idle: no byte in either direction for 1.5 s"
        )
        # This one does not even do that.
        place.expect(
            dead.socket.getsockname()[1], WAY, "no answer to a WebSocket ping within 0.4 s"
        )
