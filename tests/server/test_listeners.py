"""[listen]: addresses and endpoints."""

from __future__ import annotations

import errno
import os
import pwd
import re
import socket
from pathlib import Path

import pytest
from OpenSSL import SSL
from support.certificate import write_certificate
from support.chat_ini import read, refused
from support.in_memory import InMemory
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import CannotListenError

from rtchat.config.ini import SourceLine
from rtchat.core.access.hosts import Target
from rtchat.net.connection.handshakes import WatchedTls
from rtchat.server.access import AccessPart
from rtchat.server.listeners import Listener, ListenersPart
from rtchat.server.stomp import BrokerPart
from rtchat.server.web import WebPart


@pytest.mark.parametrize(
    "line, kind, host, port",
    [
        ("http://:9000", "http", "", 9000),
        ("HTTP://LOCALHOST:9000", "http", "localhost", 9000),
        ("http://127.0.0.1:1", "http", "127.0.0.1", 1),
        ("http://[::1]:65535", "http", "::1", 65535),
        ("http://chat.example.com.:80/", "http", "chat.example.com", 80),
        ("stomp://:61613", "stomp", "", 61613),
        ("stomp://0.0.0.0:61613", "stomp", "0.0.0.0", 61613),
    ],
)
def test_a_url_is_an_address_to_listen_on(
    ini: Path, line: str, kind: str, host: str, port: int
) -> None:
    (listener,) = read(ini, f"[listen]\n{line}\n").of(ListenersPart).listeners
    assert (listener.kind, listener.host, listener.port) == (kind, host, port)
    assert listener.endpoint is None
    assert listener.source_line == SourceLine(str(ini), 2, line, "", "listen")


def test_an_endpoint_is_kept_as_text(ini: Path) -> None:
    http, stomp = (
        read(ini, "[listen]\nhttp = unix:/run/rtchat.sock\nstomp = tcp:61613:interface=\\:\\:1\n")
        .of(ListenersPart)
        .listeners
    )
    assert http == Listener(
        "http",
        "",
        0,
        "unix:/run/rtchat.sock",
        SourceLine(str(ini), 2, "http", "unix:/run/rtchat.sock", "listen"),
    )
    assert (stomp.kind, stomp.endpoint) == ("stomp", "tcp:61613:interface=\\:\\:1")


@pytest.mark.parametrize(
    "line, error",
    [
        ("http://", "http:// has no port; write http://:9000"),
        ("http://localhost", "http://localhost has no port; write http://localhost:9000"),
        ("stomp://[::1]:", "stomp://[::1]: has no port; write stomp://[::1]:61613"),
        ("http://:0", "http://:0 has the port 0; use a number from 1 to 65535"),
        ("http://:65536", "http://:65536 has the port 65536; use a number from 1 to 65535"),
        ("http://:web", "http://:web has the port web; use a number from 1 to 65535"),
        ("http://:-1", "http://:-1 has the port -1; use a number from 1 to 65535"),
        (
            "http://*:9000",
            "http://*:9000 has a wildcard; write http://:9000 for every interface",
        ),
        (
            "http://a b:9000",
            "http://a b:9000 has no usable host ('a b' has a space or control character); "
            "write http://127.0.0.1:9000, or http://:9000 for every interface",
        ),
        (
            "http://[::g]:9000",
            "http://[::g]:9000 has no usable host ('[::g]' is not an IPv6 address); "
            "write http://127.0.0.1:9000, or http://:9000 for every interface",
        ),
        (
            "http://::1:9000",
            "http://::1:9000 is ambiguous; write an IPv6 address in brackets: http://[::1]:9000",
        ),
        (
            "http://:9000/chat",
            "http://:9000/chat is not an address to listen on; "
            "write http://HOST:PORT, https://…, stomp://… or stomps://…",
        ),
        (
            ":9000",
            ":9000 is not an address to listen on; "
            "write http://HOST:PORT, https://…, stomp://… or stomps://…",
        ),
        (
            "stmp://:61613",
            "stmp://:61613 is not an address to listen on; did you mean stomp://:61613 ?",
        ),
        (
            "http://:9000 = 1",
            "http://:9000 = 1 is not an address to listen on; "
            "write http://HOST:PORT, https://…, stomp://… or stomps://…",
        ),
        ("http =", "http has no endpoint; write one, such as http = unix:/run/rtchat.sock"),
        (
            "https = tcp:9443",
            "https = tcp:9443 takes no endpoint; write http = "
            "ssl:PORT:privateKey=FILE:certKey=FILE, or https://:PORT and a section [ssl]",
        ),
        (
            "https://:9443",
            "https://:9443 needs a certificate; write a section [ssl] with crt and key",
        ),
        (
            "stomps://:61614",
            "stomps://:61614 needs a certificate; write a section [ssl] with crt and key",
        ),
    ],
)
def test_a_line_that_is_no_address_is_refused(ini: Path, line: str, error: str) -> None:
    assert refused(ini, f"[listen]\n\n{line}\n") == f"chat.ini:3: [listen] {error}"


@pytest.mark.parametrize(
    "one, other",
    [
        ("http://:9000", "stomp://:9000"),
        ("http://:9000", "http://127.0.0.1:9000"),
        ("http://localhost:9000", "http://0.0.0.0:9000"),
        ("http://localhost:9000", "http://LOCALHOST.:9000"),
        ("http://[::1]:9000", "http://[::]:9000"),
        ("http = unix:/run/a", "stomp = unix:/run/a"),
    ],
)
def test_two_listeners_on_one_address_are_refused(ini: Path, one: str, other: str) -> None:
    assert refused(ini, f"[listen]\n{one}\n{other}\n") == (
        f"chat.ini:3: [listen] {other} takes the same address as line 2 ({one}); give each its own"
    )


@pytest.mark.parametrize(
    "one, other",
    [
        ("http://:9000", "http://:9001"),
        ("http://127.0.0.1:9000", "http://127.0.0.2:9000"),
        ("http://127.0.0.1:9000", "http://[::1]:9000"),
        ("http://:9000", "http://[::1]:9000"),
        ("http = unix:/run/a", "stomp = unix:/run/b"),
        ("http = unix:/run/a", "http://:9000"),
    ],
)
def test_two_listeners_that_may_go_together_are_kept(ini: Path, one: str, other: str) -> None:
    assert len(read(ini, f"[listen]\n{one}\n{other}\n").of(ListenersPart).listeners) == 2


# ---------------------------------------------------------------- the running server


def opened(in_memory: InMemory, text: str) -> str:
    """Return the sentence with which opening the ports fails."""
    server = in_memory.make(text)
    with pytest.raises(SystemExit) as end:
        server.service.privilegedStartService()
    return str(end.value).removeprefix(f"rtchat: {in_memory.ini}:")


def test_each_port_gets_the_factory_of_its_kind(in_memory: InMemory) -> None:
    text = "[listen]\nhttp://127.0.0.1:1\nstomp://[::1]:2\nhttp = unix:a\nstomp = unix:b\n"
    server = in_memory.start(text)
    site, stomp = server.part(WebPart).site, server.part(BrokerPart).door
    reactor = in_memory.reactor
    tcp = [(port, factory, host) for port, factory, _, host in reactor.tcpServers]
    assert tcp == [(1, site, "127.0.0.1"), (2, stomp, "::1")]
    assert [(path, factory) for path, factory, *_ in reactor.unixServers] == [
        ("a", site),
        ("b", stomp),
    ]


@pytest.mark.parametrize(
    "endpoint, mode",
    [
        ("unix:a", 0o660),
        ("unix:a:backlog=5", 0o660),
        ("unix:address=a", 0o660),
        ("unix:a:lockfile=0", 0o660),
        ("unix:a\\:b", 0o660),
        ("haproxy:unix:a", 0o660),
        ("haproxy:unix:a:mode=600", 0o600),
        ("unix:a:mode=666", 0o666),
        ("unix:mode=600:address=a", 0o600),
        ("unix:a:600", 0o600),
    ],
)
def test_a_unix_socket_without_a_mode_is_for_user_and_group(
    in_memory: InMemory, endpoint: str, mode: int
) -> None:
    in_memory.start(f"[listen]\nhttp = {endpoint}\n")
    [(_, _, _, given, _)] = in_memory.reactor.unixServers
    assert given == mode


def test_a_unix_socket_belongs_to_the_user_that_the_server_becomes(
    in_memory: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not chown(), which follows links: one may have taken the place of the socket.
    owners: list[tuple[str, int, int]] = []
    monkeypatch.setattr(os, "lchown", lambda path, uid, gid: owners.append((path, uid, gid)))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    nobody = pwd.getpwnam("nobody")
    text = "[listen]\nhttp = unix:a\nhttp://127.0.0.1:1\n[global]\nuser = nobody\n"
    in_memory.make(text).service.privilegedStartService()
    assert owners == [("a", nobody.pw_uid, nobody.pw_gid)]


def test_a_socket_that_the_system_has_made_keeps_its_owner(
    in_memory: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    reactor = in_memory.reactor
    # It was opened by systemd, say: it may be at no path, or for a group of the unit.
    monkeypatch.setattr(reactor, "listenTCP", lambda *_, **__: reactor.listenUNIX("\0a", None))
    text = "[listen]\nhttp = tcp:1\n[global]\nuser = nobody\n"
    in_memory.make(text).service.privilegedStartService()
    assert len(reactor.unixServers) == 1


def test_a_port_with_a_certificate_of_its_own_is_watched_like_others(
    in_memory: InMemory, tmp_path: Path
) -> None:
    write_certificate(tmp_path)
    files = f"privateKey={tmp_path}/key.pem:certKey={tmp_path}/cert.pem"
    in_memory.start(f"[listen]\nhttp = ssl:1:{files}\n")
    [(_, _, tls, *_)] = in_memory.reactor.sslServers
    assert isinstance(tls, WatchedTls)
    ciphers = SSL.Connection(tls.creator.getContext(), None).get_cipher_list()  # type: ignore[attr-defined]
    assert all(re.match("TLS_|ECDHE-.*(GCM|CHACHA20)", name) for name in ciphers)


def test_open_stomp_ports_are_targets_that_rules_may_name(in_memory: InMemory) -> None:
    text = "[listen]\nhttp://127.0.0.1:1\nstomp://127.0.0.1:2\n"
    server = in_memory.make(text)
    targets = server.part(AccessPart).stomp_targets
    assert list(targets) == []
    server.service.privilegedStartService()
    # The port in memory says that it is open on 0.0.0.0.
    names = ["localhost", "127.0.0.1", "::1", *server.part(AccessPart).own_names]
    assert [str(target) for target in targets] == [str(Target(name, 2)) for name in names]


def test_a_proxy_in_front_is_for_http_alone(in_memory: InMemory, tmp_path: Path) -> None:
    write_certificate(tmp_path)
    text = (
        "[listen]\nhttp://:1\nhttps://:2\nstomp://:3\nstomps://:4\nhttp = unix:a\n"
        "[ssl]\ncrt = cert.pem\nkey = key.pem\n"
        "[front]\ntrusted = 127.0.0.1\nprotocol = proxy\n"
    )
    server = in_memory.start(text)
    reactor, stomp = in_memory.reactor, server.part(BrokerPart).door
    behind = [port for port, factory, *_ in reactor.tcpServers if factory is not stomp]
    assert behind == [1, 2], "TLS begins behind the PROXY header"
    assert [port for port, *_ in reactor.sslServers] == [4]
    assert reactor.unixServers[0][1] is not server.part(WebPart).site


@pytest.mark.parametrize(
    "error, problem",
    [
        (
            OSError(errno.EADDRINUSE, "Address already in use"),
            "Address already in use. Choose another port, or stop the program that has this one.",
        ),
        (
            OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address"),
            "Cannot assign requested address. Name an address of this machine, or none to listen "
            "on all.",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied"),
            "Permission denied. Choose a port above 1023, or start as root and set [global] user.",
        ),
        (
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            "Name or service not known. Name an address of this machine, or none to listen on all.",
        ),
        (ValueError("a bug."), "Couldn't listen on 127.0.0.1:9000: a bug."),
    ],
)
def test_a_port_that_cannot_be_opened_ends_the_start(
    in_memory: InMemory, monkeypatch: pytest.MonkeyPatch, error: Exception, problem: str
) -> None:
    def listen(*args: object, **options: object) -> None:
        raise CannotListenError("127.0.0.1", 9000, error)

    monkeypatch.setattr(in_memory.reactor, "listenTCP", listen)
    assert opened(in_memory, "[listen]\nhttp://127.0.0.1:9000\n") == (
        f"2: [listen] http://127.0.0.1:9000 cannot be opened: {problem}"
    )


@pytest.mark.parametrize(
    "error, problem",
    [
        (
            CannotListenError(None, "a", FileNotFoundError(errno.ENOENT, "No such file")),
            "No such file. Create the folder, or change the path.",
        ),
        (
            CannotListenError(None, "a", PermissionError(errno.EACCES, "Permission denied")),
            "Permission denied. Change the permissions of the folder, or the path.",
        ),
        (
            ValueError("it is taken."),
            "it is taken. Stop the program that has this socket, or choose another path.",
        ),
    ],
)
def test_a_socket_that_cannot_be_opened_ends_the_start(
    in_memory: InMemory, monkeypatch: pytest.MonkeyPatch, error: Exception, problem: str
) -> None:
    def listen(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(in_memory.reactor, "listenUNIX", listen)
    assert opened(in_memory, "[listen]\nhttp = unix:a\n") == (
        f"2: [listen] http = unix:a cannot be opened: {problem}"
    )


def test_a_port_that_takes_its_time_ends_the_start(
    in_memory: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TCP4ServerEndpoint, "listen", lambda endpoint, factory: Deferred())
    assert opened(in_memory, "[listen]\nhttp://127.0.0.1:9000\n") == (
        "2: [listen] http://127.0.0.1:9000 did not open at once."
    )


def test_an_endpoint_that_twisted_does_not_know_ends_the_start(in_memory: InMemory) -> None:
    with pytest.raises(SystemExit) as end:
        in_memory.make("[listen]\nhttp = carrier:pigeon\n")
    assert str(end.value) == (
        f"rtchat: {in_memory.ini}:2: [listen] http = carrier:pigeon cannot be used as an endpoint "
        "(Unknown endpoint type: 'carrier'); write one that Twisted knows, such as tcp:61613 or "
        "unix:/run/rtchat.sock."
    )
