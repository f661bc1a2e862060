"""Validators of files, ``ETag`` and ``Last-Modified``, and the conditions that compare them.

RFC 9110, sections 8.8 and 13.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from time import time
from typing import BinaryIO, NamedTuple

from twisted.web.http import datetimeToString, stringToDatetime
from twisted.web.server import Request

from rtchat.net.web.requests import header_values

__all__ = ["TagCache", "Validators", "failed_condition", "may_send_ranges"]

MAX_HASHED_BYTES = 4 * 1024 * 1024
"""The tag of a larger file is made of what the file system says: hashing it would take too long."""

_CHUNK_BYTES = 256 * 1024
_MAX_KEPT = 4096
_SETTLED_S = 2.0  # a file system's clock may tick that slowly
_TAG = re.compile(r'[ \t,]*((?:W/)?"[\x21\x23-\x7e\x80-\xff]*")[ \t]*(?:,|\Z)')


class Validators(NamedTuple):
    """What tells one content of a file from another.

    Attributes:
        tag: A strong entity tag, in quotes.
        date: When the content was written, as an HTTP date; "" if that is in the future.
        is_date_strong: Whether no other content can have the same date.
    """

    tag: str
    date: str
    is_date_strong: bool

    def set_on(self, request: Request) -> None:
        """Put them into the answer."""
        request.setHeader(b"ETag", self.tag.encode("ascii"))
        if self.date:
            request.setHeader(b"Last-Modified", self.date.encode("ascii"))


class TagCache:
    """Makes the validators of files; remembers the tags of those that have not changed.

    A tag is made of the content, so it is the same on every server, and a file that goes back to
    an earlier version has the earlier tag again, whatever its date is.

    Args:
        now: Returns the time in seconds since 1970.
    """

    def __init__(self, now: Callable[[], float] = time) -> None:
        self._now = now
        self._tags: OrderedDict[tuple[int, ...], str] = OrderedDict()

    def of(self, file: BinaryIO, facts: os.stat_result) -> Validators:
        """Return the validators of an open file, which is at its beginning, also afterwards."""
        now_s = self._now()
        written_s = int(facts.st_mtime)
        return Validators(
            self._tag(file, facts, now_s),
            datetimeToString(written_s).decode("ascii") if written_s <= now_s else "",
            written_s < now_s - 1,
        )

    def _tag(self, file: BinaryIO, facts: os.stat_result, now_s: float) -> str:
        known = (
            facts.st_dev,
            facts.st_ino,
            facts.st_size,
            facts.st_mtime_ns,
            facts.st_ctime_ns,
        )
        tag = self._tags.get(known)
        if tag is not None:
            self._tags.move_to_end(known)
            return tag
        if facts.st_size > MAX_HASHED_BYTES:
            return f'"{blake2b(repr(known).encode(), digest_size=16).hexdigest()}"'
        content = blake2b(digest_size=16)
        while chunk := file.read(_CHUNK_BYTES):
            content.update(chunk)
        file.seek(0)
        tag = f'"{content.hexdigest()}"'
        # A file that was written just now may be written once more within the same tick.
        if facts.st_ctime < now_s - _SETTLED_S:
            self._tags[known] = tag
            if len(self._tags) > _MAX_KEPT:
                self._tags.popitem(last=False)
        return tag


def failed_condition(request: Request, validators: Validators) -> int | None:
    """Return the status of the answer if a condition of the request is false: 304 or 412.

    Dates are compared exactly where a newer one would let a browser keep what is not there any
    more (``If-Modified-Since``).
    """
    if wanted := header_values(request, "If-Match"):
        if not _matches(wanted, validators.tag, is_weak=False):
            return 412
    elif (unmodified := _date(header_values(request, "If-Unmodified-Since"))) is not None:
        written = _date([validators.date])
        if written is None or written > unmodified:
            return 412
    if known := header_values(request, "If-None-Match"):
        return 304 if _matches(known, validators.tag, is_weak=True) else None
    modified = _date(header_values(request, "If-Modified-Since"))
    if modified is not None and modified == _date([validators.date]):
        return 304
    return None


def may_send_ranges(request: Request, validators: Validators) -> bool:
    """Return whether ``If-Range``, if there is one, names the content that would be sent."""
    given = header_values(request, "If-Range")
    if not given:
        return True
    if len(given) > 1:
        return False
    text = given[0].strip()
    if text.startswith(('"', "W/")):
        return text == validators.tag
    return validators.is_date_strong and bool(validators.date) and text == validators.date


def _matches(given: list[str], tag: str, *, is_weak: bool) -> bool:
    text = ",".join(given)
    if text.strip() == "*":
        return True
    at = 0
    while (found := _TAG.match(text, at)) is not None:
        if (found[1].removeprefix("W/") if is_weak else found[1]) == tag:
            return True
        at = found.end()
    return False


def _date(given: list[str]) -> int | None:
    """Return an HTTP date in any of its three forms as seconds since 1970; None if it is none."""
    if len(given) != 1 or not given[0].isascii() or len(given[0]) > 50:
        return None
    try:
        return int(stringToDatetime(given[0].encode("ascii")))
    except (ValueError, IndexError, OverflowError):
        return None
