"""The PROXY protocol: both versions as proxies write them, in any chunking; version 2 back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.core.access.proxy_protocol import (
    MAX_HEADER_BYTES,
    ProxyHeader,
    read_header,
    write_header,
)

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
V4 = SIGNATURE + bytes.fromhex("2111000cc0000201c0000202d4310050")
V6 = (
    SIGNATURE
    + bytes.fromhex("21210024")
    + bytes.fromhex("20010db800000000000000000000000120010db8000000000000000000000002d4310050")
)

HEADERS = [
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 54321 80\r\n", ("192.0.2.1", 54321)),
    (b"PROXY TCP6 2001:db8::1 2001:db8::2 54321 80\r\n", ("2001:db8::1", 54321)),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 54321 80\r\n", ("192.0.2.1", 54321)),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", None),
    (V4, ("192.0.2.1", 54321)),
    (V6, ("2001:db8::1", 54321)),
    # LOCAL: a health check of the proxy's own
    (SIGNATURE + bytes.fromhex("20000000"), None),
    (SIGNATURE + bytes.fromhex("2011000cc0000201c0000202d4310050"), None),
    # UNSPEC, UDP over IPv4, a Unix socket
    (SIGNATURE + bytes.fromhex("21000000"), None),
    (SIGNATURE + bytes.fromhex("2112000cc0000201c0000202d4310050"), None),
    (SIGNATURE + bytes.fromhex("213100d8") + bytes(216), None),
    # with an extension (a TLV of five bytes) behind the addresses
    (SIGNATURE + bytes.fromhex("21110011c0000201c0000202d43100500400020000"), ("192.0.2.1", 54321)),
]


@pytest.mark.parametrize("data, source", HEADERS)
def test_a_header_says_who_the_client_is(data: bytes, source: tuple[str, int] | None) -> None:
    assert read_header(data) == ProxyHeader(source, len(data))
    assert read_header(data + b"GET / HTTP/1.1\r\n") == ProxyHeader(source, len(data))


@pytest.mark.parametrize("data, source", HEADERS)
def test_a_header_may_come_byte_by_byte(data: bytes, source: tuple[str, int] | None) -> None:
    for size in range(len(data)):
        assert read_header(data[:size]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"PROXZ",
        b"\r\n\r\nX",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 54321\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 54321 80 x\r\n",
        b"PROXY TCP4 2001:db8::1 192.0.2.2 54321 80\r\n",
        b"PROXY TCP6 192.0.2.1 192.0.2.2 54321 80\r\n",
        b"PROXY TCP4 192.0.2 192.0.2.2 54321 80\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 80\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 -1 80\r\n",
        b"PROXY TCP4  192.0.2.1 192.0.2.2 54321 80\r\n",
        b"PROXY UDP4 192.0.2.1 192.0.2.2 54321 80\r\n",
        b"PROXY \xff\r\n",
        b"PROXY " + b"x" * 101,
        SIGNATURE + bytes.fromhex("1111000c"),  # version 1 in the binary format
        SIGNATURE + bytes.fromhex("2211000c"),  # an unknown command
        SIGNATURE + bytes.fromhex("2111000b") + bytes(11),
        SIGNATURE + bytes.fromhex("21210023") + bytes(35),
        SIGNATURE + bytes.fromhex("2111ffff"),
    ],
)
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"PROXY protocol"):
        read_header(data)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_header_or_refused_or_too_few(data: bytes) -> None:
    for start in (b"", b"PROXY ", SIGNATURE, SIGNATURE + b"\x21\x11\0\x0c"):
        try:
            header = read_header(start + data)
        except ValueError:
            continue
        assert header is None or 8 < header.length <= MAX_HEADER_BYTES


# ---------------------------------------------------------------- written


def test_a_header_of_ipv4_is_written_as_the_specification_draws_it() -> None:
    assert write_header(("192.0.2.1", 54321), ("192.0.2.2", 80)) == V4


def test_a_header_of_ipv6_is_written_as_the_specification_draws_it() -> None:
    assert write_header(("2001:db8::1", 54321), ("2001:db8::2", 80)) == V6


@pytest.mark.parametrize(
    "source, own",
    [
        (("192.0.2.1", 1), ("::ffff:192.0.2.2", 80)),
        (("::ffff:192.0.2.1", 1), ("192.0.2.2", 80)),
        (("192.0.2.1", 1), ("2001:db8::2", 80)),
        (("192.0.2.1", 1), None),
        (("2001:db8::1", 1), ("192.0.2.2", 80)),
        (("2001:db8::1", 1), None),
        (("2001:db8::1", 0), ("2001:db8::2", 80)),
    ],
)
def test_any_two_addresses_go_into_one_header(
    source: tuple[str, int], own: tuple[str, int] | None
) -> None:
    data = write_header(source, own)
    header = read_header(data)
    assert header is not None
    assert header.length == len(data)
    assert header.source == (source[0].removeprefix("::ffff:"), source[1])


def test_a_browser_without_an_address_is_no_address() -> None:
    data = write_header(None, ("192.0.2.2", 80))
    assert read_header(data) == ProxyHeader(None, len(data))
