"""permessage-deflate: what is agreed upon, what is compressed, what is inflated."""

from __future__ import annotations

import os
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.core.websocket.deflate import (
    DEFLATE_MIN_BYTES,
    Inflater,
    agree,
    deflate,
    most_deflated_bytes,
)

BASE = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
TAIL = b"\x00\x00\xff\xff"


def pack(data: bytes, level: int = 6, bits: int = 15, memory: int = 8) -> bytes:
    """Compress as a client does."""
    packer = zlib.compressobj(level, zlib.DEFLATED, -bits, memory)
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


def inflate(pieces: list[bytes], max_bytes: int = 1 << 30) -> bytes:
    """Inflate a message that comes in pieces."""
    inflater, result = Inflater(), b""
    for number, piece in enumerate(pieces):
        is_last = number == len(pieces) - 1
        if piece or is_last:
            inflater.feed(piece, is_last=is_last)
        while not inflater.needs_input:
            data = inflater.read(max_bytes)
            assert len(data) <= 32 * 1024
            result += data
    assert inflater.is_done
    return result


# ---------------------------------------------------------------- negotiation


@pytest.mark.parametrize(
    "offers, answer",
    [
        ("permessage-deflate", BASE),
        ("permessage-deflate; client_max_window_bits", BASE),
        ("permessage-deflate; client_max_window_bits=8", BASE),
        ("permessage-deflate;client_max_window_bits=15;server_no_context_takeover", BASE),
        ("permessage-deflate; client_no_context_takeover", BASE),
        ("permessage-deflate; server_max_window_bits=9", f"{BASE}; server_max_window_bits=9"),
        ('permessage-deflate; server_max_window_bits="15"', f"{BASE}; server_max_window_bits=15"),
        (r'permessage-deflate; server_max_window_bits="1\5"', f"{BASE}; server_max_window_bits=15"),
        ("\tpermessage-deflate ; server_max_window_bits = 9 ", f"{BASE}; server_max_window_bits=9"),
        ("x-webkit-deflate-frame, permessage-deflate", BASE),
        (", ,permessage-deflate,", BASE),
        ("bbf; a=b; c; d=\"e\", permessage-deflate; client_no_context_takeover", BASE),
        # The first that is valid is taken.
        ("permessage-deflate; unknown, permessage-deflate", BASE),
        (
            "permessage-deflate; server_max_window_bits=8, permessage-deflate; "
            "server_max_window_bits=12, permessage-deflate",
            f"{BASE}; server_max_window_bits=12",
        ),
    ],
)  # fmt: skip
def test_an_offer_that_can_be_met_is_accepted(offers: str, answer: str) -> None:
    agreed, _, unmet = agree(offers)
    assert agreed is not None
    assert unmet == ()
    assert agreed.answer == answer
    assert agreed.window_bits == int(answer.partition("bits=")[2] or 15)


@pytest.mark.parametrize(
    "offers",
    [
        "",
        " ",
        ",",
        "permessage-bzip2",
        "Permessage-Deflate2",
        "permessage-deflate; unknown",
        "permessage-deflate; unknown=1",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover=true",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; client_max_window_bits=10; client_max_window_bits=11",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=010",
        "permessage-deflate; server_max_window_bits=+9",
        "permessage-deflate; server_max_window_bits=a",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=09",
    ],
)
def test_an_offer_that_is_not_valid_is_declined(offers: str) -> None:
    agreed, unknown, unmet = agree(offers)
    assert agreed is None
    assert (*unknown, *unmet) == tuple(offer for offer in [offers.strip(" ,")] if offer)


def test_what_is_declined_is_named() -> None:
    offers = "bbf; a=b, permessage-deflate; server_max_window_bits=8, , x ,permessage-deflate;y"
    assert agree(offers) == (
        None,
        ("bbf", "x"),
        ("permessage-deflate; server_max_window_bits=8", "permessage-deflate;y"),
    )
    assert agree(f"{offers}, permessage-deflate")[1:] == (("bbf", "x"), ())


@pytest.mark.parametrize(
    "header",
    [
        ";",
        "a b",
        "permessage-deflate;",
        "permessage-deflate; a=",
        "permessage-deflate; =1",
        'permessage-deflate; a="',
        'permessage-deflate; a=""',
        'permessage-deflate; a="b c"',
        'permessage-deflate; a="b',
        "permessage-deflate; a=b=c",
        "permessage-deflate, a b",
        "größe",
        "a" + " " * 10_000 + "b",
    ],
)
def test_a_header_that_is_no_list_of_extensions_is_refused(header: str) -> None:
    with pytest.raises(ValueError, match="not a list of extensions"):
        agree(header)


@given(st.text(st.sampled_from('permessage-deflate;=," \\abits_09'), max_size=60))
def test_any_header_is_accepted_declined_or_refused(header: str) -> None:
    try:
        agreed = agree(header).deflate
    except ValueError:
        return
    assert agreed is None or agreed.answer.startswith(BASE)


# ---------------------------------------------------------------- compressing


@pytest.mark.parametrize("bits", range(9, 16))
@pytest.mark.parametrize("size", [DEFLATE_MIN_BYTES, 4096, 4097, 65_536, 65_537, 300_000])
def test_what_is_compressed_inflates_from_the_window_that_was_agreed(bits: int, size: int) -> None:
    dice = random.Random(size)
    words = [b"lorem", b"ipsum", b"dolor", b"sit", b"amet", b"%d" % dice.randrange(1 << 30)]
    data = b" ".join(dice.choices(words, k=size))[:size]
    packed = deflate(data, bits)
    assert packed is not None
    assert len(packed) < size
    assert zlib.decompressobj(-bits).decompress(packed + TAIL) == data
    assert inflate([packed]) == data


def test_a_tiny_message_is_not_compressed() -> None:
    assert deflate(b"a" * (DEFLATE_MIN_BYTES - 1), 15) is None
    assert deflate(b"a" * DEFLATE_MIN_BYTES, 15) is not None


@pytest.mark.parametrize("size", [DEFLATE_MIN_BYTES, 5000, 100_000])
def test_what_does_not_shrink_is_not_compressed(size: int) -> None:
    assert deflate(os.urandom(size), 15) is None


# ---------------------------------------------------------------- inflating


@pytest.mark.parametrize(
    "packed",
    [
        # RFC 7692, 7.2.3: one block, no compression, a last block, two blocks.
        "f248cdc9c90700",
        "000500faff48656c6c6f00",
        "f348cdc9c9070000",
        "f248050000 00ffffcac9c90700".replace(" ", ""),
    ],
)
def test_the_examples_of_rfc_7692_inflate(packed: str) -> None:
    data = bytes.fromhex(packed)
    assert inflate([data]) == b"Hello"
    assert inflate([data[at : at + 1] for at in range(len(data))]) == b"Hello"


@pytest.mark.parametrize("pieces", [[b""], [b"\x00"], [b"\x02\x00"], [b"", b""]])
def test_an_empty_message_inflates_to_nothing(pieces: list[bytes]) -> None:
    assert inflate(pieces) == b""


def test_a_last_block_without_the_byte_that_should_follow_is_taken() -> None:
    assert inflate([bytes.fromhex("f348cdc9c90700")]) == b"Hello"
    assert inflate([bytes.fromhex("f348cdc9c90700"), b""]) == b"Hello"


@pytest.mark.parametrize("level", [0, 1, 6, 9])
@pytest.mark.parametrize("bits", [9, 15])
@pytest.mark.parametrize("size", [1, 1000, 65_535, 65_536, 65_537, 1_000_000])
def test_any_size_inflates_whole(level: int, bits: int, size: int) -> None:
    for data in (bytes(size), random.Random(size).randbytes(size)):
        packed = pack(data, level, bits)
        assert len(packed) <= most_deflated_bytes(size)
        assert inflate([packed]) == data
        assert inflate([packed[:5], packed[5:700], packed[700:], b""]) == data


@pytest.mark.parametrize(
    "packed",
    [
        "ffffffff",  # no such kind of block
        "000500000048656c6c6f00",  # lengths that contradict each other
        "f248cdc9",  # breaks off
        "000500faff4865",  # breaks off inside a stored block
    ],
)
def test_what_was_never_compressed_is_refused(packed: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        inflate([bytes.fromhex(packed)])


def test_a_message_that_refers_to_the_one_before_is_refused() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = random.Random(1).randbytes(500)
    first, second = (
        (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)
        for _ in range(2)
    )
    assert inflate([first]) == data
    with pytest.raises(ValueError, match="distance"):
        inflate([second])


def test_a_message_that_breaks_off_anywhere_is_refused() -> None:
    data = b"The quick brown fox jumps over the lazy dog. " * 3
    packed = pack(data)
    for length in range(1, len(packed) - 1):
        with pytest.raises(ValueError, match=r".+"):
            inflate([packed[:length]])


def test_no_more_is_inflated_than_was_asked_for() -> None:
    inflater = Inflater()
    inflater.feed(pack(bytes(1 << 24)), is_last=True)
    assert len(inflater.read(1000)) == 1000
    assert not inflater.needs_input


@given(st.lists(st.binary(max_size=300), max_size=5), st.integers(1, 40))
def test_any_blocks_in_any_pieces_inflate(blocks: list[bytes], cut: int) -> None:
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    packed = b""
    for block in blocks:
        packed += packer.compress(block) + packer.flush(zlib.Z_SYNC_FLUSH)
    packed = packed.removesuffix(TAIL)
    pieces = [packed[at : at + cut] for at in range(0, len(packed), cut)] or [b""]
    assert inflate(pieces) == b"".join(blocks)


@given(st.binary(max_size=200))
def test_any_bytes_inflate_or_are_refused(data: bytes) -> None:
    try:
        assert len(inflate([data])) >= 0
    except ValueError as error:
        assert str(error)
