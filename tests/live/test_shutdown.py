"""SIGTERM and Ctrl-C: connections are closed, pending output is sent, exit 0 within 6 seconds."""

from __future__ import annotations

import errno
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.process import STOP_WITHIN_S, Server, until
from support.wire import Wire
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

pytestmark = [pytest.mark.live]

Serve = Callable[..., Server]

_PATIENT = "\n[broker]\nbacklog.max_bytes = 64 MiB\n"

both_signals = pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"]
)


@contextmanager
def websocket(server: Server, path: str) -> Iterator[ClientConnection]:
    """Open a WebSocket and log in over it."""
    url = f"ws://localhost:{server.http}{path}"
    with connect(url, proxy=None, compression=None) as client:
        client.send("CONNECT\naccept-version:1.2\nhost:x\n\n\0")
        assert "CONNECTED" in str(client.recv(timeout=10))
        yield client


def last_words(client: ClientConnection) -> tuple[str, int, str]:
    """Return what still came, the close code and its reason."""
    words = ""
    while True:
        try:
            words += str(client.recv(timeout=10))
        except ConnectionClosed as end:
            assert end.rcvd is not None, "the WebSocket was cut without a close"
            return words, end.rcvd.code, end.rcvd.reason


def fill(server: Server) -> list[bytes]:
    """Publish more than the system holds for a client that does not read: the rest waits inside.

    Returns:
        The bodies, in order.
    """
    limits = Path("/proc/sys/net/ipv4/tcp_wmem").read_text(encoding="ascii").split()
    wanted_bytes = int(limits[2]) + 2 * 1024 * 1024
    bodies: list[bytes] = []
    with Wire(server.stomp) as publisher:
        publisher.connect()
        while sum(map(len, bodies)) < wanted_bytes:
            bodies.append(f"{len(bodies):7} ".encode() * 4000)
            publisher.publish("/topic/flood", bodies[-1])
        publisher.send("SEND\ndestination:/topic/none\nreceipt:all\n\n\0")
        assert publisher.frame().headers["receipt-id"] == "all"
    return bodies


def is_refused(port: int) -> bool:
    """Return whether nothing listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


@both_signals
def test_every_kind_of_client_sees_the_close(serve: Serve, number: int) -> None:
    server = serve()
    with (
        Wire(server.stomp) as tcp,
        Wire(server.stomp) as stranger,
        websocket(server, "/ws") as direct,
        websocket(server, f"/tcp/localhost:{server.stomp}") as proxied,
    ):
        tcp.connect()
        server.send_signal(number)

        # On TCP nothing but the close: an ERROR makes clients give up rather than come back.
        assert tcp.rest() == stranger.rest() == []
        tcp.close()
        stranger.close()
        words, code, reason = last_words(direct)
        assert (words, code, reason) == ("", 1012, "server shutting down")
        assert last_words(proxied)[1] == 1012
        assert server.wait() == 0
        assert server.stopping_s() < 3, "all had left, and it waited all the same"
    assert f"{signal.Signals(number).name} received: stopping" in server.log()


@both_signals
def test_clients_that_do_not_read_or_answer_cannot_hold_it_up(serve: Serve, number: int) -> None:
    server = serve(more=_PATIENT)
    with (
        Wire(server.stomp, receive_buffer_bytes=4096) as deaf,
        socket.create_connection(("127.0.0.1", server.http)) as mute,
    ):
        deaf.connect()
        deaf.subscribe("/topic/flood")
        fill(server)
        mute.sendall(
            f"GET /ws HTTP/1.1\r\nHost: localhost:{server.http}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        assert mute.recv(4096).startswith(b"HTTP/1.1 101 ")
        server.send_signal(number)

        # No new client gets in meanwhile.
        server.until_logged("received: stopping")
        for port in (server.stomp, server.http):
            until("closed port", lambda: is_refused(port))  # noqa: B023
        assert server.wait() == 0
        assert 0 < server.stopping_s() <= STOP_WITHIN_S, "it waits for them, and not for long"


def test_what_waits_goes_out_before_the_close(serve: Serve) -> None:
    server = serve(more=_PATIENT)
    with Wire(server.stomp, receive_buffer_bytes=4096) as slow:
        slow.connect()
        slow.subscribe("/topic/flood")
        bodies = fill(server)
        server.send_signal(signal.SIGTERM)
        until("line in the log", lambda: "received: stopping" in server.log())

        assert [message.body for message in slow.rest()] == bodies
        slow.close()
        assert server.wait() == 0


def test_a_second_ctrl_c_does_no_harm(serve: Serve) -> None:
    server = serve()
    with Wire(server.stomp) as client:
        client.connect()
        for _ in range(3):
            server.send_signal(signal.SIGINT)
        assert client.rest() == []
        client.close()
        assert server.wait() == 0
