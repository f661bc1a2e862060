"""[listen]: addresses and endpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.chat_ini import read, refused

from rtchat.config.ini import SourceLine
from rtchat.server.listeners import Listener, ListenersPart


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
            "http://::1:9000 is not clear; write an IPv6 address in brackets: http://[::1]:9000",
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
