"""WebSockets as a real browser sees them: frames, fragments, compression and close codes.

Everything in the clear and over TLS. What a browser would never send is in
test_websocket_tls.py; messages of all sizes are in test_echo.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from support.process import Server, free_port, until
from support.relay import Relay, relay
from support.services import echo_server
from support.websocket import WsFrame

pytestmark = [pytest.mark.live, pytest.mark.browser]

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

_INI = """
[listen]
http://127.0.0.1:{http}
stomp://127.0.0.1:{stomp}
[access]
* -> localhost:{stomp}
* -> localhost:{echo}
* -> localhost:{nobody}
[global]
session.ping_interval = 0.1
[proxy]
message.max_bytes = 4 MiB
connections.per_target = 3
connections.per_source = 4
"""

_SCRIPT = """() => {
  window.sockets = [];
  window.connect = async (url, protocols) => {
    const socket = new WebSocket(url, protocols);
    socket.binaryType = "arraybuffer";
    socket.came = [];
    socket.onmessage = ({ data }) => { socket.came.push(data); socket.changed?.(); };
    socket.next = async () => {
      while (!socket.came.length) await new Promise((resolve) => { socket.changed = resolve; });
      return socket.came.shift();
    };
    socket.gone = new Promise((resolve) => {
      socket.onclose = ({ code, reason, wasClean }) => resolve([code, reason, wasClean]);
    });
    await new Promise((resolve, reject) => { socket.onopen = resolve; socket.onerror = reject; });
    return sockets.push(socket) - 1;
  };
  window.echo = async (socket, size) => {
    const data = new Uint8Array(size);
    for (let at = 0; at < size; at += 65536) {
      crypto.getRandomValues(data.subarray(at, Math.min(at + 65536, size)));
    }
    socket.send(data);
    let at = 0;
    while (at < size) {
      const piece = new Uint8Array(await socket.next());
      if (piece.some((byte, offset) => byte !== data[at + offset])) return `differs at ${at}`;
      at += piece.length;
    }
    return at;
  };
}"""


@dataclass
class Gateway:
    """A server, and what its page may reach."""

    server: Server
    echo: int
    nobody: int

    def path(self, port: int) -> str:
        """Return the way to a target."""
        return f"tcp/localhost:{port}"


class Socket:
    """A WebSocket in a page, once it is open."""

    def __init__(self, page: Page, url: str, *protocols: str) -> None:
        self._page = page
        self._number = page.evaluate("([url, names]) => connect(url, names)", [url, protocols])

    def do(self, script: str, argument: object = None) -> Any:
        """Evaluate a function of the socket and an argument."""
        return self._page.evaluate(
            f"([number, argument]) => ({script})(sockets[number], argument)",
            [self._number, argument],
        )

    def send(self, text: str) -> None:
        """Send a text message."""
        self.do("(socket, text) => socket.send(text)", text)

    def read(self) -> str:
        """Wait for the next message, which has to be a text message."""
        text = self.do("(socket) => socket.next()")
        assert isinstance(text, str)
        return text

    def echo(self, size: int) -> None:
        """Send random bytes and see all of them come back, in whatever binary messages."""
        assert self.do("echo", size) == size

    def close(self, *code_and_reason: object) -> tuple[int, str, bool]:
        """Close, and wait for the end."""
        self.do("(socket, words) => socket.close(...words)", code_and_reason)
        return self.closed()

    def closed(self) -> tuple[int, str, bool]:
        """Wait for the end; give code, reason and whether it was a clean one."""
        code, reason, was_clean = self.do("(socket) => socket.gone")
        return code, reason, was_clean


@pytest.fixture(scope="module", params=["ws", "wss"])
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    with echo_server() as echo:
        http, stomp, nobody = (free_port() for _ in range(3))
        text = _INI.format(http=http, stomp=stomp, echo=echo, nobody=nobody)
        folder = tmp_path_factory.mktemp("gateway")
        server = Server(folder, text, http=http, stomp=stomp, is_tls=request.param == "wss")
        try:
            yield Gateway(server.start(), echo, nobody)
        finally:
            server.close()


@pytest.fixture
def connect(gateway: Gateway, browser: Browser) -> Iterator[Callable[..., Socket]]:
    """Connect to a path of the gateway's, or to an address, from one page."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(15_000)
    page.evaluate(_SCRIPT)
    yield lambda path, *protocols: Socket(
        page, path if "://" in path else gateway.server.websocket_url + path, *protocols
    )
    context.close()
    gateway.server.until_empty()


@pytest.fixture
def watched(gateway: Gateway) -> Iterator[tuple[str, Relay]]:
    """Return the address of a relay to the gateway, and what goes through it."""
    with relay(gateway.server.http, gateway.server.certificate) as found:
        scheme = gateway.server.websocket_url.partition(":")[0]
        yield f"{scheme}://localhost:{found.port}/", found


def opcodes(frames: list[WsFrame]) -> set[int]:
    return {frame.opcode for frame in frames}


# ---------------------------------------------------------------- frames


def test_every_kind_of_frame_goes_both_ways(
    gateway: Gateway, connect: Callable[..., Socket], watched: tuple[str, Relay]
) -> None:
    url, through = watched
    path = url + gateway.path(gateway.echo)
    socket = connect(path)
    socket.send("Grüße, 世界 🌍")
    assert socket.read() == "Grüße, 世界 🌍"
    # Half a character is not UTF-8: a browser sends what stands for such a thing.
    socket.do(r"(socket) => socket.send('half: \ud83c')")
    assert socket.read() == "half: \ufffd"
    until("pong", lambda: PONG in opcodes(through.frames()))
    assert socket.close(4001, "zurück") == (4001, "zurück", True)
    frames, answers = through.frames(), through.frames(of_server=True)
    assert opcodes(frames) == {TEXT, PONG, CLOSE}
    assert opcodes(answers) == {TEXT, PING, CLOSE}
    assert all(frame.is_masked for frame in frames)
    assert not any(frame.is_masked for frame in answers)

    socket = connect(path)
    socket.echo(1000)
    assert socket.close(1000) == (1000, "", True)
    assert {TEXT, BINARY} & opcodes(through.frames()) == {BINARY}
    assert {TEXT, BINARY} & opcodes(through.frames(of_server=True)) == {BINARY}


def test_a_large_message_comes_in_fragments_with_pongs_between_them(
    gateway: Gateway, connect: Callable[..., Socket], watched: tuple[str, Relay]
) -> None:
    url, through = watched
    socket = connect(url + gateway.path(gateway.echo))
    for _ in range(20):
        socket.echo(3 * 1024 * 1024)
        frames = through.frames()
        first = next(frame for frame in frames if frame.opcode == BINARY)
        assert not first.is_final, "this browser sends large messages in one frame"
        # A pong may only come after the last fragment; then the next message is looked at.
        if (PONG, CONT) in itertools.pairwise(frame.opcode for frame in frames):
            break
    else:
        pytest.fail("a ping was never answered in the middle of a message")
    socket.close()


def test_the_broker_s_messages_are_compressed_both_ways(
    gateway: Gateway, connect: Callable[..., Socket], watched: tuple[str, Relay]
) -> None:
    url, through = watched
    socket = connect(f"{url}ws", "v11.stomp", "v12.stomp", "else")
    assert socket.do("(socket) => socket.protocol") == "v12.stomp"
    assert socket.do("(socket) => socket.extensions").startswith("permessage-deflate")
    socket.send("CONNECT\naccept-version:1.2\nhost:x\n\n\0")
    assert socket.read().startswith("CONNECTED\n")
    socket.send("SUBSCRIBE\nid:s\ndestination:/topic/x\n\n\0")
    body = "Grüße! " * 10_000
    socket.send(f"SEND\ndestination:/topic/x\n\n{body}\0")
    assert socket.read().partition("\n\n")[2] == f"{body}\0\n"
    for frames in (through.frames(), through.frames(of_server=True)):
        messages = [frame for frame in frames if frame.opcode == TEXT]
        assert messages[-1].is_compressed
        assert len(messages[-1].payload) < 1000
    assert not any(
        frame.is_compressed for frame in through.frames(of_server=True) if frame.opcode != TEXT
    )
    socket.close()


# ---------------------------------------------------------------- close codes


@pytest.mark.parametrize(
    "code, reason", [(1000, ""), (3000, "back soon"), (4999, "ü" * 61)], ids=[1000, 3000, 4999]
)
def test_the_browser_s_code_and_reason_come_back(
    gateway: Gateway, connect: Callable[..., Socket], code: int, reason: str
) -> None:
    socket = connect("ws")
    assert socket.close(code, reason) == (code, reason, True)


def test_a_close_without_a_code_has_none_in_return(connect: Callable[..., Socket]) -> None:
    socket = connect("ws")
    assert socket.close() == (1005, "", True)


def test_a_client_that_is_done_is_closed_with_1000(connect: Callable[..., Socket]) -> None:
    socket = connect("ws", "v12.stomp")
    socket.send("CONNECT\naccept-version:1.2\nhost:x\n\n\0DISCONNECT\nreceipt:bye\n\n\0")
    assert socket.closed() == (1000, "disconnected", True)


def test_bad_stomp_is_closed_with_1007(connect: Callable[..., Socket]) -> None:
    socket = connect("ws")
    socket.send("HELLO\n\n\0")
    assert socket.closed() == (1007, "unknown command", True)


def test_a_target_that_is_not_there_is_closed_with_1011(
    gateway: Gateway, connect: Callable[..., Socket]
) -> None:
    socket = connect(gateway.path(gateway.nobody))
    assert socket.closed() == (1011, "target unreachable", True)


def test_who_is_too_many_is_told_whether_to_try_later(
    gateway: Gateway, connect: Callable[..., Socket]
) -> None:
    echo, stomp = gateway.path(gateway.echo), gateway.path(gateway.server.stomp)
    sockets = [connect(path) for path in (echo, echo, echo)]
    for socket in sockets:
        socket.echo(1)
    assert connect(echo).closed()[0] == 1013
    sockets.append(connect(stomp))
    sockets[-1].send("CONNECT\naccept-version:1.2\nhost:x\n\n\0")
    sockets[-1].do("(socket) => socket.next()")
    assert connect(stomp).closed()[0] == 1008
    for socket in sockets:
        socket.close()


def test_a_message_that_is_too_large_is_refused_while_it_is_sent(
    gateway: Gateway, connect: Callable[..., Socket]
) -> None:
    socket = connect(gateway.path(gateway.echo))
    socket.do("(socket) => socket.send(new Uint8Array(10 * 1024 * 1024))")
    # A browser calls it unclean when it has not sent all it wanted to.
    code, reason, _ = socket.closed()
    assert (code, reason) == (1009, "message is larger than 4194304 bytes")


def test_a_server_that_stops_says_1012(gateway: Gateway, connect: Callable[..., Socket]) -> None:
    sockets = [connect("ws"), connect(gateway.path(gateway.echo))]
    gateway.server.stop()
    try:
        for socket in sockets:
            assert socket.closed() == (1012, "server shutting down", True)
    finally:
        gateway.server.start()
