"""[proxy]: limits of the gateway and of HTTP."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.chat_ini import LISTEN, read, refused

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
