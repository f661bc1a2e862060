"""[front]: the reverse proxies that are believed."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.chat_ini import LISTEN, read, refused

from rtchat.server.front_proxy import FrontProxyPart


def test_front_proxies_are_addresses_networks_and_unix(ini: Path) -> None:
    text = LISTEN + "[front]\ntrusted = 10.0.0.0/8, 127.0.0.1 ::1,unix\n"
    front = read(ini, text).of(FrontProxyPart)
    assert not front.has_proxy_header
    assert all(host in front.trusted for host in ("10.9.9.9", "127.0.0.1", "::1", None))
    assert "127.0.0.2" not in front.trusted


@pytest.mark.parametrize(
    "value, has_header", [("proxy", True), ("PROXY", True), ("X-Forwarded-For", False)]
)
def test_front_proxies_speak_one_of_two_protocols(ini: Path, value: str, has_header: bool) -> None:
    text = f"{LISTEN}[front]\ntrusted = 127.0.0.1\nprotocol = {value}\n"
    assert read(ini, text).of(FrontProxyPart).has_proxy_header is has_header


@pytest.mark.parametrize(
    "lines, problem",
    [
        (
            "protocol = proxy",
            "protocol = proxy has no effect without trusted; write trusted = … with the addresses "
            "of the front proxies, too",
        ),
        (
            "trusted = 127.0.0.1\nprotocol = http",
            "protocol = http cannot be used; write x-forwarded-for or proxy",
        ),
        ("trusted = ,", "trusted = , has no address in it; write one, such as 127.0.0.1"),
        ("trusted =", "trusted has no value; write trusted = …, or remove the line"),
        (
            "trusted = nginx",
            "trusted = nginx is not a list of addresses ('nginx' does not appear to be an IPv4 or "
            "IPv6 network); write addresses, networks such as 10.0.0.0/8, or unix",
        ),
    ],
)
def test_front_proxies_that_cannot_be_read_are_refused(ini: Path, lines: str, problem: str) -> None:
    line = 3 + len(lines.splitlines())
    assert refused(ini, f"{LISTEN}[front]\n{lines}\n") == f"chat.ini:{line}: [front] {problem}"
