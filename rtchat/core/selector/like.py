"""LIKE patterns, matched in time that no pattern can blow up."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["LikePattern"]


class LikePattern:
    """A LIKE pattern: ``%`` is any number of characters, ``_`` is one.

    It is cut at each ``%`` into pieces of fixed length. The first and the last piece have
    their places; each of the others takes the leftmost one that is free. So nothing is ever
    tried twice, as it would be by a regular expression, and a hostile pattern of 8 KiB takes
    milliseconds for a header of 8 KiB.
    """

    __slots__ = ("_first", "_last", "_letters", "_middle")

    def __init__(self, pattern: str, escape: str = "") -> None:
        """Take the pattern, and the character that makes a plain one of a wildcard behind it."""
        pieces: list[list[str]] = [[]]
        chars = iter(range(len(pattern)))
        for at in chars:
            char = pattern[at]
            # Before anything else the escape character stands for itself, as in ActiveMQ.
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
        self._letters = frozenset().union(
            *(piece.letters for piece in self._middle if piece.is_sparse)
        )

    def matches(self, text: str) -> bool:
        """Tell whether the whole text is like the pattern."""
        first, last = self._first, self._last
        start, end = first.length, len(text)
        if last is None:
            return start == end and first.stands_at(text, 0)
        end -= last.length
        if start > end or not first.stands_at(text, 0) or not last.stands_at(text, end):
            return False
        letters = _letter_places(text, self._letters) if self._letters else {}
        for piece in self._middle:
            start = piece.find(text, start, end, letters)
            if start < 0:
                return False
            start += piece.length
        return True


class _Piece:
    """A part of a LIKE pattern without ``%``.

    Attributes:
        length: How many characters it covers.
        letters: The characters that stand in it.
        is_sparse: Whether there is a ``_`` between two of them.
    """

    __slots__ = ("_chars", "_runs", "is_sparse", "length", "letters")

    def __init__(self, chars: list[str]) -> None:
        """Take the characters; "" is for any."""
        self.length = len(chars)
        self.letters = frozenset(chars) - {""}
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

    def stands_at(self, text: str, place: int) -> bool:
        """Tell whether the text, which is long enough, has the piece at this place."""
        if len(self._runs) == 1:
            at, run = self._runs[0]
            return text.startswith(run, place + at)
        return all(text.startswith(run, place + at) for at, run in self._runs)

    def find(self, text: str, start: int, end: int, letters: Mapping[str, int]) -> int:
        """Give the leftmost place in ``text[start:end]``, or -1.

        Args:
            text: Where to look.
            start: The first place that is free.
            end: The first place behind it that is not.
            letters: Where each letter stands, for a sparse piece.
        """
        if start + self.length > end:
            return -1
        if not self._runs:
            return start
        if not self.is_sparse:
            at, run = self._runs[0]
            found = text.find(run, start + at, end - self.length + at + len(run))
            return found - at if found >= 0 else -1
        # All places at once: bit N is set while the piece can start at N.
        places = (1 << (end - self.length + 1)) - (1 << start)
        for at, char in self._chars:
            places &= letters.get(char, 0) >> at
            if not places:
                return -1
        return (places & -places).bit_length() - 1


def _letter_places(text: str, letters: frozenset[str]) -> dict[str, int]:
    """Map each letter to a number whose bit N is set when the letter is ``text[N]``."""
    marks: dict[str, bytearray] = {}
    size = len(text) // 8 + 1
    for place, char in enumerate(text):
        if char in letters:
            if char not in marks:
                marks[char] = bytearray(size)
            marks[char][place >> 3] |= 1 << (place & 7)
    return {char: int.from_bytes(bits, "little") for char, bits in marks.items()}
