"""What a WebSocket's client offers, and what it gets: sub-protocols, compression, a line logged."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.process import Server, until
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.sync.client import connect
from websockets.typing import Subprotocol

pytestmark = [pytest.mark.live]

Serve = Callable[..., Server]

CONNECT = "CONNECT\naccept-version:1.2\nhost:x\n\n\0"


def test_an_offer_that_nobody_can_take_is_in_the_log_once(server: Server) -> None:
    url = f"ws://localhost:{server.http}/ws"
    tight = ClientPerMessageDeflateFactory(server_max_window_bits=8)
    for _ in range(2):
        with connect(url, subprotocols=[Subprotocol("wamp")], extensions=[tight]) as client:
            assert client.subprotocol is None
            assert client.protocol.extensions == []
            client.send(CONNECT)
            assert str(client.recv(timeout=10)).startswith("CONNECTED\n")
    until("lines", lambda: "server_max_window_bits=8" in server.log())
    assert server.log().count("the sub-protocol 'wamp' is offered") == 1
    assert server.log().count("server_max_window_bits=8") == 1


@pytest.mark.parametrize("is_on", [True, False])
def test_compression_can_be_switched_off(serve: Serve, is_on: bool) -> None:
    server = serve(more="" if is_on else "\n[proxy]\ndeflate = no\n")
    with connect(f"ws://localhost:{server.http}/ws") as client:
        assert bool(client.protocol.extensions) is is_on
        client.send(CONNECT)
        assert str(client.recv(timeout=10)).startswith("CONNECTED\n")
        client.send("SUBSCRIBE\nid:0\ndestination:/topic/x\n\n\0")
        client.send("SEND\ndestination:/topic/x\n\n" + "the same " * 1000 + "\0")
        assert str(client.recv(timeout=10)).endswith("the same " * 1000 + "\0\n")
    assert "compression" not in server.log()
