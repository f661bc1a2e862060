"""[proxy]: limits of the gateway and of HTTP."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.chat_ini import LISTEN, read, refused
from support.in_memory import InMemory

from rtchat.core.access.hosts import Target
from rtchat.server.gateway import GatewayPart, GatewaySettings
from rtchat.server.web import WebPart, WebSettings


def test_the_proxy_has_a_time_out_and_a_message_size(ini: Path) -> None:
    text = f"{LISTEN}[proxy]\nconnect.timeout = 2\nmessage.max_bytes = 64 KiB\n"
    assert read(ini, text).of(GatewayPart) == GatewaySettings(2.0, 65536)


def test_the_proxy_has_time_outs_caps_and_a_word_on_private_names(ini: Path) -> None:
    text = (
        f"{LISTEN}[proxy]\nhandshake.timeout = 5\nidle.timeout = 3600\n"
        "connections.total = 500\nconnections.per_target = 50\nconnections.per_source = 5\n"
        "private.names = no\nhttp.connections.total = 700\nhttp.connections.per_source = 70\n"
    )
    settings = read(ini, text)
    assert settings.of(GatewayPart) == GatewaySettings(
        idle_timeout_s=3600.0,
        max_connections=500,
        max_per_target=50,
        max_per_source=5,
        private_names=False,
    )
    assert settings.of(WebPart) == WebSettings({}, 5.0, 700, 70)


@pytest.mark.parametrize(
    "line, remedy",
    [
        ("handshake.timeout = 0", "write a number of seconds from 0.1 to 600"),
        ("idle.timeout = -1", "write 0 or a number of seconds from 0.1 to 604800"),
        ("connections.total = 1.5", "write 0 or a number of connections from 1 to 1000000"),
        ("connections.per_target = x", "write 0 or a number of connections from 1 to 1000000"),
        ("connections.per_source = -1", "write 0 or a number of connections from 1 to 1000000"),
        ("http.connections.total = 1.5", "write 0 or a number of connections from 1 to 1000000"),
        ("http.connections.per_source = x", "write 0 or a number of connections from 1 to 1000000"),
    ],
)
def test_a_proxy_value_out_of_range_is_refused(ini: Path, line: str, remedy: str) -> None:
    assert refused(ini, f"{LISTEN}[proxy]\n{line}\n") == (
        f"chat.ini:4: [proxy] {line} cannot be used; {remedy}"
    )


def test_a_proxy_time_out_out_of_range_is_refused(ini: Path) -> None:
    assert refused(ini, f"{LISTEN}[proxy]\nconnect.timeout = 601\n") == (
        "chat.ini:4: [proxy] connect.timeout = 601 cannot be used; "
        "write a number of seconds from 0.1 to 600"
    )


# ---------------------------------------------------------------- the running server


def test_a_target_is_served_in_one_way_as_long_as_the_server_runs(in_memory: InMemory) -> None:
    server = in_memory.start(f"{LISTEN}[access]\n* -> a:1 proxy\n* -> b:2\n")
    serve = server.part(GatewayPart)._websockets_to
    one, other = serve(Target("a", 1)), serve(Target("b", 2))
    assert serve(Target("a", 1)) is one
    assert one is not other
    assert one.wrappedFactory.has_proxy_header
    assert not other.wrappedFactory.has_proxy_header
    assert one.wrappedFactory.endpoints is other.wrappedFactory.endpoints
    assert one.wrappedFactory.limiter is other.wrappedFactory.limiter
    gone: list[object] = []
    server.part(GatewayPart).drain().addCallback(gone.append)
    assert len(gone) == 1
    assert one.is_stopping
    assert other.is_stopping
