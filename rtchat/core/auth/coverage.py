"""Which destinations the pattern of a right covers.

The language is that of SUBSCRIBE (see :mod:`rtchat.core.broker.patterns`): ``*`` is one word;
``#``, and ``>`` at the end, any number of words; ``.`` and ``/`` are equal. A pattern is read as
blocks of words with gaps between them: a gap is a row of wildcards with a ``#`` in it, which is so
many words wide at least::

    /topic/a.*.#.b.*     →     [topic a]  gap of 1 or more  [b *]

A block is at a fixed distance from the start, from the end, or anywhere between. So to look for the
earliest place of one block after the other decides everything, and there is nothing to try twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rtchat.core.broker.destinations import DestinationKind, words_of
from rtchat.core.broker.patterns import MAX_WORDS, is_pattern

__all__ = [
    "PRESENCE",
    "QUEUE",
    "SESSION",
    "TOPIC",
    "USER",
    "Asked",
    "Pattern",
    "covers",
    "kind_of",
]

TOPIC = ""
"""The kind of topics: destinations that begin with ``/topic/``, or with no prefix that is known."""

QUEUE = DestinationKind.QUEUE.value
PRESENCE, USER, SESSION = "/presence/", "/user/", "/session/"
"""Prefixes whose destinations the server serves in ways of its own."""

_PREFIXES = (
    QUEUE,
    DestinationKind.TEMP_QUEUE.value,
    DestinationKind.REPLY_QUEUE.value,
    DestinationKind.PUBSUB.value,
    PRESENCE,
    USER,
    SESSION,
)


def kind_of(destination: str) -> str:
    """Return the kind of a destination or pattern: its prefix, or :data:`TOPIC`.

    A pattern covers destinations of its own kind only. So ``#`` covers every topic, and no queue.
    """
    for prefix in _PREFIXES:
        if destination.startswith(prefix):
            return prefix
    return TOPIC


@dataclass(frozen=True, slots=True)
class Asked:
    """A destination or pattern that may be covered.

    Attributes:
        kind: Its kind.
        words: Its words. None stands for any number of any words, and ``*`` for any word: no
            pattern has a word of its own that is equal to that.
        is_cut: Whether it has more words than are compared.
    """

    kind: str
    words: Sequence[str | None]
    is_cut: bool = False

    @classmethod
    def name(cls, destination: str) -> Asked:
        """Return the destination of this very name, in which wildcards are letters."""
        words = words_of(destination)
        return cls(kind_of(destination), words[:MAX_WORDS], len(words) > MAX_WORDS)

    @classmethod
    def subscription(cls, destination: str) -> Asked | None:
        """Return what a SUBSCRIBE to this destination reads; it may be a pattern.

        None for a pattern with too many words, to which there can be no subscription.
        """
        if not is_pattern(destination):
            return cls.name(destination)
        words = words_of(destination)
        if len(words) > MAX_WORDS:
            return None
        end = len(words) - 1
        asked = [
            None if word == "#" or (word == ">" and at == end) else word
            for at, word in enumerate(words)
        ]
        if all(word is None for word in asked):
            asked.insert(0, "*")  # every name has a word
        return cls(kind_of(destination), asked)


@dataclass(frozen=True, slots=True)
class Pattern:
    """The destinations that a right is about. Patterns that are equal cover the same.

    Attributes:
        kind: The kind of the destinations.
        blocks: Words in a row; ``*`` is any word. The first block is at the start and the last one
            at the end of a name, and either may have no words; all others have some.
        gaps: The least number of words between each block and the next.
    """

    kind: str
    blocks: tuple[tuple[str, ...], ...]
    gaps: tuple[int, ...]

    @classmethod
    def parse(cls, text: str, kind: str | None = None) -> Pattern:
        """Parse the destination of a right.

        Args:
            text: A destination, which may have wildcards.
            kind: Its kind, if that is not the one of the text.

        Raises:
            ValueError: It has too many words.
        """
        words = words_of(text)
        if len(words) > MAX_WORDS:
            raise ValueError(f"{len(words)} words, which is over the limit of {MAX_WORDS}")
        if words[-1] == ">":
            words[-1] = "#"
        blocks: list[tuple[str, ...]] = []
        gaps: list[int] = []
        block: list[str] = []
        stars, is_gap = 0, False  # of the row of wildcards before this word
        for word in (*words, ""):
            if word == "*":
                stars += 1
                continue
            if word == "#":
                is_gap = True
                continue
            if is_gap:
                blocks.append(tuple(block))
                gaps.append(stars)
                block = []
            else:
                block += ["*"] * stars
            block.append(word)
            stars, is_gap = 0, False
        del block[-1]  # the word that ended the last row of wildcards
        return cls(kind_of(text) if kind is None else kind, (*blocks, tuple(block)), tuple(gaps))

    def covers(self, asked: Asked) -> bool:
        """Return whether all names that are asked for match this pattern."""
        first, last, words = self.blocks[0], self.blocks[-1], asked.words
        start, end = len(first), len(words) - len(last)
        if asked.kind != self.kind or not _is_at(0, first, words):
            return False
        if not self.gaps:
            return start == len(words) and not asked.is_cut
        if end < start or not _is_at(end, last, words) or (asked.is_cut and last):
            return False
        for gap, block in zip(self.gaps, self.blocks[1:-1], strict=False):
            start = _after(gap, start, end, words)
            while start + len(block) <= end and not _is_at(start, block, words):
                start += 1
            start += len(block)
            if start > end:
                return False
        return _after(self.gaps[-1], start, end, words) <= end


def _is_at(start: int, block: Sequence[str], words: Sequence[str | None]) -> bool:
    """Return whether the words from there on begin with those of the block."""
    if start + len(block) > len(words):
        return False
    for at, word in enumerate(block, start):
        there = words[at]
        if there is None or (word != there and word != "*"):
            return False
    return True


def _after(count: int, start: int, end: int, words: Sequence[str | None]) -> int:
    """Return the place after so many words, those counted that are there for certain.

    It is beyond ``end`` if there are not so many.
    """
    while count > 0:
        if start >= end:
            return end + 1
        count -= words[start] is not None
        start += 1
    return start


def covers(granted: str, wanted: str) -> bool:
    """Return whether every name that ``wanted`` matches is matched by ``granted``.

    It takes a step for each word of the one and each word of the other at most.

    Args:
        granted: The destination of a right; it may be a pattern.
        wanted: The destination of a SUBSCRIBE; it may be a pattern.
    """
    asked = Asked.subscription(wanted)
    if asked is None or len(words_of(granted)) > MAX_WORDS:
        return False
    return Pattern.parse(granted).covers(asked)
