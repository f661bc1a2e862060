"""[global] session.ping_…: how often WebSockets are pinged."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.chat_ini import LISTEN, read, refused

from rtchat.server.settings import Settings
from rtchat.server.websocket import WebSocketPart


def with_global(ini: Path, line: str) -> Settings:
    return read(ini, f"{LISTEN}[global]\n{line}\n")


@pytest.mark.parametrize("text, value", [("20", 20.0), ("0.5", 0.5), ("0", 0.0), ("86400", 86400)])
def test_the_ping_interval_and_timeout_are_seconds(ini: Path, text: str, value: float) -> None:
    assert with_global(ini, f"session.ping_interval = {text}").of(WebSocketPart).interval_s == value
    assert with_global(ini, f"session.ping_timeout = {text}").of(WebSocketPart).timeout_s == value


@pytest.mark.parametrize("value", ["86401", "0.05", "-1", "soon", "20 s", "nan", "inf", "1e3"])
def test_a_ping_interval_out_of_range_is_refused(ini: Path, value: str) -> None:
    text = f"{LISTEN}[global]\nsession.ping_interval = {value}\n"
    assert refused(ini, text) == (
        f"chat.ini:4: [global] session.ping_interval = {value} cannot be used; "
        "write 0 or a number of seconds from 0.1 to 86400"
    )
