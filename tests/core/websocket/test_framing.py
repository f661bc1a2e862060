"""Frames of the server's: their headers, close frames, text or binary, compressed or plain."""

from __future__ import annotations

import random
import zlib

import pytest
from support.websocket import BINARY, TEXT

from rtchat.core.websocket.deflate import DEFLATE_MIN_BYTES
from rtchat.core.websocket.framing import (
    PLAIN,
    MessageFramings,
    close_frame,
    deflating,
    frame_header,
    is_utf8,
)


@pytest.mark.parametrize("framings", [PLAIN, deflating(15)])
@pytest.mark.parametrize("sizes", [[1], [1, 1, 2], [125, 126], [1023, 1024, 70_000], [5000]])
@pytest.mark.parametrize("filling", [b"a", "\u00e9".encode(), b"\xff"])
def test_messages_packed_together_are_packed_as_one_by_one(
    framings: MessageFramings, sizes: list[int], filling: bytes
) -> None:
    messages = [filling * size for size in sizes]
    for framing in framings:
        one_by_one = [framing.wrap(data) for data in messages]
        header = framing.header_of_all(len(messages[0]), messages)
        if header is not None:
            assert header + messages[0] == one_by_one[0]
        # A message that is not ASCII is UTF-8 or not, each by itself; a packed one has its own.
        assert (header is None) == (
            framings is not PLAIN or (framing is PLAIN.text and not filling.isascii())
        )


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, (1 << 63) - 1])
def test_a_header_writes_the_length_in_the_shortest_way(size: int) -> None:
    header = frame_header(BINARY, size)
    assert header[0] == 0x82
    short = header[1]
    assert len(header) == 2 + {126: 2, 127: 8}.get(short, 0)
    assert size == (int.from_bytes(header[2:], "big") if short > 125 else short)
    assert short == size or size > (125 if short == 126 else 65535)


def test_a_close_frame_keeps_its_reason_to_what_fits() -> None:
    assert close_frame(1000, "") == b"\x88\x02\x03\xe8"
    assert close_frame(1001, "bye") == b"\x88\x05\x03\xe9bye"
    long = close_frame(1011, "é" * 100)
    assert long[4:].decode() == "é" * 61
    assert len(long) <= 127


@pytest.mark.parametrize("framings", [PLAIN, deflating(15), deflating(9)])
def test_text_goes_out_as_text_and_anything_else_as_binary(framings: MessageFramings) -> None:
    binary, text = framings
    assert binary.wrap(b"hello") == b"\x82\x05hello"
    assert text.wrap(b"hello") == b"\x81\x05hello"
    assert text.wrap(b"\xff") == b"\x82\x01\xff"
    assert text.wrap("ä".encode() * 300)[0] & 0x0F == TEXT


def test_what_shrinks_goes_out_compressed() -> None:
    data = b"a" * DEFLATE_MIN_BYTES
    sent = deflating(15).text.wrap(data)
    assert sent[0] == 0xC1
    inflated = zlib.decompressobj(-15).decompress(sent[2:] + b"\0\0\xff\xff")
    assert inflated == data
    noise = random.Random(1).randbytes(1000)
    assert deflating(15).binary.wrap(noise) == PLAIN.binary.wrap(noise)


def test_clients_that_agreed_upon_the_same_share_their_wires() -> None:
    assert deflating(15) is deflating(15)
    assert deflating(15).text is not deflating(10).text


def test_whether_bytes_may_go_out_as_text() -> None:
    assert is_utf8("größe".encode())
    assert not is_utf8(b"\xe2\x82")
