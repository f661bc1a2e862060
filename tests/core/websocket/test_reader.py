"""WebSocket frames byte by byte: every case whole, and split at each byte."""

from __future__ import annotations

import itertools
import os
import random
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from websockets.utils import apply_mask

from rtchat.core.websocket.reader import Failure, FrameReader

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MIB = 1 << 20

# The first text of all makes Hypothesis build its table of characters, which takes seconds.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    reserved: int = 0,
    mask: bytes | None = b"\x37\xfa\x21\x3d",
    width: int | None = None,
) -> bytes:
    """Return a client's frame; ``width`` writes the length in 0, 2 or 8 more bytes."""
    size = len(payload)
    if width is None:
        width = 0 if size < 126 else 2 if size < 65536 else 8
    short = {0: size, 2: 126, 8: 127}[width]
    head = bytes(((0x80 if fin else 0) | reserved << 4 | opcode, (0x80 if mask else 0) | short))
    head += size.to_bytes(width, "big") if width else b""
    return head + (mask + apply_mask(payload, mask) if mask else payload)


def deflated(data: bytes) -> bytes:
    """Compress a message as a client does."""
    packer = zlib.compressobj(wbits=-15)
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")


@dataclass
class Result:
    """What a reader made of some bytes."""

    messages: list[tuple[int, bytes]] = field(default_factory=list)
    controls: list[tuple[int, bytes]] = field(default_factory=list)
    begun: bytes = b""
    failure: Failure | None = None
    fed: int = 0

    @property
    def code(self) -> int | None:
        return None if self.failure is None else self.failure.code


def read(
    chunks: Iterable[bytes], max_bytes: int = 16 * MIB, *, is_deflating: bool = False
) -> Result:
    """Feed a reader until it is over; what was fed until then is in the result."""
    reader = FrameReader(max_bytes, apply_mask, is_deflating=is_deflating)
    result, parts = Result(), list[bytes]()
    for chunk in chunks:
        result.fed += len(chunk)
        reader.feed(chunk)
        while (piece := reader.next_piece()) is not None:
            if piece.opcode in (TEXT, BINARY):
                parts.append(piece.data)
                if piece.is_end:
                    result.messages.append((piece.opcode, b"".join(parts)))
                    parts.clear()
            else:
                assert piece.is_end
                result.controls.append((piece.opcode, piece.data))
        if reader.is_over:
            break
    result.begun = b"".join(parts)
    result.failure = reader.failure
    return result


def each_byte(data: bytes) -> Iterator[bytes]:
    return (data[at : at + 1] for at in range(len(data)))


def read_both(data: bytes, **options: bool) -> Result:
    """Read bytes whole and byte by byte: the messages have to be the same."""
    whole, split = read([data], **options), read(each_byte(data), **options)
    assert whole.messages == split.messages
    assert whole.controls == split.controls
    assert whole.failure == split.failure
    check_short_way([data], **options)
    return whole


def check_short_way(
    chunks: Iterable[bytes], max_bytes: int = 16 * MIB, *, is_deflating: bool = False
) -> int:
    """Read bytes the short way where it leads: the stream has to be the same.

    Give how many messages came by it.
    """
    chunks = list(chunks)
    expected = read(chunks, max_bytes, is_deflating=is_deflating)
    reader = FrameReader(max_bytes, apply_mask, is_deflating=is_deflating)
    stream, controls, short = b"", [], 0
    for chunk in chunks:
        reader.feed(chunk)
        while messages := reader.plain_messages():
            stream += b"".join(messages)
            short += len(messages)
        while (piece := reader.next_piece()) is not None:
            if piece.opcode in (TEXT, BINARY):
                stream += piece.data
            else:
                controls.append((piece.opcode, piece.data))
            for message in reader.plain_messages():
                stream += message
                short += 1
        if reader.is_over:
            break
    assert stream == b"".join(data for _, data in expected.messages) + expected.begun
    assert controls == expected.controls
    assert reader.failure == expected.failure
    return short


# ---------------------------------------------------------------- messages


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 125, 126, 127, 128, 65535, 65536, 65537])
def test_a_message_of_any_length_is_read(opcode: int, size: int) -> None:
    payload = (b"0123456789" * (size // 10 + 1))[:size]
    data = frame(opcode, payload)
    assert read([data]).messages == [(opcode, payload)]
    for cut in {1, 2, 3, 5, 7, 11, 13, 15, len(data) - 1}:
        assert read([data[:cut], data[cut:]]).messages == [(opcode, payload)]
    if size < 1000:
        assert read_both(data).messages == [(opcode, payload)]


@pytest.mark.parametrize("mask", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\1\2\3\4"])
def test_any_mask_is_taken_off_wherever_the_payload_is_cut(mask: bytes) -> None:
    payload = bytes(range(256))
    data = frame(BINARY, payload, mask=mask)
    for first, second in itertools.combinations(range(len(data)), 2):
        chunks = [data[:first], data[first:second], data[second:]]
        assert read(chunks).messages == [(BINARY, payload)]


def test_payload_goes_up_as_it_arrives() -> None:
    reader = FrameReader(16 * MIB, apply_mask)
    data = frame(BINARY, bytes(16 * MIB))
    for at in range(0, len(data), 1 << 16):
        reader.feed(data[at : at + (1 << 16)])
        piece = reader.next_piece()
        assert piece is not None
        assert len(piece.data) >= min(1 << 16, len(data) - at) - 14
        assert piece.is_end == (at + (1 << 16) >= len(data))
        assert reader.next_piece() is None
        assert not reader.has_more


def test_a_message_comes_together_from_fragments() -> None:
    data = frame(TEXT, b"he", fin=False) + frame(CONT, b"", fin=False) + frame(CONT, b"llo")
    assert read_both(data + frame(BINARY, b"!")).messages == [(TEXT, b"hello"), (BINARY, b"!")]


def test_fragments_may_all_be_empty() -> None:
    data = frame(BINARY, fin=False) + frame(CONT, fin=False) + frame(CONT)
    assert read_both(data).messages == [(BINARY, b"")]


def test_control_frames_come_between_fragments_in_their_order() -> None:
    data = frame(TEXT, b"he", fin=False) + frame(PING, b"1") + frame(PONG, b"2")
    data += frame(CONT, b"l", fin=False) + frame(PING) + frame(CONT, b"lo")
    result = read_both(data)
    assert result.messages == [(TEXT, b"hello")]
    assert result.controls == [(PING, b"1"), (PONG, b"2"), (PING, b"")]


@pytest.mark.parametrize("opcode", [PING, PONG])
@pytest.mark.parametrize("size", [0, 1, 124, 125])
def test_control_frames_come_whole(opcode: int, size: int) -> None:
    assert read_both(frame(opcode, bytes(size))).controls == [(opcode, bytes(size))]


# ---------------------------------------------------------------- what breaks the rules


BROKEN = {
    "no mask": frame(TEXT, b"hello", mask=None),
    "no mask, empty": frame(TEXT, mask=None),
    "no mask, control": frame(PING, mask=None),
    **{f"reserved {bits}": frame(TEXT, b"x", reserved=bits) for bits in range(1, 8)},
    **{f"reserved {bits}, ping": frame(PING, b"x", reserved=bits) for bits in (1, 2, 4)},
    "reserved, close": frame(CLOSE, b"\x03\xe8", reserved=4),
    **{f"opcode {opcode}": frame(opcode) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "opcode 3 after a fragment": frame(TEXT, b"a", fin=False) + frame(3, fin=False),
    **{f"control {opcode} too long": frame(opcode, bytes(126)) for opcode in (8, 9, 10)},
    **{f"control {opcode} very long": frame(opcode, b"", width=8) for opcode in (8, 9, 10)},
    **{f"control {opcode} in fragments": frame(opcode, fin=False) for opcode in (8, 9, 10)},
    "continuation of nothing": frame(CONT, b"x"),
    "continuation of nothing, not final": frame(CONT, b"x", fin=False),
    "continuation after a whole message": frame(TEXT, b"a") + frame(CONT, b"b"),
    "continuation after a message in fragments": frame(TEXT, b"a", fin=False)
    + frame(CONT, b"b")
    + frame(CONT, b"c"),
    "message inside a message": frame(TEXT, b"a", fin=False) + frame(BINARY, b"b"),
    "message inside a message, not final": frame(TEXT, b"a", fin=False) + frame(TEXT, fin=False),
    "length 0 in two bytes": frame(BINARY, width=2),
    "length 125 in two bytes": frame(BINARY, bytes(125), width=2),
    "length 125 in eight bytes": frame(BINARY, bytes(125), width=8),
    "length 65535 in eight bytes": frame(BINARY, bytes(65535), width=8)[:100],
    "length with its highest bit": b"\x82\xff" + (1 << 63).to_bytes(8, "big") + bytes(4),
    "length of all bits": b"\x82\xff" + b"\xff" * 8 + bytes(4),
    "close of one byte": frame(CLOSE, b"\x03"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_the_protocol_is_1002(name: str) -> None:
    result = read_both(BROKEN[name])
    assert result.code == 1002
    # Nothing is read after that.
    assert read_both(BROKEN[name] + frame(TEXT, b"later")).messages == result.messages


@pytest.mark.parametrize("name", BROKEN)
def test_what_came_before_still_counts(name: str) -> None:
    result = read_both(frame(TEXT, b"before") + frame(PING, b"?") + BROKEN[name])
    assert result.messages[0] == (TEXT, b"before")
    assert result.controls == [(PING, b"?")]
    assert result.code == 1002


@pytest.mark.parametrize(
    "data, fed",
    [
        (frame(TEXT, bytes(50), mask=None), 2),
        (frame(TEXT, bytes(50), reserved=1), 2),
        (frame(3, bytes(50)), 2),
        (frame(PING, bytes(126)), 2),
        (frame(BINARY, bytes(50), width=2), 4),
        (frame(BINARY, bytes(50), width=8), 10),
    ],
)
def test_a_broken_header_is_found_before_the_payload(data: bytes, fed: int) -> None:
    assert read(each_byte(data)).fed == fed


def test_reserved_bits_are_broken_with_compression_too() -> None:
    for reserved in (1, 2, 3, 5, 6, 7):
        assert read_both(frame(TEXT, reserved=reserved), is_deflating=True).code == 1002
    for opcode in (CLOSE, PING, PONG):
        assert read_both(frame(opcode, reserved=4), is_deflating=True).code == 1002
    data = frame(TEXT, deflated(b"a"), reserved=4, fin=False) + frame(CONT, b"", reserved=4)
    assert read_both(data, is_deflating=True).code == 1002


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    "size, width, fed", [(126, 2, 4), (65535, 2, 4), (65536, 8, 10), ((1 << 63) - 1, 8, 10)]
)
def test_a_message_that_is_too_big_is_refused_at_its_header(
    size: int, width: int, fed: int
) -> None:
    header = bytes((0x82, 0x80 | {2: 126, 8: 127}[width])) + size.to_bytes(width, "big")
    result = read(each_byte(header + bytes(8)), 125)
    assert result.failure == Failure(1009, "message is larger than 125 bytes")
    assert result.fed == fed


def test_a_message_of_the_largest_size_is_taken() -> None:
    assert read([frame(BINARY, bytes(125))], 125).messages == [(BINARY, bytes(125))]
    assert read([frame(BINARY, bytes(126))], 125).code == 1009


def test_fragments_are_counted_together() -> None:
    parts = [frame(BINARY, bytes(50), fin=False), frame(PING, bytes(100))]
    parts += [frame(CONT, bytes(50), fin=False), frame(CONT, bytes(25))]
    assert read(parts, 125).messages == [(BINARY, bytes(125))]
    # The next message is counted anew.
    assert len(read(parts * 2, 125).messages) == 2
    parts[-1] = frame(CONT, bytes(26))
    result = read(each_byte(b"".join(parts)), 125)
    assert (result.code, len(result.begun)) == (1009, 100)


# ---------------------------------------------------------------- text


def earliest_fault(data: bytes) -> int | None:
    """Return after how many bytes no UTF-8 text can begin so any more (Unicode 15, table 3-7)."""
    low, high, left = 0x80, 0xBF, 0
    for number, byte in enumerate(data, 1):
        if left:
            if not low <= byte <= high:
                return number
            low, high, left = 0x80, 0xBF, left - 1
        elif 0xC2 <= byte <= 0xDF:
            left = 1
        elif 0xE0 <= byte <= 0xEF:
            left = 2
            low, high = (0xA0, 0xBF) if byte == 0xE0 else (0x80, 0x9F if byte == 0xED else 0xBF)
        elif 0xF0 <= byte <= 0xF4:
            left = 3
            low, high = (0x90, 0xBF) if byte == 0xF0 else (0x80, 0x8F if byte == 0xF4 else 0xBF)
        elif byte >= 0x80:
            return number
    return None


def test_text_that_cannot_become_utf_8_fails_at_the_first_byte_that_says_so() -> None:
    edges = [0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF]
    edges += [0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF]
    for codes in itertools.product(edges, repeat=3):
        for text in (bytes(codes), b"\xf0" + bytes(codes), b"\xf4" + bytes(codes)):
            data = frame(TEXT, text + b"....")[: 6 + len(text)]  # more is to come
            result = read(each_byte(data))
            fault = earliest_fault(text)
            if fault is None:
                assert result.failure is None
            else:
                assert result.failure == Failure(1007, "text message is not UTF-8")
                assert result.fed == 6 + fault


@pytest.mark.parametrize(
    "text",
    [
        b"\xff",
        b"\xc3",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80\x65\x64",
        b"\x80",
        b"a\xe2\x82",
    ],
)
def test_text_that_is_not_utf_8_is_1007(text: bytes) -> None:
    assert read_both(frame(TEXT, text)).code == 1007
    for cut in range(len(text) + 1):
        parts = frame(TEXT, text[:cut], fin=False) + frame(PING) + frame(CONT, text[cut:])
        assert read_both(parts).code == 1007
    assert read_both(frame(TEXT, deflated(text), reserved=4), is_deflating=True).code == 1007
    assert read_both(frame(BINARY, text)).messages == [(BINARY, text)]


@pytest.mark.parametrize(
    "text", ["", "a", "κόσμε", "€", "𝄞", "\0\x7f\x80߿ࠀ\ud7ff\ufffe𐀀\U0010ffff"]
)
def test_text_may_be_cut_anywhere(text: str) -> None:
    data = text.encode()
    assert read_both(frame(TEXT, data)).messages == [(TEXT, data)]
    parts = b"".join(frame(CONT if at else TEXT, part, fin=False) for at, part in
                     enumerate(each_byte(data or b"a")))  # fmt: skip
    assert read_both(parts + frame(CONT)).messages == [(TEXT, data or b"a")]
    assert read_both(frame(TEXT, data) * 2).messages == [(TEXT, data)] * 2


# ---------------------------------------------------------------- close


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999]
)
def test_a_close_with_a_code_is_read(code: int) -> None:
    payload = code.to_bytes(2, "big") + "zurück".encode()
    assert read_both(frame(CLOSE, payload)).controls == [(CLOSE, payload)]


def test_every_other_code_is_1002() -> None:
    allowed = {1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)}
    for code in range(65536):
        result = read([frame(CLOSE, code.to_bytes(2, "big"))])
        assert (result.code is None) == (code in allowed)
        assert result.code in (None, 1002)


@pytest.mark.parametrize("payload", [b"", b"\x03\xe8", b"\x03\xe8" + bytes(123)])
def test_a_close_may_be_empty_or_full(payload: bytes) -> None:
    assert read_both(frame(CLOSE, payload)).controls == [(CLOSE, payload)]


def test_a_reason_that_is_not_utf_8_is_1007() -> None:
    for reason in (b"\xff", b"ok\xe2\x82"):
        assert read_both(frame(CLOSE, b"\x03\xe8" + reason)).code == 1007


@pytest.mark.parametrize(
    "after", [frame(TEXT, b"x"), frame(PING), frame(CLOSE), b"\xff" * 40, frame(CONT, b"y")]
)
def test_nothing_is_read_after_a_close(after: bytes) -> None:
    result = read_both(frame(TEXT, b"a", fin=False) + frame(CLOSE) + after)
    assert (result.messages, result.controls, result.failure) == ([], [(CLOSE, b"")], None)
    reader = FrameReader(100, apply_mask)
    reader.feed(frame(CLOSE) + after)
    assert reader.next_piece() is not None
    reader.feed(after)
    assert reader.next_piece() is None
    assert not reader.has_more


# ---------------------------------------------------------------- compression


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 65536, 300_000])
def test_a_compressed_message_is_inflated(opcode: int, size: int) -> None:
    payload = (b"0123456789" * (size // 10 + 1))[:size]
    data = frame(opcode, deflated(payload), reserved=4)
    assert read_both(data, is_deflating=True).messages == [(opcode, payload)]


def test_compressed_and_plain_messages_may_follow_each_other() -> None:
    data = frame(TEXT, deflated(b"one"), reserved=4) + frame(TEXT, b"two")
    data += frame(BINARY, deflated(b"three"), reserved=4)
    result = read_both(data, is_deflating=True)
    assert result.messages == [(TEXT, b"one"), (TEXT, b"two"), (BINARY, b"three")]


def test_a_compressed_message_may_come_in_fragments_with_pings_between() -> None:
    payload = "Grüße, 世界 ".encode() * 100
    packed = deflated(payload)
    data = frame(TEXT, packed[:1], reserved=4, fin=False)
    for at in range(1, len(packed)):
        data += frame(CONT, packed[at : at + 1], fin=False) + frame(PING, b"%d" % at)
    result = read_both(data + frame(CONT), is_deflating=True)
    assert result.messages == [(TEXT, payload)]
    assert len(result.controls) == len(packed) - 1


def test_a_compressed_message_without_agreement_is_1002() -> None:
    assert read_both(frame(TEXT, deflated(b"hello"), reserved=4)).code == 1002


@pytest.mark.parametrize("packed", [b"\xff\xff\xff\xff", b"\xf2\x48\xcd"])
def test_what_does_not_inflate_is_1002(packed: bytes) -> None:
    assert read_both(frame(BINARY, packed, reserved=4), is_deflating=True).code == 1002


def test_a_message_that_inflates_to_too_much_is_1009_and_stops_there() -> None:
    bomb = frame(BINARY, deflated(bytes(64 * MIB)), reserved=4)
    assert len(bomb) < 100_000
    reader = FrameReader(MIB, apply_mask, is_deflating=True)
    reader.feed(bomb)
    size = 0
    while (piece := reader.next_piece()) is not None:
        assert len(piece.data) <= 32 * 1024
        size += len(piece.data)
    assert size <= MIB
    assert reader.failure == Failure(1009, f"message is larger than {MIB} bytes")


def test_a_compressed_message_may_inflate_to_the_largest_size() -> None:
    for data in (bytes(100_000), os.urandom(100_000)):
        assert len(deflated(data)) != len(data)
        framing = [frame(BINARY, deflated(data), reserved=4)]
        assert read(framing, 100_000, is_deflating=True).messages == [(BINARY, data)]
        assert read(framing, 99_999, is_deflating=True).code == 1009


def test_a_compressed_message_that_cannot_fit_is_refused_at_its_header() -> None:
    head = frame(BINARY, bytes(200_000), reserved=4)[:10]
    assert read([head], 100_000, is_deflating=True).code == 1009


def test_inflated_pieces_are_made_only_when_they_are_asked_for() -> None:
    reader = FrameReader(16 * MIB, apply_mask, is_deflating=True)
    reader.feed(frame(BINARY, deflated(bytes(16 * MIB)), reserved=4) + frame(PING))
    piece = reader.next_piece()
    assert piece is not None
    assert piece.data == bytes(32 * 1024)
    assert reader.has_more


# ---------------------------------------------------------------- anything


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, bytes]], list[bytes]]:
    """Make frames of messages, cut, compressed or not, with control frames between."""
    framing, messages, controls = b"", [], []
    for _ in range(draw(st.integers(0, 5))):
        opcode = draw(st.sampled_from([TEXT, BINARY]))
        if opcode == TEXT:
            payload = draw(st.text(max_size=60)).encode() * draw(st.sampled_from([1, 1, 40]))
        else:
            payload = draw(st.binary(max_size=200)) * draw(st.sampled_from([1, 1, 700]))
        is_deflated = draw(st.booleans())
        packed = deflated(payload) if is_deflated else payload
        cuts = sorted(draw(st.lists(st.integers(0, len(packed)), max_size=4)))
        bounds = [0, *cuts, len(packed)]
        for number, (start, end) in enumerate(itertools.pairwise(bounds)):
            framing += frame(
                CONT if number else opcode,
                packed[start:end],
                fin=number == len(cuts),
                reserved=4 if is_deflated and not number else 0,
                mask=draw(st.binary(min_size=4, max_size=4)),
            )
            if draw(st.booleans()):
                controls.append(draw(st.binary(max_size=125)))
                framing += frame(draw(st.sampled_from([PING, PONG])), controls[-1])
        messages.append((opcode, payload))
    return framing, messages, controls


def chop(data: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    at = 0
    for size in itertools.cycle(sizes):
        if at >= len(data):
            return
        yield data[at : at + size]
        at += size


@patient
@given(conversations(), st.lists(st.integers(1, 70_000) | st.integers(1, 9), min_size=1))
def test_any_conversation_in_any_chunks_is_read(
    conversation: tuple[bytes, list[tuple[int, bytes]], list[bytes]], sizes: list[int]
) -> None:
    framing, messages, controls = conversation
    result = read(chop(framing, sizes), is_deflating=True)
    assert result.failure is None
    assert result.messages == messages
    assert [data for _, data in result.controls] == controls
    check_short_way(chop(framing, sizes), is_deflating=True)


@given(st.binary(max_size=300), st.booleans(), st.integers(1, 20))
@example(b"\x81\xff" + b"\xff" * 20, True, 1)
def test_any_bytes_give_the_same_however_they_are_cut(
    data: bytes, is_deflating: bool, cut: int
) -> None:
    whole = read([data], 1000, is_deflating=is_deflating)
    split = read(chop(data, [cut]), 1000, is_deflating=is_deflating)
    assert whole.failure == split.failure
    assert whole.messages == split.messages
    assert whole.controls == split.controls
    check_short_way([data], 1000, is_deflating=is_deflating)


@patient
@given(conversations(), st.data())
def test_a_conversation_with_one_byte_changed_never_raises(
    conversation: tuple[bytes, list[tuple[int, bytes]], list[bytes]], data: st.DataObject
) -> None:
    framing = bytearray(conversation[0] or frame(TEXT, b"hello"))
    place = data.draw(st.integers(0, min(len(framing) - 1, 200)))
    framing[place] ^= data.draw(st.integers(1, 255))
    result = read([bytes(framing)], 1000, is_deflating=True)
    assert result.code in (None, 1002, 1007, 1009)
    check_short_way([bytes(framing)], 1000, is_deflating=True)


def test_whole_plain_messages_of_one_read_take_the_short_way() -> None:
    payloads = [b"a", b"b" * 125, b"c" * 126, "\u00e9".encode(), b"d" * 127, b"e" * 65535]
    framing = b"".join(frame(opcode, data) for opcode in (TEXT, BINARY) for data in payloads)
    assert check_short_way([framing]) == 12
    assert check_short_way([framing + frame(BINARY, b"half")[:-1], b"f", framing]) == 24


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [1, 5, 125, 126, 300])
@pytest.mark.parametrize("count", [2, 63, 64, 65, 129, 200])
def test_messages_of_one_length_are_taken_as_one_by_one(opcode: int, size: int, count: int) -> None:
    framing = b"".join(
        frame(opcode, bytes([97 + number % 26]) * size, mask=number.to_bytes(4, "big"))
        for number in range(count)
    )
    assert check_short_way([framing]) == count
    assert (
        check_short_way([framing[:-1], framing[-1:] + framing]) == 2 * count - 1
    )  # one came in two reads


runs = st.lists(
    st.tuples(
        st.sampled_from([TEXT, TEXT, BINARY, BINARY, PING, CONT]),
        st.sampled_from([b"a", b"b", b"\xc3\xa9", b"\xff!", b"c" * 130, b"d" * 130, b""]),
        st.integers(1, 70),
        st.integers(0, 2**32 - 1),
    ),
    min_size=1,
    max_size=6,
)


@given(runs=runs, end=st.integers(0, 40), cut=st.integers(0, 3000))
def test_whatever_is_among_messages_of_one_length_is_found(
    runs: list[tuple[int, bytes, int, int]], end: int, cut: int
) -> None:
    framing = b"".join(
        frame(opcode, payload, mask=((key + number) % 2**32).to_bytes(4, "big"))
        for opcode, payload, count, key in runs
        for number in range(count)
    )
    framing = framing[: len(framing) - end]
    check_short_way([framing], 1000)
    check_short_way([framing[:cut], framing[cut:]], 129)


@pytest.mark.parametrize(
    "data",
    [
        frame(BINARY, b""),
        frame(BINARY, b"x" * 65536),
        frame(BINARY, b"x" * 1001),
        frame(BINARY, b"x", width=2),
        frame(BINARY, b"x", fin=False),
        frame(CONT, b"x"),
        frame(BINARY, deflated(b"x" * 100), reserved=4),
        frame(TEXT, b"\xff"),
        frame(TEXT, "\u00e9".encode()[:1]),
        frame(PING, b"x"),
        frame(CLOSE, b"\x03\xe8"),
        frame(BINARY, b"x", mask=None),
        frame(BINARY, b"x", reserved=1),
        frame(3, b"x"),
        frame(BINARY, b"xyz")[:-1],
    ],
)
def test_everything_else_goes_the_long_way(data: bytes) -> None:
    assert check_short_way([data], 1000, is_deflating=True) == 0


# ---------------------------------------------------------------- large


@pytest.mark.parametrize("is_deflated", [False, True])
@pytest.mark.parametrize("size", [MIB, 16 * MIB])
def test_large_messages_in_random_fragments_arrive_unchanged(size: int, is_deflated: bool) -> None:
    dice = random.Random(size)
    payload = dice.randbytes(size // 2) + bytes(size - size // 2)
    packed = deflated(payload) if is_deflated else payload
    framing, at = [], 0
    while at < len(packed):
        end = min(at + dice.randrange(1, 3 * MIB), len(packed))
        reserved = 4 if is_deflated and not at else 0
        fin = end == len(packed)
        opcode = CONT if at else BINARY
        mask = dice.randbytes(4)
        framing += [
            frame(opcode, packed[at:end], fin=fin, reserved=reserved, mask=mask),
            frame(PING),
        ]
        at = end
    data = b"".join(framing)
    sizes = [dice.randrange(1, 1 << 17) for _ in range(100)]
    result = read(chop(data, sizes), is_deflating=is_deflated)
    assert result.failure is None
    assert result.messages == [(BINARY, payload)]
