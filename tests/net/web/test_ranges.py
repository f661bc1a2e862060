"""The header Range, by the letter of RFC 9110, section 14."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.net.web.ranges import MAX_PARTS, read_ranges

SIZE = 10_000


@pytest.mark.parametrize(
    "text, parts",
    [
        # The examples of the RFC, for 10,000 bytes.
        ("bytes=0-499", [(0, 500)]),
        ("bytes=500-999", [(500, 500)]),
        ("bytes=-500", [(9500, 500)]),
        ("bytes=9500-", [(9500, 500)]),
        ("bytes=0-0,-1", [(0, 1), (9999, 1)]),
        ("bytes= 0-999, 4500-5499, -1000", [(0, 1000), (4500, 1000), (9000, 1000)]),
        ("bytes=500-600,601-999", [(500, 500)]),
        ("bytes=500-700,601-999", [(500, 500)]),
        # The client's order, unless parts are joined.
        ("bytes=-1,0-0", [(9999, 1), (0, 1)]),
        ("bytes=9000-,0-0,1-1", [(0, 2), (9000, 1000)]),
        # The end is cut off; a suffix longer than the file is the file.
        ("bytes=9999-20000", [(9999, 1)]),
        ("bytes=0-99999999999999999999999999999999", [(0, SIZE)]),
        ("bytes=0-" + "9" * 5000, [(0, SIZE)]),
        ("bytes=000-00499", [(0, 500)]),
        ("bytes=-10001", [(0, SIZE)]),
        ("bytes=-" + "9" * 5000, [(0, SIZE)]),
        ("BYTES=0-0", [(0, 1)]),
        ("bytes=,, 0-0 ,\t,", [(0, 1)]),
        # What is not there is left out.
        ("bytes=10000-,0-0", [(0, 1)]),
        ("bytes=-0,0-0", [(0, 1)]),
        ("bytes=" + ",".join(["0-"] * 5000), [(0, SIZE)]),
        ("bytes=" + ",".join(f"{at}-{at}" for at in range(1300)), [(0, 1300)]),
    ],
)
def test_the_bytes_that_are_asked_for(text: str, parts: list[tuple[int, int]]) -> None:
    assert read_ranges(text, SIZE) == parts


@pytest.mark.parametrize(
    "text",
    ["bytes=10000-", "bytes=10000-10001", "bytes=-0", "bytes=20000-,-0", f"bytes={'9' * 99}-"],
)
def test_what_the_file_does_not_have_is_nothing(text: str) -> None:
    assert read_ranges(text, SIZE) == []


@pytest.mark.parametrize(
    "text",
    [
        *("", "bytes", "bytes=", "bytes=,", "bytes=-", "bytes=a-b", "bytes=0", "bytes=0-0-0"),
        *("bytes=5-4", "bytes=0-0,5-4", "bytes=0-0,x", "bytes=+1-2", "bytes=1_0-20", "bytes=0x0-1"),
        *("bytes =0-0", " bytes=0-0", "lines=0-0", "bytes=0-0;1-1", "bytes=0 -0", "bytes=--1"),
        *("bytes=é-", "bytes=-é", "bytes=\u0660-\u0669", "bytes=\xff", "bytes=0-0\x00"),
        "bytes=" + ",".join(f"{at}-{at}" for at in range(0, SIZE, SIZE // (MAX_PARTS + 1))),
    ],
)
def test_what_is_no_range_or_too_many_is_the_whole_file(text: str) -> None:
    assert read_ranges(text, SIZE) is None


def test_an_empty_file_has_no_range() -> None:
    assert read_ranges("bytes=0-", 0) == []
    assert read_ranges("bytes=-0", 0) == []
    assert read_ranges("bytes=-5", 0) is None


SPECS = st.lists(
    st.one_of(
        st.builds("{}-{}".format, st.integers(0, 2000), st.integers(0, 2000)),
        st.builds("{}-".format, st.integers(0, 2000)),
        st.builds("-{}".format, st.integers(0, 2000)),
    ),
    max_size=12,
)


@given(specs=SPECS, size=st.integers(0, 1500))
def test_the_parts_hold_what_was_asked_for_and_no_byte_twice(specs: list[str], size: int) -> None:
    parts = read_ranges("bytes=" + ",".join(specs), size)
    if parts is None:
        return
    sent = [at for part in parts for at in range(part.first, part.first + part.size)]
    assert len(sent) == len(set(sent)) <= size
    asked = set()
    for spec in specs:
        first, _, last = spec.partition("-")
        if not first:
            asked |= set(range(max(0, size - int(last)), size))
        else:
            asked |= set(range(int(first), min(size, int(last or size) + 1)))
    assert asked <= set(sent)
    assert all(part.size for part in parts)


@given(st.text(st.sampled_from("bytes=0123456789-, "), max_size=40))
def test_any_text_is_read_in_some_way(text: str) -> None:
    parts = read_ranges(text, 100)
    assert parts is None or sum(part.size for part in parts) <= 100
