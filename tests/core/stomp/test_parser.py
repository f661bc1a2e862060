"""Bytes in any chunking become the same frames, and every size limit holds.

Each test reads its bytes three ways: whole, split in two at each byte, and byte by byte. What
comes out has to be the same.
"""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.core import cut
from support.effort import effort
from support.examples import examples
from support.parsing import SEND, SEND_BYTES, Reader, feed_all, frames, message
from support.stomp import frame_bytes

from rtchat.core.stomp.frames import Frame, Version, encode
from rtchat.core.stomp.head_cache import HeadCache
from rtchat.core.stomp.limits import Limits
from rtchat.core.stomp.parser import FrameParser
from rtchat.errors import LimitExceeded, ProtocolError

V10, V11, V12 = Version.V10, Version.V11, Version.V12


# ---------------------------------------------------------------- one frame and many


def test_a_frame_is_read(read: Reader) -> None:
    assert frames(read(SEND_BYTES)) == [SEND]


def test_a_frame_may_be_a_command_alone(read: Reader) -> None:
    assert frames(read(b"DISCONNECT\n\n\0")) == [Frame("DISCONNECT")]


def test_a_stranger_s_frame_is_read(read: Reader) -> None:
    data = b"CONNECT\naccept-version:1.2\npasscode:a\\nb\n\n\0"
    headers = {"accept-version": "1.2", "passcode": "a\\nb"}
    assert frames(read(data, version=None)) == [Frame("CONNECT", headers)]


def test_frames_that_come_in_one_chunk_are_all_read(read: Reader) -> None:
    data = SEND_BYTES + b"UNSUBSCRIBE\nid:1\n\n\0" + SEND_BYTES
    assert frames(read(data)) == [SEND, Frame("UNSUBSCRIBE", {"id": "1"}), SEND]


def test_nothing_is_read_from_nothing(read: Reader) -> None:
    assert frames(read(b"")) == []


@pytest.mark.parametrize("waiting", [b"S", b"SEND\ndestination:/to", b"SEND\r\na:b\r\n\r"])
def test_an_unfinished_head_waits(read: Reader, waiting: bytes) -> None:
    reading = read(SEND_BYTES + waiting)
    assert (reading.frames, reading.error) == ([SEND], None)
    assert reading.buffered_bytes == len(waiting)


@pytest.mark.parametrize("head", [b"SEND\n\n", b"SEND\ncontent-length:5\n\n"])
def test_an_unfinished_body_waits(read: Reader, head: bytes) -> None:
    reading = read(SEND_BYTES + head + b"1234")
    assert (reading.frames, reading.error) == ([SEND], None)
    assert reading.buffered_bytes == 4


@pytest.mark.parametrize("gap", [b"\n", b"\r\n", b"\n\n\n", b"\r\n\n\r\n", b"\n" * 500])
def test_line_ends_between_frames_are_heart_beats(read: Reader, gap: bytes) -> None:
    assert frames(read(gap + SEND_BYTES + gap + SEND_BYTES + gap)) == [SEND, SEND]


def test_heart_beats_alone_are_no_frame(read: Reader) -> None:
    assert frames(read(b"\n\r\n\n")) == []


def test_lines_may_end_with_carriage_return_and_line_feed(read: Reader) -> None:
    data = b"SEND\r\ndestination:/topic/a\r\n\r\nhello\0\r\n"
    assert frames(read(data * 2)) == [SEND, SEND]


@pytest.mark.parametrize(
    "data",
    [
        b"SEND\r\ndestination:/topic/a\r\n\nhello\0",
        b"SEND\ndestination:/topic/a\n\r\nhello\0",
        b"SEND\ndestination:/topic/a\r\n\r\nhello\0",
    ],
)
def test_both_line_ends_may_be_mixed(read: Reader, data: bytes) -> None:
    assert frames(read(data * 2)) == [SEND, SEND]


def test_a_body_keeps_its_carriage_returns_and_line_feeds(read: Reader) -> None:
    body = b"\r\n\n a \r\n\r\n"
    assert frames(read(frame_bytes("SEND", body))) == [Frame("SEND", {}, body)]


@pytest.mark.parametrize(
    "version, headers",
    [
        (V10, {"a": "b\\nc", "d": "e"}),
        (V11, {"a": "b\nc", " d ": " e "}),
        (V12, {"a": "b\nc", " d ": " e "}),
    ],
)
def test_headers_are_read_in_the_version_agreed_on(
    read: Reader, version: Version, headers: dict[str, str]
) -> None:
    data = b"SEND\na:b\\nc\n d : e \n\n\0"
    assert frames(read(data, version=version)) == [Frame("SEND", headers)]


def test_frames_before_a_broken_one_are_read(read: Reader) -> None:
    reading = read(SEND_BYTES + b"SEND\nbroken\n\n\0" + SEND_BYTES)
    assert reading.frames == [SEND]
    assert message(reading) == "a header line without a name and a colon"


@pytest.mark.parametrize(
    "data, expected",
    [
        (b"SEND\na:\xff\n\n\0", "headers are not UTF-8"),
        (b"\xff\xfe\n\n\0", "headers are not UTF-8"),
        (b"SEND\na:\\t\n\n\0", "undefined escape in a header"),
        (b"SEND\n:b\n\n\0", "a header line without a name and a colon"),
    ],
)
def test_a_head_that_is_not_stomp_is_refused(read: Reader, data: bytes, expected: str) -> None:
    assert message(read(data)) == expected


# ---------------------------------------------------------------- NUL bytes


def test_a_nul_byte_ends_a_body_without_content_length(read: Reader) -> None:
    reading = read(b"SEND\n\nab\0cd\n\n\0")
    assert reading.frames == [Frame("SEND", {}, b"ab"), Frame("cd")]


def test_a_body_with_content_length_may_hold_nul_bytes(read: Reader) -> None:
    body = b"\0a\0\0b\0"
    data = frame_bytes("SEND", body, content_length="6")
    assert frames(read(data * 2)) == [Frame("SEND", {"content-length": "6"}, body)] * 2


def test_a_frame_may_forget_its_blank_line(read: Reader) -> None:
    """This is what stomper's DISCONNECT looks like."""
    data = b"DISCONNECT\nreceipt:7\n\0\n"
    assert frames(read(data * 2)) == [Frame("DISCONNECT", {"receipt": "7"})] * 2


def test_a_frame_with_carriage_returns_may_forget_its_blank_line(read: Reader) -> None:
    data = b"DISCONNECT\r\nreceipt:7\r\n\0"
    assert frames(read(data)) == [Frame("DISCONNECT", {"receipt": "7"})]


def test_a_command_alone_may_forget_its_blank_line(read: Reader) -> None:
    assert frames(read(b"DISCONNECT\n\0")) == [Frame("DISCONNECT")]


@pytest.mark.parametrize(
    "data",
    [b"SEND\na:b\0c\n\n\0", b"SEND\na\0:b\n\n\0", b"SE\0ND\n\n\0", b"DISCONNECT\0"],
)
@pytest.mark.parametrize("version", [None, V12])
def test_a_nul_byte_inside_the_headers_is_refused(
    read: Reader, data: bytes, version: Version | None
) -> None:
    reading = read(data, version=version)
    assert reading.frames == []
    assert message(reading) == "a NUL byte inside the headers"


@pytest.mark.parametrize("gap", [b"\0", b"\0\0\0", b"\n\0\n", b"\0\r\n", b"\r\n\0\r\n\0"])
@pytest.mark.parametrize("version", [None, *Version])
def test_nul_bytes_between_frames_are_skipped(
    read: Reader, gap: bytes, version: Version | None
) -> None:
    assert frames(read(gap + SEND_BYTES + gap + SEND_BYTES + gap, version=version)) == [SEND, SEND]


# ---------------------------------------------------------------- carriage returns


@pytest.mark.parametrize(
    "head", [b"a:b\rc", b"a\rb:c", b"a:\rb", b"\ra:b", b"a:b\r\r", b"a:b\\r\r\r", b"a:b\nc:d\re"]
)
@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\n\r\n", b"\n\0"])
def test_in_1_2_a_carriage_return_in_a_header_is_refused(
    read: Reader, head: bytes, end: bytes
) -> None:
    reading = read(SEND_BYTES + b"SEND\n" + head + end + b"\0")
    assert reading.frames == [SEND]
    assert message(reading) == "a carriage return inside a header"


@pytest.mark.parametrize("version", [V10, V11])
def test_before_1_2_a_carriage_return_in_a_header_is_a_value(
    read: Reader, version: Version
) -> None:
    [frame] = frames(read(b"SEND\na:b\rc\r\n\r\n\0", version=version))
    assert frame.headers == {"a": "b\rc"}


@pytest.mark.parametrize("command", ["CONNECT", "STOMP"])
@pytest.mark.parametrize(
    "versions, is_refused", [("1.2", True), ("1.0,1.2", True), ("1.1", False), ("", False)]
)
def test_at_login_it_depends_on_the_versions(
    read: Reader, command: str, versions: str, is_refused: bool
) -> None:
    more = f"accept-version:{versions}\n" if versions else ""
    reading = read(f"{command}\npasscode:a\rb\n{more}\n\0".encode(), version=None)
    if is_refused:
        assert message(reading) == "a carriage return inside a header"
    else:
        assert frames(reading)[0].headers["passcode"] == "a\rb"


@pytest.mark.parametrize("gap", [b"\r", b"\r\r\n", b"\n\r", b"\r\0", b"\r\n\r", b"\0\r\r\n"])
def test_in_1_2_a_lone_carriage_return_between_frames_is_refused(read: Reader, gap: bytes) -> None:
    reading = read(SEND_BYTES + gap + SEND_BYTES)
    assert reading.frames == [SEND]
    assert message(reading) == "a carriage return between frames"


@pytest.mark.parametrize("version", [None, V10, V11])
def test_before_1_2_any_end_of_line_is_skipped(read: Reader, version: Version | None) -> None:
    assert frames(read(b"\r" + SEND_BYTES + b"\r\r\n" + SEND_BYTES, version=version)) == [
        SEND,
        SEND,
    ]


# ---------------------------------------------------------------- content-length


@pytest.mark.parametrize("body", [b"", b"a", b"a\n\nb", b"x" * 700])
def test_content_length_says_how_long_the_body_is(read: Reader, body: bytes) -> None:
    length = str(len(body))
    data = frame_bytes("SEND", body, content_length=length)
    assert (
        frames(read(data + b"\n" + data)) == [Frame("SEND", {"content-length": length}, body)] * 2
    )


def test_content_length_may_have_leading_zeros(read: Reader) -> None:
    reading = read(b"SEND\ncontent-length:002\n\n\0\0\0")
    assert [frame.body for frame in frames(reading)] == [b"\0\0"]


def test_the_first_content_length_counts(read: Reader) -> None:
    reading = read(b"SEND\ncontent-length:2\ncontent-length:9\n\nab\0")
    assert [frame.body for frame in frames(reading)] == [b"ab"]


@pytest.mark.parametrize(
    "text",
    ["", "-1", "+1", "1.0", "0x2", "two", " 2", "2 ", "1_0", "²", "٢", "9" * 19, "9" * 5000],
)
def test_a_content_length_that_is_not_a_number_is_refused(read: Reader, text: str) -> None:
    reading = read(f"SEND\ncontent-length:{text}\n\nab\0".encode())
    assert message(reading) == "content-length is not a number"


@pytest.mark.parametrize(
    "data", [b"SEND\ncontent-length:1\n\nab\0", b"SEND\ncontent-length:0\n\na"]
)
def test_a_body_longer_than_its_content_length_is_refused(read: Reader, data: bytes) -> None:
    reading = read(data)
    assert message(reading) == "content-length does not fit the body"


OTHERS = ["SUBSCRIBE", "UNSUBSCRIBE", "ACK", "NACK", "BEGIN", "COMMIT", "ABORT", "DISCONNECT"]


@pytest.mark.parametrize("text", ["0", "2", "5", "99999999999", "x", "-1", ""])
@pytest.mark.parametrize("command", [*OTHERS, "CONNECT", "STOMP", "FOO"])
def test_content_length_counts_on_send_only(read: Reader, command: str, text: str) -> None:
    """Clients copy the headers of a MESSAGE to their ACK."""
    data = frame_bytes(command, content_length=text, id="7")
    expected = [Frame(command, {"content-length": text, "id": "7"}), SEND]
    version = None if command in ("CONNECT", "STOMP") else V12
    for one in {version, None, *Version} if version is not None else {None}:
        assert frames(read(data + SEND_BYTES, limits=SMALL, version=one)) == expected


@pytest.mark.parametrize("version", list(Version))
def test_a_body_where_none_may_be_ends_at_its_nul(read: Reader, version: Version) -> None:
    data = frame_bytes("SUBSCRIBE", b"ab", content_length="9")
    expected = [Frame("SUBSCRIBE", {"content-length": "9"}, b"ab"), SEND]
    assert frames(read(data + SEND_BYTES, version=version)) == expected


def test_a_body_shorter_than_its_content_length_runs_into_the_next_frame(read: Reader) -> None:
    reading = read(b"SEND\ncontent-length:5\n\nab\0" + SEND_BYTES)
    assert reading.frames == []
    assert message(reading) == "content-length does not fit the body"


# ---------------------------------------------------------------- limits after login

SMALL = Limits(max_login_bytes=200, max_frame_bytes=50, max_headers=4, max_header_bytes=30)


@pytest.mark.parametrize("length", [49, 50])
@pytest.mark.parametrize("has_length", [True, False])
def test_a_body_up_to_the_limit_passes(read: Reader, length: int, has_length: bool) -> None:
    headers = {"content_length": str(length)} if has_length else {}
    data = frame_bytes("SEND", b"x" * length, **headers)
    assert [len(frame.body) for frame in frames(read(data, limits=SMALL))] == [length]


@pytest.mark.parametrize("has_length", [True, False])
def test_a_body_over_the_limit_is_refused(read: Reader, has_length: bool) -> None:
    headers = {"content_length": "51"} if has_length else {}
    reading = read(frame_bytes("SEND", b"x" * 51, **headers), limits=SMALL)
    assert isinstance(reading.error, LimitExceeded)
    assert message(reading) == "frame over the limit of 50 bytes"
    assert "frame.max_bytes" in reading.error.detail


def test_a_body_is_refused_by_its_content_length_before_it_comes(read: Reader) -> None:
    reading = read(b"SEND\ncontent-length:51\n\n", limits=SMALL)
    assert message(reading) == "frame over the limit of 50 bytes"


def test_a_body_without_content_length_is_refused_while_it_comes(read: Reader) -> None:
    reading = read(b"SEND\n\n" + b"x" * 51, limits=SMALL)
    assert message(reading) == "frame over the limit of 50 bytes"


def test_a_body_of_the_limit_s_size_may_still_wait_for_its_end(read: Reader) -> None:
    assert read(b"SEND\n\n" + b"x" * 50, limits=SMALL).error is None


def headers_of(count: int, eol: str = "\n") -> str:
    return "".join(f"h{number}:v{eol}" for number in range(count))


@pytest.mark.parametrize("eol", ["\n", "\r\n"])
@pytest.mark.parametrize("version", [None, V10, V11, V12])
class TestHeaderLimits:
    """They are the same before and after login."""

    @pytest.mark.parametrize("count", [3, 4])
    def test_headers_up_to_the_limit_pass(
        self, read: Reader, version: Version | None, eol: str, count: int
    ) -> None:
        data = f"SEND{eol}{headers_of(count, eol)}{eol}\0".encode()
        read_frames = frames(read(data * 3, limits=SMALL, version=version))
        assert [len(frame.headers) for frame in read_frames] == [count] * 3

    def test_more_headers_than_the_limit_are_refused(
        self, read: Reader, version: Version | None, eol: str
    ) -> None:
        data = f"SEND{eol}{headers_of(5, eol)}{eol}\0".encode()
        reading = read(data, limits=SMALL, version=version)
        assert isinstance(reading.error, LimitExceeded)
        assert message(reading) == "more than 4 headers"
        assert "header.max_count" in reading.error.detail

    def test_too_many_headers_are_refused_while_they_come(
        self, read: Reader, version: Version | None, eol: str
    ) -> None:
        before = f"SEND{eol}a:{'x' * 28}{eol}{eol}\0"
        data = f"{before}SEND{eol}{headers_of(5, eol)}".encode()
        assert message(read(data, limits=SMALL, version=version)) == "more than 4 headers"

    def test_repeated_headers_count_each(
        self, read: Reader, version: Version | None, eol: str
    ) -> None:
        data = f"SEND{eol}{f'a:b{eol}' * 5}{eol}\0".encode()
        assert message(read(data, limits=SMALL, version=version)) == "more than 4 headers"

    @pytest.mark.parametrize("length", [29, 30])
    def test_a_header_up_to_the_limit_passes(
        self, read: Reader, version: Version | None, eol: str, length: int
    ) -> None:
        value = "x" * (length - 2)
        data = f"SEND{eol}a:{value}{eol}b:{value}{eol}{eol}\0".encode()
        [frame] = frames(read(data, limits=SMALL, version=version))
        assert frame.headers == {"a": value, "b": value}

    @pytest.mark.parametrize("before", ["", "a:b"])
    def test_a_header_over_the_limit_is_refused(
        self, read: Reader, version: Version | None, eol: str, before: str
    ) -> None:
        lines = ["SEND", *([before] if before else []), "c:" + "x" * 29, "", "\0"]
        reading = read(eol.join(lines).encode(), limits=SMALL, version=version)
        assert isinstance(reading.error, LimitExceeded)
        assert message(reading) == "header over the limit of 30 bytes"
        assert "header.max_bytes" in reading.error.detail

    def test_a_header_over_the_limit_is_refused_while_it_comes(
        self, read: Reader, version: Version | None, eol: str
    ) -> None:
        data = f"SEND{eol}c:{'x' * 30}".encode()
        reading = read(data, limits=SMALL, version=version)
        assert message(reading) == "header over the limit of 30 bytes"

    def test_a_command_over_the_limit_is_refused_while_it_comes(
        self, read: Reader, version: Version | None, eol: str
    ) -> None:
        reading = read(b"X" * 32, limits=SMALL, version=version)
        assert message(reading) == "header over the limit of 30 bytes"

    def test_a_header_is_measured_in_bytes(
        self, read: Reader, version: Version | None, eol: str
    ) -> None:
        data = f"SEND{eol}a:{'é' * 15}{eol}{eol}\0".encode()
        reading = read(data, limits=SMALL, version=version)
        assert message(reading) == "header over the limit of 30 bytes"


def test_the_largest_head_that_the_limits_allow_passes(read: Reader) -> None:
    line = "a:" + "x" * 28
    data = "\r\n".join(["C" * 30, line, line, line, line, "", "\0"]).encode()
    [frame] = frames(read(data, limits=SMALL))
    assert (frame.command, frame.headers) == ("C" * 30, {"a": "x" * 28})


def test_finished_lines_that_are_too_long_are_called_headers_not_bodies(read: Reader) -> None:
    reading = read(b"SEND\na:" + b"x" * 500 + b"\n", limits=SMALL)
    assert message(reading) == "header over the limit of 30 bytes"


# ---------------------------------------------------------------- limits before login

WIDE_HEADERS = replace(SMALL, max_header_bytes=1000)
NARROW = replace(SMALL, max_frame_bytes=10)


def login(size: int, eol: str = "\n") -> bytes:
    """Return a CONNECT whose head has that many bytes."""
    start = f"CONNECT{eol}login:"
    end = "\r" if eol == "\r\n" else ""
    return f"{start}{'x' * (size - len(start) - len(end))}{eol}{eol}\0".encode()


@pytest.mark.parametrize("eol", ["\n", "\r\n"])
@pytest.mark.parametrize("size", [199, 200])
def test_a_login_up_to_the_limit_passes(read: Reader, size: int, eol: str) -> None:
    reading = read(login(size, eol), limits=WIDE_HEADERS, version=None)
    assert [frame.command for frame in frames(reading)] == ["CONNECT"]


@pytest.mark.parametrize("eol", ["\n", "\r\n"])
def test_a_login_over_the_limit_is_refused(read: Reader, eol: str) -> None:
    reading = read(login(201, eol), limits=WIDE_HEADERS, version=None)
    assert isinstance(reading.error, LimitExceeded)
    assert message(reading) == "frame over the limit of 200 bytes before login"


def test_a_login_over_the_limit_is_refused_while_it_comes(read: Reader) -> None:
    reading = read(login(300)[:203], limits=WIDE_HEADERS, version=None)
    assert message(reading) == "frame over the limit of 200 bytes before login"


def login_with_body(size: int, *, has_length: bool) -> bytes:
    """Return a CONNECT whose head and body have that many bytes together."""
    head = b"CONNECT\ncontent-length:%03d" if has_length else b"CONNECT"
    length = size - (len(head % 0) if has_length else len(head))
    return (head % length if has_length else head) + b"\n\n" + b"x" * length + b"\0"


@pytest.mark.parametrize("has_length", [True, False])
@pytest.mark.parametrize("size", [199, 200])
def test_head_and_body_together_may_reach_the_limit_before_login(
    read: Reader, size: int, has_length: bool
) -> None:
    data = login_with_body(size, has_length=has_length)
    [frame] = frames(read(data, limits=SMALL, version=None))
    assert len(data) == size + 3
    assert len(frame.body) > 150


@pytest.mark.parametrize("has_length", [True, False])
def test_head_and_body_together_may_not_pass_the_limit_before_login(
    read: Reader, has_length: bool
) -> None:
    data = login_with_body(201, has_length=has_length)
    reading = read(data, limits=SMALL, version=None)
    assert message(reading) == "frame over the limit of 200 bytes before login"


def test_a_content_length_is_refused_before_its_body_comes_before_login(read: Reader) -> None:
    reading = read(b"SEND\ncontent-length:199\n\n", limits=SMALL, version=None)
    assert message(reading) == "frame over the limit of 200 bytes before login"


def test_a_body_is_refused_while_it_comes_before_login(read: Reader) -> None:
    reading = read(b"CONNECT\n\n" + b"x" * 194, limits=SMALL, version=None)
    assert message(reading) == "frame over the limit of 200 bytes before login"


def test_the_frame_limit_does_not_hold_before_login(read: Reader) -> None:
    data = b"CONNECT\n\n" + b"x" * 60 + b"\0"
    [frame] = frames(read(data, limits=NARROW, version=None))
    assert len(frame.body) == 60


def test_the_login_limit_does_not_hold_after_login(read: Reader) -> None:
    limits = Limits(max_login_bytes=20)
    data = frame_bytes("SEND", b"x" * 300, destination="/topic/" + "y" * 300)
    [frame] = frames(read(data, limits=limits))
    assert len(frame.body) == 300


def test_heart_beats_count_for_no_limit(read: Reader) -> None:
    reading = read(b"\n" * 400 + login(200), limits=WIDE_HEADERS, version=None)
    assert len(frames(reading)) == 1


class TestTheLimitsOfTheContract:
    """64 KiB before login; 4 MiB, 100 headers of 8 KiB afterwards."""

    @pytest.mark.parametrize("size", [65535, 65536])
    def test_a_login_of_64_kib_passes(self, read: Reader, size: int) -> None:
        head = b"CONNECT\naccept-version:1.2"
        data = head + b"\n\n" + b"x" * (size - len(head)) + b"\0"
        assert len(frames(read(data, version=None))) == 1

    def test_a_login_over_64_kib_is_refused(self, read: Reader) -> None:
        head = b"CONNECT\naccept-version:1.2"
        data = head + b"\n\n" + b"x" * (65537 - len(head))
        assert message(read(data, version=None)) == (
            "frame over the limit of 65536 bytes before login"
        )

    @pytest.mark.parametrize("length", [4 * 2**20 - 1, 4 * 2**20])
    def test_a_body_of_4_mib_passes(self, length: int) -> None:
        data = b"SEND\n\n" + b"x" * length + b"\0"
        chunks = cut(data, *range(65536, len(data), 65536))
        [frame] = frames(feed_all(chunks))
        assert len(frame.body) == length

    def test_a_body_over_4_mib_is_refused(self) -> None:
        data = b"SEND\n\n" + b"x" * (4 * 2**20 + 1)
        reading = feed_all(cut(data, *range(65536, len(data), 65536)))
        assert message(reading) == "frame over the limit of 4194304 bytes"

    @pytest.mark.parametrize("count", [99, 100])
    def test_100_headers_pass(self, read: Reader, count: int) -> None:
        [frame] = frames(read(f"SEND\n{headers_of(count)}\n\0".encode()))
        assert len(frame.headers) == count

    def test_101_headers_are_refused(self, read: Reader) -> None:
        assert message(read(f"SEND\n{headers_of(101)}\n\0".encode())) == "more than 100 headers"

    @pytest.mark.parametrize("length", [8191, 8192])
    def test_a_header_of_8_kib_passes(self, read: Reader, length: int) -> None:
        data = b"SEND\na:" + b"x" * (length - 2) + b"\n\n\0"
        assert len(frames(read(data))) == 1

    def test_a_header_over_8_kib_is_refused(self, read: Reader) -> None:
        data = b"SEND\na:" + b"x" * 8191 + b"\n\n\0"
        assert message(read(data)) == "header over the limit of 8192 bytes"

    def test_100_headers_of_8_kib_pass(self) -> None:
        lines = [b"%08d:%b" % (number, b"x" * 8183) for number in range(100)]
        data = b"\n".join([b"SEND", *lines, b"", b"\0"])
        for size in (65536, 1000):
            [frame] = frames(feed_all(cut(data, *range(size, len(data), size))))
            assert len(frame.headers) == 100


# ---------------------------------------------------------------- between two frames


def test_version_and_limits_change_between_two_frames_of_one_chunk() -> None:
    parser = FrameParser(SMALL)
    send = frame_bytes("SEND", b"x" * 40, a="b\\nc")
    parser.feed(b"CONNECT\nlogin:a\\nb\n\n\0" + send)
    assert parser.next_frame() == Frame("CONNECT", {"login": "a\\nb"})
    parser.log_in(V11)
    assert parser.next_frame() == Frame("SEND", {"a": "b\nc"}, b"x" * 40)
    assert parser.next_frame() is None


def test_a_frame_s_bytes_are_let_go_once_it_is_read() -> None:
    """An idle connection must not hold the last large message that it sent."""
    parser = FrameParser(Limits())
    parser.log_in(V12)
    tracemalloc.start()
    try:
        for chunk in cut(b"SEND\n\n" + b"x" * 1_000_000 + b"\0", 500_000):
            parser.feed(chunk)
            while parser.next_frame():
                pass
        del chunk
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held_bytes < 100_000


def test_a_frame_does_not_change_when_more_bytes_come() -> None:
    parser = FrameParser(Limits())
    parser.log_in(V12)
    for chunk in cut(SEND_BYTES, 28):
        parser.feed(chunk)
        frame = parser.next_frame()
    assert frame is not None
    parser.feed(b"x" * 100)
    parser.feed(b"y" * 100)
    assert frame == SEND
    assert type(frame.body) is bytes


# ---------------------------------------------------------------- any frames, any bytes

CHUNK_SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=20)


def in_chunks(data: bytes, sizes: list[int]) -> list[bytes]:
    """Cut bytes into chunks of these sizes, over and over."""
    chunks = []
    while data:
        for size in sizes:
            chunks.append(data[:size])
            data = data[size:]
    return chunks


def fits(version: Version, text: str) -> str:
    """Return the text as the version can carry it."""
    if version is V10:
        return " ".join(text.replace("\r", "\n").split("\n")).strip()
    # 1.1 has no escape for a carriage return, and takes one at a line's end for its end.
    return text.replace("\r", "") if version is V11 else text


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
SPECIAL_TEXT = st.text("\r\n:\\cnrt aé", max_size=8)
BODY = st.one_of(st.binary(max_size=60), st.text("\0\r\nSEND:", max_size=30).map(str.encode))


@st.composite
def any_frames(draw: st.DrawFn, version: Version) -> list[Frame]:
    made = []
    for _ in range(draw(st.integers(1, 4))):
        text = TEXT | SPECIAL_TEXT
        pairs = draw(st.dictionaries(text, text, max_size=4))
        headers = {}
        for name, value in pairs.items():
            name = fits(version, name)
            if version is V10:
                name = name.replace(":", " ").strip()
            if name and name != "content-length":
                headers[name] = fits(version, value)
        command = draw(st.sampled_from(["SEND", "MESSAGE", "ACK"]))
        body = draw(BODY)
        if command == "ACK":
            body = body.replace(b"\0", b"")
            if draw(st.booleans()):
                headers["content-length"] = draw(st.sampled_from(["0", "5", "-1", "", "9" * 30]))
        elif b"\0" in body or draw(st.booleans()):
            headers["content-length"] = str(len(body))
        made.append(Frame(command, headers, body))
    return made


@pytest.mark.parametrize("version", list(Version))
@settings(max_examples=examples(100, 3000), deadline=None)
@given(data=st.data())
def test_any_frames_come_back_whatever_the_chunks(version: Version, data: st.DataObject) -> None:
    sent = data.draw(any_frames(version))
    stream = b"".join(
        encode(frame.command, frame.headers, frame.body, version)
        + data.draw(st.sampled_from([b"", b"\n", b"\r\n\n", b"\0", b"\n\0\r\n"]))
        for frame in sent
    )
    chunks = in_chunks(stream, data.draw(CHUNK_SIZES))
    assert frames(feed_all(chunks, version=version)) == sent


@settings(max_examples=examples(100, 3000), deadline=None)
@given(data=st.data())
def test_login_frames_come_back_whatever_the_chunks(data: st.DataObject) -> None:
    text = st.text(st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"]))
    names = st.text(st.characters(exclude_characters="\0\r\n:", exclude_categories=["Cs"]))
    headers = data.draw(st.dictionaries(names.filter(bool), text, max_size=5))
    headers.pop("content-length", None)
    sent = Frame(data.draw(st.sampled_from(["CONNECT", "STOMP"])), headers)
    chunks = in_chunks(encode(sent.command, headers), data.draw(CHUNK_SIZES))
    assert frames(feed_all(chunks, version=None)) == [sent]


TOKENS = st.sampled_from(
    [
        *(b"SEND", b"CONNECT", b"MESSAGE", b"\n", b"\n", b"\n", b"\n\n", b"\r\n", b"\r", b"\0"),
        *(b"\0", b":", b"a:b\n", b"\\", b"\\c", b"content-length:", b"0", b"3", b"99999", b"x"),
        *(b"content-length:2\n\n", b"\xff", b"\xc3\xa9", b" ", b"x" * 31, SEND_BYTES),
    ]
)
GARBAGE = st.one_of(st.binary(max_size=300), st.lists(TOKENS, max_size=60).map(b"".join))


@pytest.mark.parametrize("version", [None, *Version])
@settings(max_examples=examples(100, 3000), deadline=None)
@example(data=b"\n\r\0", sizes=[1])
@example(data=b"SEND\n\n\0" * 5 + b"\0", sizes=[3])
@given(data=GARBAGE, sizes=CHUNK_SIZES)
def test_any_bytes_give_the_same_whatever_the_chunks(
    version: Version | None, data: bytes, sizes: list[int]
) -> None:
    """Frames, then perhaps one ProtocolError; another exception would fail this test."""
    once = feed_all([data], limits=SMALL, version=version)
    chunked = feed_all(in_chunks(data, sizes), limits=SMALL, version=version)
    cached = feed_all(in_chunks(data, sizes), limits=SMALL, version=version, cache=CACHE)
    assert once.frames == chunked.frames == cached.frames
    # What is wrong in two ways may be refused for either, whichever is seen first.
    assert (once.error is None) == (chunked.error is None) == (cached.error is None)
    for frame in once.frames:
        assert len(frame.body) <= (SMALL.max_login_bytes if version is None else 50)
        assert len(frame.headers) <= SMALL.max_headers


CACHE = HeadCache(max_heads=50)
"""Shared by all examples: what one publisher sent must not change what another one's bytes mean."""

LONGEST_HEAD = (SMALL.max_headers + 1) * (SMALL.max_header_bytes + 2) + 2


@pytest.mark.parametrize("version", [None, *Version])
@settings(max_examples=examples(100, 3000), deadline=None)
@given(data=st.lists(TOKENS, max_size=400).map(b"".join), sizes=CHUNK_SIZES)
def test_what_waits_for_its_end_stays_within_the_limits(
    version: Version | None, data: bytes, sizes: list[int]
) -> None:
    reading = feed_all(in_chunks(data, sizes), limits=SMALL, version=version)
    most = SMALL.max_login_bytes + 2 if version is None else LONGEST_HEAD
    assert reading.most_buffered_bytes <= most


@pytest.mark.parametrize("version", [None, *Version])
@pytest.mark.parametrize(
    "chunk", [b"x", b"a:b\n", b"\r", b"x\r", b"SEND\n\n", b"\xff\xfe", b"ab\n"]
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_stream_without_end_is_refused_soon(
    version: Version | None, chunk: bytes, size: int
) -> None:
    """SessionTransport ends alone are heart-beats and may go on for ever."""
    stream = (b"SEND\n" + chunk * 1000)[:1000]
    reading = feed_all(in_chunks(stream, [size]), limits=SMALL, version=version)
    assert isinstance(reading.error, ProtocolError)
    assert reading.fed_bytes <= LONGEST_HEAD + 60 + size


def test_feeding_a_large_head_in_small_chunks_takes_time_in_proportion() -> None:
    """Looking at all of it again for each chunk would take a hundred times as long."""
    data = b"SEND\n" + b"".join(b"%02d:%b\n" % (at, b"x" * 8000) for at in range(100)) + b"\n\0"
    chunks = cut(data, *range(100, len(data), 100))
    [frame] = frames(feed_all(chunks))
    assert effort(lambda: feed_all(chunks)) < 100
    assert len(frame.headers) == 100


def test_feeding_a_large_body_in_small_chunks_takes_time_in_proportion() -> None:
    """Each byte is looked at a bounded number of times, so that no client can keep us busy."""
    looked_at = 0

    class Counting(bytearray):
        def find(self, *where: object) -> int:
            nonlocal looked_at
            looked_at += len(self) - int(where[1])  # type: ignore[call-overload]
            return super().find(*where)  # type: ignore[arg-type]

    parser = FrameParser(Limits())
    parser.log_in(V12)
    # A beginning of less than 4 KiB is copied with each read, which is little enough.
    for chunk in (b"SEND\n\n", b"x" * 5000, b"x"):
        parser.feed(chunk)
        assert parser.next_frame() is None
    parser._buffer = Counting(parser._buffer)
    for _ in range(2000):
        parser.feed(b"x" * 10)
        assert parser.next_frame() is None
    assert 20_000 <= looked_at <= 2 * 20_000
