"""Real Unix sockets as listeners: a transport of its own kind, served like any other."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from support.process import Server
from support.stomp import frame_bytes
from support.websocket import read_answer
from support.wire import Wire

LISTEN = "http://127.0.0.1:{http}\nhttp = unix:page.sock\nstomp = unix:stomp.sock"


@pytest.mark.live
def test_stomp_and_the_page_are_served_on_unix_sockets(tmp_path: Path) -> None:
    body = b"x" * 3_000_000  # more than the socket's buffer: the rest waits and follows
    with Server.on_free_ports(tmp_path, listen=LISTEN) as server:
        with Wire(tmp_path / "stomp.sock") as client:
            client.connect()
            client.subscribe("/topic/a")
            client.send(frame_bytes("SEND", body, destination="/topic/a"))
            assert client.frame().body == body
        with socket.socket(socket.AF_UNIX) as page:
            page.connect(str(tmp_path / "page.sock"))
            page.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            data = b""
            while chunk := page.recv(4096):
                data += chunk
            assert read_answer(data)[0].status == 200
        server.until_logged("unix socket: session ")


@pytest.mark.live
def test_a_unix_socket_is_for_user_and_group_unless_it_has_a_mode(tmp_path: Path) -> None:
    listen = "http = unix:page.sock\nstomp = unix:stomp.sock"
    with Server.on_free_ports(tmp_path, listen=f"http://127.0.0.1:{{http}}\n{listen}"):
        modes = [(tmp_path / f"{name}.sock").stat().st_mode & 0o777 for name in ("page", "stomp")]
    assert modes == [0o660, 0o660]
    listen = "http = unix:page.sock:mode=666\nstomp = unix:stomp.sock:mode=600:backlog=5"
    with Server.on_free_ports(tmp_path, listen=f"http://127.0.0.1:{{http}}\n{listen}"):
        modes = [(tmp_path / f"{name}.sock").stat().st_mode & 0o777 for name in ("page", "stomp")]
    assert modes == [0o666, 0o600]
