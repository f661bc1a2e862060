"""SIGHUP gives new connections the new certificate, and does not touch those that are open."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from support.certificate import Certificate
from support.process import Server, free_port, until
from support.sockets import RealWebSocket
from support.stomp import CONNECT, frame_bytes
from support.websocket import TEXT
from support.wire import Wire

pytestmark = [pytest.mark.live]

NOBODY = 65534
ME = pwd.getpwuid(os.geteuid()).pw_name

_INI = """
[listen]
http://127.0.0.1:{http}
stomps://127.0.0.1:{stomp}
[access]
* -> localhost:{stomp}
[global]
session.ping_interval = 0.1
"""

Start = Callable[..., Server]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that all users may enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Start a server with TLS on both its ports."""
    servers: list[Server] = []

    def start(more: str = "") -> Server:
        http, stomp = free_port(), free_port()
        text = _INI.format(http=http, stomp=stomp) + more
        servers.append(Server(folder, text, http=http, stomp=stomp, is_tls=True))
        return servers[-1].start()

    yield start
    for server in servers:
        server.close()


def shown(port: int, before: bytes = b"") -> int:
    """Connect; give the number of the certificate that is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 10) as plain:
        plain.sendall(before)
        with context.wrap_socket(plain) as client:
            data = client.getpeercert(binary_form=True)
    assert data is not None
    return x509.load_der_x509_certificate(data).serial_number


def hang_up(server: Server) -> str:
    """Send SIGHUP; give the line that says what came of it."""

    def lines() -> list[str]:
        return re.findall(r"SIGHUP received: (.* certificate .*)", server.log())

    before = len(lines())
    server.send_signal(signal.SIGHUP)
    until("line about the certificate", lambda: len(lines()) > before, details=server.log)
    assert len(lines()) == before + 1
    return lines()[-1]


def certificate_of(server: Server) -> Certificate:
    """Return what the server shows at first."""
    assert server.certificate is not None
    return server.certificate


# ---------------------------------------------------------------- a new certificate


def test_new_connections_get_the_new_certificate_and_old_ones_notice_nothing(start: Start) -> None:
    server = start("[log]\nmessages = messages.jsonl\n")
    old, new = certificate_of(server), Certificate.make()
    assert {shown(server.http), shown(server.stomp)} == {old.serial}
    with (
        Wire(server.stomp, old.trusted()) as program,
        RealWebSocket(server.http, "/ws", old.trusted(), subprotocols="v12.stomp") as browser,
    ):
        program.connect()
        program.subscribe("/topic/chat")
        browser.send(TEXT, CONNECT)
        assert browser.read().payload.startswith(b"CONNECTED\n")
        # One that is in the middle of a frame, too.
        message = frame_bytes("SEND", b"before and after" * 5000, destination="/topic/chat")
        program.send(message[:30_000])

        crt, key = new.write(server.folder)
        said = hang_up(server)
        assert re.fullmatch(
            rf"new connections get the certificate in {crt}, valid until \d{{4}}-\d\d-\d\d", said
        )
        assert "SIGHUP received: message log reopened" in server.log()
        assert {shown(server.http), shown(server.stomp)} == {new.serial}
        # A client that trusts the new certificate only can connect; old connections stay.
        with Wire(server.stomp, new.trusted()) as newcomer:
            newcomer.connect()
            newcomer.subscribe("/topic/chat")
            program.send(message[30_000:])
            for client in (program, newcomer):
                assert client.frame().body == b"before and after" * 5000
            browser.send(TEXT, frame_bytes("SEND", b"hello", destination="/topic/chat"))
            for client in (program, newcomer):
                assert client.frame().body == b"hello"
        with pytest.raises(ssl.SSLCertVerificationError):
            Wire(server.stomp, old.trusted())
    assert key.exists()


def test_nothing_is_lost_while_certificates_come_and_go(start: Start) -> None:
    server = start()
    old = certificate_of(server)
    is_over = threading.Event()
    bodies: list[bytes] = []
    with (
        Wire(server.stomp, old.trusted()) as reader,
        Wire(server.stomp, old.trusted()) as writer,
    ):
        reader.connect()
        reader.subscribe("/topic/flood")
        writer.connect()

        def write() -> None:
            count = 0
            while not is_over.is_set():
                body = b"%d " % count + bytes(3000)
                writer.send(
                    frame_bytes(
                        "SEND", body, destination="/topic/flood", content_length=str(len(body))
                    )
                )
                count += 1
                time.sleep(0.0005)
            writer.send(frame_bytes("SEND", b"%d end" % count, destination="/topic/flood"))

        def read() -> None:
            while not bodies or not bodies[-1].endswith(b" end"):
                bodies.append(reader.frame().body.rstrip(b"\0"))

        threads = [threading.Thread(target=each) for each in (write, read)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(10):
                newest = Certificate.make()
                newest.write(server.folder)
                assert "new connections get" in hang_up(server)
                assert shown(server.stomp) == newest.serial
        finally:
            is_over.set()
            for thread in threads:
                thread.join(20)
    assert len(bodies) > 50
    assert [int(body.split()[0]) for body in bodies] == list(range(len(bodies)))


def test_it_reaches_ports_behind_a_front_proxy(start: Start) -> None:
    server = start("[front]\ntrusted = 127.0.0.1\nprotocol = proxy\n")
    new = Certificate.make()
    header = b"PROXY TCP4 203.0.113.9 192.0.2.2 4711 443\r\n"
    assert shown(server.http, header) == certificate_of(server).serial
    new.write(server.folder)
    assert "new connections get" in hang_up(server)
    assert shown(server.http, header) == new.serial
    assert shown(server.stomp) == new.serial


# ---------------------------------------------------------------- a broken one


def test_a_broken_file_leaves_the_old_certificate_in_use(start: Start) -> None:
    server = start()
    old, new = certificate_of(server), Certificate.make()
    crt, key = server.folder / "cert.pem", server.folder / "key.pem"

    def check(why: str) -> None:
        assert hang_up(server) == (
            "the certificate was not read again, connections still get the old one: "
            f"{why}. Fix the file or its permissions, then send SIGHUP again"
        )
        assert {shown(server.http), shown(server.stomp)} == {old.serial}

    with Wire(server.stomp, old.trusted()) as program:
        program.connect()
        program.subscribe("/topic/chat")
        crt.write_bytes(new.pem)
        check(f"{key} is not the key of {crt}")
        crt.write_bytes(b"-----BEGIN CERTIFICATE-----\nhalf of i")
        check(f"{crt} holds no readable certificate")
        crt.write_bytes(b"")
        check(f"{crt} holds no readable certificate")
        crt.unlink()
        check(f"{crt} cannot be read by {ME} (No such file or directory)")
        crt.mkdir()
        check(f"{crt} cannot be read by {ME} (Is a directory)")
        crt.rmdir()
        new.write(server.folder)
        key.write_bytes(b"-----BEGIN PRIVATE KEY-----\n")
        check(f"{key} holds no readable private key without a passphrase")

        new.write(server.folder)
        assert "new connections get" in hang_up(server)
        assert {shown(server.http), shown(server.stomp)} == {new.serial}
        program.send(frame_bytes("SEND", b"still here", destination="/topic/chat"))
        assert program.frame().body == b"still here"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_key_that_the_new_user_may_not_read_is_told(start: Start, folder: Path) -> None:
    shutil.chown(folder, NOBODY, NOBODY)
    server = start("user = nobody\n")
    assert server.uids() == {NOBODY}
    old, new = certificate_of(server), Certificate.make()
    _, key = new.write(folder)
    key.chmod(0o600)
    assert hang_up(server) == (
        "the certificate was not read again, connections still get the old one: "
        f"{key} cannot be read by nobody (Permission denied). "
        "Fix the file or its permissions, then send SIGHUP again"
    )
    assert {shown(server.http), shown(server.stomp)} == {old.serial}
    shutil.chown(key, NOBODY, NOBODY)
    assert "new connections get" in hang_up(server)
    assert {shown(server.http), shown(server.stomp)} == {new.serial}
