"""Repeated heads are parsed once, which has no visible effect but for the time it takes."""

from __future__ import annotations

import pytest
from support.parsing import SEND_BYTES, Reader, feed_all, frames, message
from support.stomp import frame_bytes

from rtchat.core.stomp.frames import Version
from rtchat.core.stomp.head_cache import HeadCache

V10, V11, V12 = Version.V10, Version.V11, Version.V12


def test_a_repeated_head_gives_equal_frames(read: Reader) -> None:
    cache = HeadCache()
    data = frame_bytes("SEND", b"1", destination="/a", x="\\c") + b"\n"
    data += frame_bytes("SEND", b"2", destination="/a", x="\\c") + SEND_BYTES
    first = frames(read(data, cache=cache))
    again = frames(read(data, cache=cache))
    without = frames(feed_all([data], cache=HeadCache(max_heads=0)))
    assert first == again == without


def test_a_repeated_head_is_parsed_once() -> None:
    cache = HeadCache()
    one, other = frames(feed_all([SEND_BYTES, SEND_BYTES], cache=cache))
    assert one.headers is other.headers
    assert one.head is other.head is not None


def test_a_head_is_shared_by_all_parsers_of_a_server() -> None:
    cache = HeadCache()
    [one] = frames(feed_all([SEND_BYTES], cache=cache))
    [other] = frames(feed_all([SEND_BYTES], cache=cache))
    assert one.headers is other.headers


def test_parsers_without_a_common_cache_share_nothing() -> None:
    [one] = frames(feed_all([SEND_BYTES]))
    [other] = frames(feed_all([SEND_BYTES]))
    assert one.headers is not other.headers


def test_the_same_head_means_something_else_in_another_version() -> None:
    cache = HeadCache()
    data = b"SEND\na: b\\cc \n\n\0"
    read_as = {v: frames(feed_all([data], version=v, cache=cache))[0].headers for v in Version}
    assert read_as == {V10: {"a": "b\\cc"}, V11: {"a": " b:c "}, V12: {"a": " b:c "}}


def test_a_known_head_still_has_its_content_length(read: Reader) -> None:
    cache = HeadCache()
    data = frame_bytes("SEND", b"a\0b", content_length="3")
    assert [frame.body for frame in frames(read(data * 3, cache=cache))] == [b"a\0b"] * 3


def test_a_known_head_does_not_hide_a_wrong_content_length(read: Reader) -> None:
    cache = HeadCache()
    data = frame_bytes("SEND", b"abc", content_length="3")
    reading = read(data + frame_bytes("SEND", b"abcd", content_length="3"), cache=cache)
    assert len(reading.frames) == 1
    assert message(reading) == "content-length does not fit the body"


@pytest.mark.parametrize(
    "data",
    [
        b"SEND\ndestination:/topic/a\n\r\nx\n\n\0",
        b"SEND\ndestination:/topic/a\n\0\n\n",
        b"SEND\r\ndestination:/topic/a\r\n\r\nx\n\n\0",
        b"SEND\r\ndestination:/topic/a\r\n\nx\n\n\0",
    ],
)
def test_a_known_head_is_not_seen_where_another_one_ends(read: Reader, data: bytes) -> None:
    cache = HeadCache()
    fresh = frames(feed_all([data]))
    frames(read(SEND_BYTES + data + SEND_BYTES, cache=cache))
    assert frames(read(data, cache=cache)) == fresh


def remembered(cache: HeadCache) -> list[bytes]:
    return [block for version in Version for block in cache.of(version)]


@pytest.mark.parametrize("command", ["CONNECT", "STOMP", "SUBSCRIBE", "send", "SENDER"])
@pytest.mark.parametrize("version", [None, V12])
def test_heads_that_may_hold_secrets_or_seldom_come_again_are_not_kept(
    read: Reader, command: str, version: Version | None
) -> None:
    cache = HeadCache()
    frames(read(frame_bytes(command, passcode="secret"), version=version, cache=cache))
    assert remembered(cache) == []


def test_nothing_that_a_stranger_sends_is_kept(read: Reader) -> None:
    cache = HeadCache()
    frames(read(SEND_BYTES, version=None, cache=cache))
    assert remembered(cache) == []


def test_broken_heads_are_not_kept(read: Reader) -> None:
    cache = HeadCache()
    for data in (b"SEND\na:\\t\n\n\0", b"SEND\ncontent-length:x\n\n\0", b"SEND\nx\n\n\0"):
        assert read(data, cache=cache).error is not None
    assert remembered(cache) == []


@pytest.mark.parametrize("extra, kept", [(-1, True), (0, True), (1, False)])
def test_heads_over_the_cache_s_size_are_not_kept(read: Reader, extra: int, kept: bool) -> None:
    cache = HeadCache(max_head_bytes=40)
    head = b"SEND\na:" + b"x" * (33 + extra)
    one, other = frames(read((head + b"\n\n\0") * 2, cache=cache))
    assert (one.headers is other.headers) is kept
    assert remembered(cache) == ([head] if kept else [])


def test_the_cache_never_holds_more_heads_than_it_may() -> None:
    cache = HeadCache(max_heads=10)
    for version in Version:
        for number in range(95):
            frames(feed_all([frame_bytes("SEND", a=str(number))], version=version, cache=cache))
            assert len(cache.of(version)) <= 10
    assert len(remembered(cache)) == 15
