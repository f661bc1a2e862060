"""Header escapes of each version, and frames as bytes."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.core import read_one

from rtchat.core.stomp.frames import (
    HEARTBEAT,
    Frame,
    Head,
    Version,
    body_bytes,
    encode,
    encode_headers,
    escape,
    header_values,
    parse_head,
    unescape,
)
from rtchat.errors import ProtocolError

V10, V11, V12 = Version.V10, Version.V11, Version.V12
EVERY_VERSION = pytest.mark.parametrize("version", list(Version))


# ---------------------------------------------------------------- escapes


@pytest.mark.parametrize(
    "plain, version, wire",
    [
        ("a\\b", V11, "a\\\\b"),
        ("a\nb", V11, "a\\nb"),
        ("a:b", V11, "a\\cb"),
        ("a\\b", V12, "a\\\\b"),
        ("a\nb", V12, "a\\nb"),
        ("a:b", V12, "a\\cb"),
        ("a\rb", V12, "a\\rb"),
        ("\\n", V11, "\\\\n"),
        ("\\n", V12, "\\\\n"),
        ("\r\n:\\", V12, "\\r\\n\\c\\\\"),
        ("grüße, 世界 ☃", V11, "grüße, 世界 ☃"),
        ("", V12, ""),
    ],
)
def test_a_version_s_escapes_work_both_ways(plain: str, version: Version, wire: str) -> None:
    assert escape(plain, version) == wire
    assert unescape(wire, version) == plain


def test_stomp_1_1_has_no_escape_for_carriage_returns() -> None:
    assert escape("a\rb", V11) == "a\rb"


def test_stomp_1_0_has_no_escapes() -> None:
    assert escape("a\\b\\nc:d", V10) == "a\\b\\nc:d"
    assert unescape("a\\b\\nc\\td", V10) == "a\\b\\nc\\td"


@pytest.mark.parametrize(
    "wire", ["\\t", "a\\tb", "\\", "a\\", "\\N", "\\ n", "\\\\\\", "\\é", "\\\n"]
)
@pytest.mark.parametrize("version", [V11, V12])
def test_an_undefined_escape_is_refused(wire: str, version: Version) -> None:
    with pytest.raises(ProtocolError, match="undefined escape") as refused:
        unescape(wire, version)
    assert version.value in refused.value.detail


def test_the_escape_that_1_2_added_is_undefined_in_1_1() -> None:
    with pytest.raises(ProtocolError, match="undefined escape"):
        unescape("a\\rb", V11)


def test_a_line_break_in_a_value_becomes_a_space_in_1_0() -> None:
    assert escape("a\r\nforged:b", V10) == "a  forged:b"


def test_a_colon_or_line_break_in_a_name_becomes_a_space_in_1_0() -> None:
    assert escape("a:b\nc\rd", V10, is_name=True) == "a b c d"


@pytest.mark.parametrize("version", [V11, V12])
@given(text=st.text())
def test_any_text_comes_back_from_its_escaped_form(version: Version, text: str) -> None:
    wire = escape(text, version)
    assert "\n" not in wire
    assert ":" not in wire
    assert unescape(wire, version) == text


@EVERY_VERSION
@given(name=st.text(min_size=1), value=st.text())
def test_no_header_can_forge_another_one(version: Version, name: str, value: str) -> None:
    lines = encode_headers([(name, value)], version).decode().split("\n")
    assert len(lines) == 2
    assert lines[1] == ""
    assert lines[0].count(":") >= 1
    assert lines[0].partition(":")[0] == escape(name, version, is_name=True)


# ---------------------------------------------------------------- reading a head


@EVERY_VERSION
def test_a_head_is_a_command_and_headers(version: Version) -> None:
    assert parse_head(b"SEND\ndestination:/topic/a\nx:y", version) == (
        "SEND",
        {"destination": "/topic/a", "x": "y"},
    )


@EVERY_VERSION
def test_a_head_may_be_a_command_alone(version: Version) -> None:
    assert parse_head(b"DISCONNECT", version) == ("DISCONNECT", {})


@EVERY_VERSION
def test_the_first_of_repeated_headers_wins(version: Version) -> None:
    assert parse_head(b"SEND\na:1\nb:2\na:3", version)[1] == {"a": "1", "b": "2"}


@pytest.mark.parametrize("version", [V11, V12])
def test_repeated_headers_are_compared_by_what_they_mean(version: Version) -> None:
    assert parse_head(b"SEND\na\\c:1\na\\c:2", version)[1] == {"a:": "1"}


def test_repeated_headers_are_compared_after_trimming_in_1_0() -> None:
    assert parse_head(b"SEND\na:1\na :2", V10)[1] == {"a": "1"}


@EVERY_VERSION
def test_headers_are_utf_8(version: Version) -> None:
    assert parse_head("SEND\nnaïve:日本".encode(), version)[1] == {"naïve": "日本"}


@EVERY_VERSION
@pytest.mark.parametrize("data", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf"])
def test_headers_that_are_not_utf_8_are_refused(version: Version, data: bytes) -> None:
    with pytest.raises(ProtocolError, match="not UTF-8") as refused:
        parse_head(b"SEND\na:" + data, version)
    assert "Byte 7" in refused.value.detail


def test_headers_are_trimmed_in_1_0() -> None:
    assert parse_head(b"SEND\n login : a b \nx:", V10)[1] == {"login": "a b", "x": ""}


@pytest.mark.parametrize("version", [V11, V12])
def test_headers_are_not_trimmed_from_1_1_on(version: Version) -> None:
    assert parse_head(b"SEND\n login : a b ", version)[1] == {" login ": " a b "}


@EVERY_VERSION
def test_carriage_returns_before_line_feeds_belong_to_the_line_end(version: Version) -> None:
    assert parse_head(b"SEND\r\na:b\r\nc:d\r", version) == ("SEND", {"a": "b", "c": "d"})


def test_only_one_carriage_return_belongs_to_the_line_end() -> None:
    assert parse_head(b"SEND\na:b\r\r", V12)[1] == {"a": "b\r"}


@pytest.mark.parametrize("version", [V11, V12])
def test_a_colon_in_a_value_needs_no_escape_to_be_understood(version: Version) -> None:
    assert parse_head(b"SEND\nurl:http://a:80/", version)[1] == {"url": "http://a:80/"}


@EVERY_VERSION
def test_a_value_may_be_empty(version: Version) -> None:
    assert parse_head(b"SEND\na:", version)[1] == {"a": ""}


@EVERY_VERSION
@pytest.mark.parametrize("line", [b"no colon", b":value", b"", b"\r"])
def test_a_line_without_name_and_colon_is_refused(version: Version, line: bytes) -> None:
    with pytest.raises(ProtocolError, match="without a name and a colon"):
        parse_head(b"SEND\n" + line + b"\na:b", version)


def test_a_name_of_spaces_is_no_name_in_1_0() -> None:
    with pytest.raises(ProtocolError, match="without a name and a colon"):
        parse_head(b"SEND\n \t:value", V10)


@pytest.mark.parametrize("version", [V11, V12])
def test_names_are_unescaped_too(version: Version) -> None:
    assert parse_head(b"SEND\na\\cb\\\\:1", version)[1] == {"a:b\\": "1"}


@pytest.mark.parametrize("version", [V11, V12])
def test_an_undefined_escape_in_a_name_is_refused(version: Version) -> None:
    with pytest.raises(ProtocolError, match="undefined escape"):
        parse_head(b"SEND\na\\x:1", version)


@EVERY_VERSION
@pytest.mark.parametrize("command", ["CONNECT", "STOMP", "CONNECTED"])
def test_the_frames_of_the_login_are_never_unescaped(version: Version, command: str) -> None:
    block = f"{command}\npasscode:a\\nb\\c\\t".encode()
    assert parse_head(block, version) == (command, {"passcode": "a\\nb\\c\\t"})


# ---------------------------------------------------------------- frames as bytes


def test_a_frame_s_bytes_are_those_of_the_specification() -> None:
    data = encode("SEND", {"destination": "/topic/a", "b:c": "d\ne"}, b"hello")
    assert data == b"SEND\ndestination:/topic/a\nb\\cc:d\\ne\n\nhello\0\n"


def test_a_frame_needs_neither_headers_nor_body() -> None:
    assert encode("DISCONNECT", {}) == b"DISCONNECT\n\n\0\n"


def test_headers_keep_their_order() -> None:
    assert encode("SEND", {"b": "1", "a": "2", "c": "3"}) == b"SEND\nb:1\na:2\nc:3\n\n\0\n"


@pytest.mark.parametrize("command", ["CONNECT", "STOMP", "CONNECTED"])
@EVERY_VERSION
def test_the_frames_of_the_login_are_never_escaped(command: str, version: Version) -> None:
    data = encode(command, {"server": "a\\b:c"}, version=version)
    assert data == f"{command}\nserver:a\\b:c\n\n\0\n".encode()


@EVERY_VERSION
def test_the_frames_of_the_login_cannot_carry_forged_headers(version: Version) -> None:
    data = encode("CONNECTED", {"session": "a\nserver:b", "c:d\n": "e"}, version=version)
    assert data == b"CONNECTED\nsession:a server:b\nc d :e\n\n\0\n"


@EVERY_VERSION
def test_a_body_is_any_bytes(version: Version) -> None:
    body = bytes(range(256))
    data = encode("SEND", {"content-length": "256"}, body, version)
    assert read_one(data, version).body == body


@EVERY_VERSION
def test_header_lines_end_with_a_line_feed_each(version: Version) -> None:
    assert encode_headers([("a", "1"), ("é", "2")], version) == "a:1\né:2\n".encode()


def test_a_heart_beat_is_one_line_feed() -> None:
    assert HEARTBEAT == b"\n"


# ---------------------------------------------------------------- Frame


def test_frames_are_compared_by_value() -> None:
    frame = Frame("SEND", {"a": "b"}, b"c")
    assert frame == Frame("SEND", {"a": "b"}, b"c", Head("SEND", {"a": "b"}))
    assert frame != Frame("MESSAGE", {"a": "b"}, b"c")
    assert frame != Frame("SEND", {"a": "x"}, b"c")
    assert frame != Frame("SEND", {"a": "b"}, b"x")
    assert frame != "SEND"


def test_a_frame_shows_the_size_of_its_body_and_not_its_text() -> None:
    assert repr(Frame("SEND", {"a": "b"}, b"secret")) == "<SEND {'a': 'b'}, 6 bytes>"


def test_frames_made_without_headers_share_nothing() -> None:
    one, other = Frame("SEND"), Frame("SEND")
    assert one.headers is not other.headers
    assert one.head is other.head is None


class Level(IntEnum):
    HIGH = 9


def test_headers_of_programs_become_text() -> None:
    headers: dict[str, str | int] = {"a": "x", "b": 1, "c": True, "d": False, "e": Level.HIGH}
    assert header_values(headers) == {"a": "x", "b": "1", "c": "true", "d": "false", "e": "9"}


@pytest.mark.parametrize(
    "headers, said",
    [
        ({"a": 1.5}, "the header a has the value 1.5 (float); give a str, int or bool"),
        ({"a": None}, "the header a has the value None (NoneType); give a str, int or bool"),
        ({"a": b"x"}, "the header a has the value b'x' (bytes); give a str, int or bool"),
        ({None: "x"}, "the header None has a name that is no str"),
    ],
)
def test_headers_of_another_type_are_named(headers: Any, said: str) -> None:
    with pytest.raises(TypeError) as error:
        header_values(headers)
    assert str(error.value) == said


def test_bodies_of_programs_become_bytes() -> None:
    other: Any = bytearray(b"x")
    assert [body_bytes(body) for body in ("ü", b"x", other)] == [b"\xc3\xbc", b"x", b"x"]
    wrong: Any = 5
    with pytest.raises(TypeError, match=r"^the body is of type int; give bytes or a str$"):
        body_bytes(wrong)
