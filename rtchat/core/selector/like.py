"""LIKE patterns, matched without backtracking."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["LikePattern"]


class LikePattern:
    """A LIKE pattern: ``%`` is any number of characters, ``_`` is one.

    The pattern is split at each ``%`` into pieces of fixed length. The first and the last piece
    are anchored; each of the others takes its leftmost match. Unlike a regular expression, this
    never backtracks: a hostile pattern of 8 KiB takes milliseconds on a header of 8 KiB.
    """

    __slots__ = ("_characters", "_first", "_last", "_middle")

    def __init__(self, pattern: str, escape: str = "") -> None:
        """Parse a pattern.

        Args:
            pattern: The pattern.
            escape: The character that makes the wildcard after it literal; "" for none.
        """
        pieces: list[list[str]] = [[]]
        chars = iter(range(len(pattern)))
        for at in chars:
            char = pattern[at]
            # Before any other character, the escape character is literal, as in ActiveMQ.
            if escape and char == escape and pattern[at + 1 : at + 2] in ("_", "%", escape):
                pieces[-1].append(pattern[at + 1])
                next(chars)
            elif char == "%":
                pieces.append([])
            else:
                pieces[-1].append("" if char == "_" else char)
        self._first = _Piece(pieces[0])
        self._last = _Piece(pieces[-1]) if len(pieces) > 1 else None
        self._middle = [_Piece(piece) for piece in pieces[1:-1] if piece]
        self._characters = frozenset().union(
            *(piece.characters for piece in self._middle if piece.is_sparse)
        )

    def matches(self, text: str) -> bool:
        """Return whether the whole text matches the pattern."""
        first, last = self._first, self._last
        start, end = first.length, len(text)
        if last is None:
            return start == end and first.matches_at(text, 0)
        end -= last.length
        if start > end or not first.matches_at(text, 0) or not last.matches_at(text, end):
            return False
        masks = _character_masks(text, self._characters) if self._characters else {}
        for piece in self._middle:
            start = piece.find(text, start, end, masks)
            if start < 0:
                return False
            start += piece.length
        return True


class _Piece:
    """A part of a LIKE pattern without ``%``.

    Attributes:
        length: The number of characters it matches.
        characters: Its literal characters.
        is_sparse: Whether there is a ``_`` between two of them.
    """

    __slots__ = ("_chars", "_runs", "characters", "is_sparse", "length")

    def __init__(self, chars: list[str]) -> None:
        """Take the characters; "" matches any character."""
        self.length = len(chars)
        self.characters = frozenset(chars) - {""}
        self._chars = [(at, char) for at, char in enumerate(chars) if char]
        self._runs: list[tuple[int, str]] = []
        end = -1
        for at, char in self._chars:
            if at == end:
                start, run = self._runs.pop()
                self._runs.append((start, run + char))
            else:
                self._runs.append((at, char))
            end = at + 1
        self.is_sparse = len(self._runs) > 1

    def matches_at(self, text: str, position: int) -> bool:
        """Return whether the piece matches at this position; the text must be long enough."""
        if len(self._runs) == 1:
            at, run = self._runs[0]
            return text.startswith(run, position + at)
        return all(text.startswith(run, position + at) for at, run in self._runs)

    def find(self, text: str, start: int, end: int, masks: Mapping[str, int]) -> int:
        """Return the position of the leftmost match in ``text[start:end]``, or -1.

        Args:
            text: The text to search.
            start: Where the search begins.
            end: Where the search ends, exclusive.
            masks: The positions of each literal character, for a sparse piece.
        """
        if start + self.length > end:
            return -1
        if not self._runs:
            return start
        if not self.is_sparse:
            at, run = self._runs[0]
            found = text.find(run, start + at, end - self.length + at + len(run))
            return found - at if found >= 0 else -1
        # All starts at once: bit N stays set as long as the piece can start at N.
        starts = (1 << (end - self.length + 1)) - (1 << start)
        for at, char in self._chars:
            starts &= masks.get(char, 0) >> at
            if not starts:
                return -1
        return (starts & -starts).bit_length() - 1


def _character_masks(text: str, characters: frozenset[str]) -> dict[str, int]:
    """Map each character to an integer whose bit N is set where ``text[N]`` is that character."""
    marks: dict[str, bytearray] = {}
    size = len(text) // 8 + 1
    for position, char in enumerate(text):
        if char in characters:
            if char not in marks:
                marks[char] = bytearray(size)
            marks[char][position >> 3] |= 1 << (position & 7)
    return {char: int.from_bytes(bits, "little") for char, bits in marks.items()}
