"""Numbers, sizes, yes or no: what is read, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.chat_ini import LISTEN, read, refused

from rtchat.core.stomp.limits import Limits
from rtchat.server.stomp import BrokerPart


def with_broker(ini: Path, line: str) -> Limits:
    return read(ini, f"{LISTEN}[broker]\n{line}\n").of(BrokerPart).session


@pytest.mark.parametrize("text", ["4096", "4KiB", "4 KiB", "4  kib"])
def test_a_size_is_bytes_or_has_a_unit(ini: Path, text: str) -> None:
    assert with_broker(ini, f"frame.max_bytes = {text}").max_frame_bytes == 4096


@pytest.mark.parametrize(
    "line, error",
    [
        ("login.timeout = 0", "write a number of seconds from 0.1 to 3600"),
        ("header.max_count = 9", "write a number of headers from 10 to 100000"),
        ("header.max_count = 10.5", "write a number of headers from 10 to 100000"),
        ("subscription.max_count = 0", "write a number of subscriptions from 1 to 1000000"),
        ("heartbeat.send_ms = 99", "write 0 or a number of milliseconds from 100 to 3600000"),
        (
            "heartbeat.receive_ms = 3600001",
            "write 0 or a number of milliseconds from 100 to 3600000",
        ),
        ("heartbeat.min_ms = 0", "write a number of milliseconds from 100 to 3600000"),
    ],
)
def test_a_number_out_of_range_is_refused_with_range_and_unit(
    ini: Path, line: str, error: str
) -> None:
    text = f"{LISTEN}[broker]\n{line}\n"
    assert refused(ini, text) == f"chat.ini:4: [broker] {line} cannot be used; {error}"


@pytest.mark.parametrize(
    "line, error",
    [
        (
            "frame.max_bytes = 4 MB",
            "is not a size; write a number of bytes, or a number with KiB, MiB or GiB",
        ),
        (
            "frame.max_bytes = 1.5 MiB",
            "is not a size; write a number of bytes, or a number with KiB, MiB or GiB",
        ),
        ("frame.max_bytes = 1023", "is out of range; write 1 KiB to 1 GiB"),
        ("frame.max_bytes = 2 GiB", "is out of range; write 1 KiB to 1 GiB"),
        ("header.max_bytes = 255", "is out of range; write 256 bytes to 1 MiB"),
        ("backlog.max_bytes = -1 KiB", "is out of range; write 1 KiB to 1 GiB"),
        ("server_header = maybe", "cannot be used; write yes or no"),
    ],
)
def test_a_size_out_of_range_is_refused_with_its_range(ini: Path, line: str, error: str) -> None:
    assert refused(ini, f"{LISTEN}[broker]\n{line}\n") == f"chat.ini:4: [broker] {line} {error}"


def test_what_is_neither_yes_nor_no_is_refused(ini: Path) -> None:
    assert refused(ini, f"{LISTEN}[global]\norigin.required = maybe\n") == (
        "chat.ini:4: [global] origin.required = maybe cannot be used; write yes or no"
    )
