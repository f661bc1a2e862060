"""WebSocket message compression: permessage-deflate (RFC 7692).

No context is kept between messages, in either direction. So a message is compressed once for any
number of clients, and an idle connection holds no window.
"""

from __future__ import annotations

import re
import zlib
from typing import NamedTuple

__all__ = [
    "DEFLATE_MIN_BYTES",
    "Agreement",
    "Deflate",
    "Inflater",
    "agree",
    "deflate",
    "most_deflated_bytes",
]

DEFLATE_MIN_BYTES = 256
"""Smaller messages are sent uncompressed.

At this size a chat's STOMP message shrinks by 18 % (46 bytes, for 10 µs), at 360 bytes by a
quarter, at 580 by a third. Below it, less is saved than the TCP and IP headers take.
"""

_PIECE_BYTES = 32 * 1024
_SAMPLE_BYTES = 16 * 1024
_SMALL_BYTES = 4096

# The bytes that a sender omits at the end of a message (RFC 7692, 7.2.1), and an empty final
# block: the message was complete only if zlib reaches the end of that block.
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
    """The negotiated parameters.

    Attributes:
        answer: The value of ``Sec-WebSocket-Extensions`` in the response.
        window_bits: The largest window that the client can inflate from.
    """

    answer: str
    window_bits: int


class Agreement(NamedTuple):
    """The answer to a client's offers of extensions.

    Attributes:
        deflate: The compression to use, or None.
        unknown: The extensions that the server does not have.
        unmet: The offers of compression, if none of them can be met.
    """

    deflate: Deflate | None
    unknown: tuple[str, ...] = ()
    unmet: tuple[str, ...] = ()


def agree(offers: str) -> Agreement:
    """Accept the first of a client's offers that the server supports.

    Args:
        offers: The values of ``Sec-WebSocket-Extensions``, joined with commas.

    Raises:
        ValueError: The header is not a list of extensions as RFC 6455 defines it; refuse the
            connection.
    """
    at, agreed = 0, None
    unknown: list[str] = []
    unmet: list[str] = []
    while at < len(offers):
        found = _OFFER.match(offers, at)
        if found is None:
            raise ValueError("Sec-WebSocket-Extensions is not a list of extensions")
        if found[1] == "permessage-deflate":
            if agreed is None:
                agreed = _accept(_NAME_AND_VALUE.findall(found[2]))
                unmet.append(found[1] + found[2])
        elif found[1] is not None:
            unknown.append(found[1])
        at = found.end()
    return Agreement(agreed, tuple(unknown), tuple(unmet) if agreed is None else ())


def _accept(parameters: list[tuple[str, str]]) -> Deflate | None:
    """Accept an offer; return None if it is invalid (RFC 7692, 7) or not supported."""
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
            # zlib cannot produce a raw stream with a window of 2 ** 8 bytes.
            if value not in _WINDOW_BITS or value == "8":
                return None
            window_bits = _WINDOW_BITS[value]
            answer += f"; server_max_window_bits={value}"
        elif name == "client_max_window_bits":
            # A hint; any window can be inflated.
            if value and value not in _WINDOW_BITS:
                return None
        else:
            return None
    return Deflate(answer, window_bits)


def deflate(data: bytes, window_bits: int) -> bytes | None:
    """Compress a message; return None if it is too small or does not shrink."""
    size = len(data)
    if size < DEFLATE_MIN_BYTES:
        return None
    if size <= _SMALL_BYTES:
        # Setting up the default state of 256 KiB takes longer than compressing such a message.
        packer = zlib.compressobj(1, zlib.DEFLATED, -min(window_bits, 12), 5)
    else:
        if size > 4 * _SAMPLE_BYTES:
            sample = zlib.compress(memoryview(data)[:_SAMPLE_BYTES], 1)
            if len(sample) > _SAMPLE_BYTES * 0.95:
                return None  # incompressible: an image, an archive or encrypted data
        packer = zlib.compressobj(1, zlib.DEFLATED, -window_bits, 8)
    packed = packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)
    return packed[: -len(_OMITTED)] if len(packed) - len(_OMITTED) < size else None


def most_deflated_bytes(size: int) -> int:
    """Return the largest deflated size of this many bytes (zlib's ``deflateBound``)."""
    return size + ((size + 7) >> 3) + ((size + 63) >> 6) + 16


class Inflater:
    """Inflates one message, in pieces of at most 32 KiB.

    Attributes:
        needs_input: Whether all data that was fed has been returned; as in :mod:`bz2`.
    """

    __slots__ = ("_fed", "_is_last", "_stream", "needs_input")

    def __init__(self) -> None:
        self._stream: zlib._Decompress | None = None  # None between streams
        self._fed = b""
        self._is_last = False
        self.needs_input = True

    @property
    def is_done(self) -> bool:
        """Whether the whole message has been returned."""
        return self._is_last and self.needs_input

    def feed(self, data: bytes, *, is_last: bool) -> None:
        """Take the next bytes of the message; call this only if ``needs_input`` is true."""
        self._is_last = is_last
        self._fed = data + _END if is_last else data
        self.needs_input = False

    def read(self, max_bytes: int) -> bytes:
        """Return the next piece, which is empty if there is none yet.

        Raises:
            ValueError: The data is not a compressed message, or the message is incomplete.
        """
        stream = self._stream
        if stream is None:
            if self._is_last and self._fed == _END:
                # The client's own final block was the end, or the message is empty.
                self.needs_input = True
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
            raise ValueError("it is incomplete")
        else:
            self._fed = b""
            self.needs_input = True
        return data

    def _after_last_block(self, rest: bytes) -> None:
        """Continue after a final block: the one added here or the sender's (RFC 7692, 7.2.3.4)."""
        self._fed = rest
        self.needs_input = not rest
        if self._is_last and 0 < len(rest) < len(_END):
            raise ValueError("it is incomplete")
