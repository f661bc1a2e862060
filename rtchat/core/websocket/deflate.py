"""Compression of WebSocket messages: permessage-deflate (RFC 7692).

Neither side keeps anything from one message to the next. So a message that is compressed once
can be sent to any number of clients, and a connection that is idle holds no window.
"""

from __future__ import annotations

import re
import zlib
from typing import NamedTuple

__all__ = ["DEFLATE_MIN_BYTES", "Deflate", "Inflater", "agree", "deflate", "most_deflated_bytes"]

DEFLATE_MIN_BYTES = 256
"""Smaller messages are sent as they are.

A STOMP message of a chat shrinks by 18 % at this size (46 bytes, for 10 µs), by a quarter at 360
bytes and by a third at 580; what is saved below is less than the TCP and IP headers around it.
"""

_PIECE_BYTES = 64 * 1024
_SAMPLE_BYTES = 16 * 1024
_SMALL_BYTES = 4096

# What a sender leaves out at the end of a message (RFC 7692, 7.2.1), and an empty last block: only
# if zlib comes to that block's end was the message whole.
_OMITTED = b"\x00\x00\xff\xff"
_END = _OMITTED + b"\x03\x00"

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# "the value after quoted-string unescaping MUST conform to the 'token' ABNF" (RFC 6455, 9.1)
_VALUE = rf'{_TOKEN}|"(?:\\?{_TOKEN[:-1]})+"'
_PARAMETER = rf"[ \t]*;[ \t]*{_TOKEN}(?:[ \t]*=[ \t]*(?:{_VALUE}))?"
_OFFER = re.compile(rf"[ \t]*(?:({_TOKEN})((?:{_PARAMETER})*)[ \t]*)?(?:,|\Z)")
_NAME_AND_VALUE = re.compile(rf";[ \t]*({_TOKEN})(?:[ \t]*=[ \t]*({_VALUE}))?")

_WINDOW_BITS = {str(bits): bits for bits in range(8, 16)}


class Deflate(NamedTuple):
    """What was agreed upon.

    Attributes:
        answer: The value of ``Sec-WebSocket-Extensions`` that says so.
        window_bits: The largest window that the client can inflate from.
    """

    answer: str
    window_bits: int


def agree(offers: str) -> Deflate | None:
    """Choose the first of a client's offers that can be met.

    Args:
        offers: The values of ``Sec-WebSocket-Extensions``, joined with commas.

    Returns:
        None when there is none: then nothing is compressed.

    Raises:
        ValueError: The header is not what RFC 6455 calls a list of extensions; refuse the
            connection.
    """
    at, agreed = 0, None
    while at < len(offers):
        found = _OFFER.match(offers, at)
        if found is None:
            raise ValueError("Sec-WebSocket-Extensions is not a list of extensions")
        if found[1] == "permessage-deflate" and agreed is None:
            agreed = _accept(_NAME_AND_VALUE.findall(found[2]))
        at = found.end()
    return agreed


def _accept(parameters: list[tuple[str, str]]) -> Deflate | None:
    """Accept an offer, or give None for one that is not valid (RFC 7692, 7) or too much."""
    given = dict(parameters)
    if len(given) < len(parameters):
        return None  # "multiple extension parameters with the same name"
    window_bits = 15
    answer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    for name, value in given.items():
        value = value.strip('"').replace("\\", "")
        if name in ("server_no_context_takeover", "client_no_context_takeover"):
            if value:
                return None
        elif name == "server_max_window_bits":
            # zlib makes no raw stream with a window of 2 ** 8 bytes.
            if value not in _WINDOW_BITS or value == "8":
                return None
            window_bits = _WINDOW_BITS[value]
            answer += f"; server_max_window_bits={value}"
        elif name == "client_max_window_bits":
            # A hint; we inflate from any window.
            if value and value not in _WINDOW_BITS:
                return None
        else:
            return None
    return Deflate(answer, window_bits)


def deflate(data: bytes, window_bits: int) -> bytes | None:
    """Compress a message by itself; None when it is too small for that or does not shrink."""
    size = len(data)
    if size < DEFLATE_MIN_BYTES:
        return None
    if size <= _SMALL_BYTES:
        # The default state of 256 KiB takes longer to set up than such a message to compress.
        packer = zlib.compressobj(1, zlib.DEFLATED, -min(window_bits, 12), 5)
    else:
        if size > 4 * _SAMPLE_BYTES:
            sample = zlib.compress(memoryview(data)[:_SAMPLE_BYTES], 1)
            if len(sample) > _SAMPLE_BYTES * 0.95:
                return None  # a picture, an archive, something encrypted
        packer = zlib.compressobj(1, zlib.DEFLATED, -window_bits, 8)
    packed = packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)
    return packed[: -len(_OMITTED)] if len(packed) - len(_OMITTED) < size else None


def most_deflated_bytes(size: int) -> int:
    """Give the most that deflate makes of this many bytes (zlib's ``deflateBound``)."""
    return size + ((size + 7) >> 3) + ((size + 63) >> 6) + 16


class Inflater:
    """Inflates one message, no more than 64 KiB at a time.

    Attributes:
        is_hungry: Whether it has given all that it can make of what it was fed.
    """

    __slots__ = ("_fed", "_is_last", "_stream", "is_hungry")

    def __init__(self) -> None:
        self._stream: zlib._Decompress | None = None  # None between streams
        self._fed = b""
        self._is_last = False
        self.is_hungry = True

    @property
    def is_done(self) -> bool:
        """Whether that was the whole message."""
        return self._is_last and self.is_hungry

    def feed(self, data: bytes, *, is_last: bool) -> None:
        """Take the next bytes of the message; only when it is hungry."""
        self._is_last = is_last
        self._fed = data + _END if is_last else data
        self.is_hungry = False

    def read(self, max_bytes: int) -> bytes:
        """Give the next piece, which is empty when there is none yet.

        Raises:
            ValueError: These are not the bytes of a compressed message.
        """
        stream = self._stream
        if stream is None:
            if self._is_last and self._fed == _END:
                # The client's own last block was the end, or the message has no bytes at all.
                self.is_hungry = True
                return b""
            stream = self._stream = zlib.decompressobj(-15)
        limit = min(max_bytes, _PIECE_BYTES)
        try:
            data = stream.decompress(self._fed, limit)
        except zlib.error as error:
            raise ValueError(str(error)) from None
        if stream.eof:
            self._stream = None
            self._after_last_block(stream.unused_data)
        elif stream.unconsumed_tail or len(data) == limit:
            self._fed = stream.unconsumed_tail
        elif self._is_last:
            raise ValueError("it is not whole")
        else:
            self._fed = b""
            self.is_hungry = True
        return data

    def _after_last_block(self, rest: bytes) -> None:
        """See what follows a last block: ours, or one of the sender's (RFC 7692, 7.2.3.4)."""
        self._fed = rest
        self.is_hungry = not rest
        if self._is_last and 0 < len(rest) < len(_END):
            raise ValueError("it is not whole")
