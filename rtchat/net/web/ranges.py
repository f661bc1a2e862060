"""The header ``Range``: which bytes of a file a client asks for (RFC 9110, section 14)."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["MAX_PARTS", "Part", "read_ranges"]

MAX_PARTS = 10
"""Who asks for more parts than this gets the whole file: a client that scatters its requests so
would cost more than it saves ("many small ranges", RFC 9110, 14.2)."""

_OVERHEAD_BYTES = 128  # of the head of one part: a smaller gap is sent with both its neighbours

_LIST = re.compile(r"bytes=([0-9, \t-]+)", re.IGNORECASE)
_FROM_TO = re.compile(r"[ \t]*(?:([0-9]+)-([0-9]*)|-([0-9]+))[ \t]*")

_MAX_DIGITS = 18  # more bytes than any file has


class Part(NamedTuple):
    """A piece of a file: its first byte, and how many bytes it has."""

    first: int
    size: int


def read_ranges(text: str, size: int) -> list[Part] | None:
    """Return the parts of a file that a client asks for.

    Parts that overlap or nearly touch are joined.

    Args:
        text: The value of ``Range``.
        size: The file's length in bytes.

    Returns:
        The parts; none if the file has no byte of any of them, which is answered with 416. None if
        the header is to be ignored and the whole file sent: it is not valid, has another unit, or
        names too many parts.
    """
    found = _LIST.fullmatch(text)
    if found is None:
        return None
    parts: list[Part] = []
    has_range = False
    for one in found[1].split(","):
        if not one.strip(" \t"):
            continue  # a list may have empty elements
        spec = _FROM_TO.fullmatch(one)
        if spec is None:
            return None
        has_range = True
        if spec[3] is not None:
            wanted = min(_number(spec[3]), size)
            if wanted:
                parts.append(Part(size - wanted, wanted))
            elif not size and _number(spec[3]):
                return None  # all of an empty file, which Content-Range cannot say
            continue
        first, last = _number(spec[1]), _number(spec[2]) if spec[2] else size - 1
        if spec[2] and last < first:
            return None
        if first < size:
            parts.append(Part(first, min(last, size - 1) - first + 1))
    if not has_range:
        return None
    parts = _joined(parts)
    return parts if len(parts) <= MAX_PARTS else None


def _number(digits: str) -> int:
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= _MAX_DIGITS else 10**_MAX_DIGITS


def _joined(parts: list[Part]) -> list[Part]:
    """Join parts that overlap or nearly touch; without such, the client's order is kept."""
    joined: list[Part] = []
    for part in sorted(parts):
        if joined and part.first <= joined[-1].first + joined[-1].size + _OVERHEAD_BYTES:
            before = joined[-1]
            end = max(before.first + before.size, part.first + part.size)
            joined[-1] = Part(before.first, end - before.first)
        else:
            joined.append(part)
    return parts if len(joined) == len(parts) else joined
