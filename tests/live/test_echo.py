"""examples/echo.py and the WebSocket clients of other people, in the clear and over TLS."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser
from support.certificate import write_certificate as write_certificate
from support.echo import Echo
from support.examples import IS_SOAK
from support.needs import require, require_package
from support.process import ROOT, environment
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

pytestmark = [pytest.mark.live]

_MAX_BYTES = 1 << 24
_SIZES = [0, 1, 64, 125, 126, 127, 65_535, 65_536, 1 << 20, *([_MAX_BYTES] if IS_SOAK else [])]
_TIMEOUT_S = 60


@pytest.fixture(scope="module", params=["ws", "wss"])
def echo(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Echo]:
    """Start it, in the clear and with TLS."""
    folder = tmp_path_factory.mktemp("tls") if request.param == "wss" else None
    server = Echo(folder)
    assert server.url.startswith(f"{request.param}://")
    yield server
    try:
        # Whatever the clients did, it has nothing to complain about and ends in order.
        assert server.stop() == (0, "")
    finally:
        server.close()


def python_client(echo: Echo, **options: Any) -> ClientConnection:
    """Connect with the client of websockets."""
    if echo.certificate is not None:
        options["ssl"] = echo.certificate.trusted()
    client: ClientConnection = connect(echo.url, max_size=None, **options)
    return client


@pytest.mark.parametrize("mode", ["deflate", "plain"])
def test_ws_gets_back_what_it_sends(echo: Echo, mode: str) -> None:
    require_package("ws")
    script = Path(__file__).with_name("ws_client.mjs")
    done = subprocess.run(
        [require("node"), str(script), echo.url, mode, *map(str, _SIZES)],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert result["echoes"] == 2 * len(_SIZES)
    assert result["pongs"] >= 1
    assert (result["code"], result["reason"]) == (4001, "done")
    assert result["extensions"] == ("permessage-deflate" if mode == "deflate" else "")


@pytest.mark.parametrize("compression", ["deflate", None])
def test_websockets_gets_back_what_it_sends(echo: Echo, compression: str | None) -> None:
    dice = random.Random(5)
    with python_client(echo, compression=compression) as client:
        assert bool(client.protocol.extensions) == (compression == "deflate")
        for size in _SIZES:
            half = dice.randbytes(size // 2)
            data = half + bytes(size - len(half))
            cuts = sorted(dice.randrange(size + 1) for _ in range(3))
            bounds = [0, *cuts, size]
            client.send(data[start:end] for start, end in itertools.pairwise(bounds))
            echoed = client.recv(_TIMEOUT_S)
            assert isinstance(echoed, bytes)
            assert hashlib.sha256(echoed).digest() == hashlib.sha256(data).digest()
            text = "".join(dice.choices("aäß世🌍\n", k=size // 4))
            client.send(text)
            assert client.recv(_TIMEOUT_S) == text
        assert client.ping().wait(_TIMEOUT_S)
        client.close(4000, "that is all")
        assert client.close_code == 4000


def test_the_largest_message_is_taken_and_one_over_the_limit_refused(echo: Echo) -> None:
    with python_client(echo) as client:
        client.send(bytes(_MAX_BYTES))
        assert client.recv(_TIMEOUT_S) == bytes(_MAX_BYTES)
        client.send(bytes(_MAX_BYTES + 1))
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(_TIMEOUT_S)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


_BROWSER_SCRIPT = """
async ([url, sizes]) => {
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  await new Promise((resolve, reject) => { socket.onopen = resolve; socket.onerror = reject; });
  const next = () => new Promise((resolve, reject) => {
    socket.onmessage = (event) => resolve(event.data);
    socket.onclose = ({ code, reason }) => reject(new Error(`closed: ${code} ${reason}`));
  });
  for (const size of sizes) {
    const data = new Uint8Array(size);
    for (let at = 0; at < size / 2; at += 65536) {
      crypto.getRandomValues(data.subarray(at, Math.min(at + 65536, size)));
    }
    socket.send(data);
    const echo = new Uint8Array(await next());
    if (echo.length !== size || echo.some((byte, at) => byte !== data[at])) return `${size}: bytes`;
    const text = "Grüße 世界 🌍".repeat(size / 20);
    socket.send(text);
    if (await next() !== text) return `${size}: text`;
  }
  const closed = new Promise((resolve) => { socket.onclose = resolve; });
  socket.close(4002, "zurück");
  const { code, reason, wasClean } = await closed;
  return [socket.extensions, code, reason, wasClean];
}
"""


@pytest.mark.browser
def test_a_browser_gets_back_what_it_sends(echo: Echo, browser: Browser) -> None:
    context = browser.new_context()
    try:
        page = context.new_page()
        result = page.evaluate(_BROWSER_SCRIPT, [echo.url, _SIZES])
    finally:
        context.close()
    extensions, *close = result
    assert extensions.startswith("permessage-deflate")
    assert close == [4002, "zurück", True]


def test_it_says_goodbye_when_it_is_stopped() -> None:
    server = Echo()
    try:
        with python_client(server) as client:
            client.send("hello")
            assert client.recv(_TIMEOUT_S) == "hello"
            assert server.stop() == (0, "")
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(_TIMEOUT_S)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
    finally:
        server.close()


def test_it_says_how_it_is_called() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "echo.py")],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "usage: python examples/echo.py PORT [CERTIFICATE KEY]\n"
