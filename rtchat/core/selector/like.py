"""LIKE patterns, matched without backtracking."""

from __future__ import annotations

from collections.abc import Mapping

from rtchat.core.selector.headers import masks_of

__all__ = ["LikePattern"]

# In a pattern, "%" and "_" stand as these: no text that comes as UTF-8 has surrogates.
_ANY, _ONE = "\ud825", "\ud85f"
_MARK = "\x01"
_BITS = bytes(ord("1") if byte == ord(_MARK) else ord("0") for byte in range(256))

_STEPS = 20
_PIECE_STEPS = 2
_CHARACTER_STEPS = 2
_SPARSE_STEPS = 30


class LikePattern:
    """A LIKE pattern: ``%`` is any number of characters, ``_`` is one.

    The pattern is split at each ``%`` into pieces of fixed length. The first and the last piece
    are anchored; each of the others takes its leftmost match. Unlike a regular expression, this
    never backtracks: a hostile pattern of 8 KiB takes milliseconds on a header of 8 KiB. The pieces
    are cut anew for each header, because thousands of them would take a hundred times the memory of
    the text.

    Attributes:
        steps: What a match costs at most, in the steps of :class:`Selector`.
        text: The pattern, with its wildcards replaced.
    """

    __slots__ = ("steps", "text")

    def __init__(self, pattern: str, escape: str = "") -> None:
        """Parse a pattern.

        Args:
            pattern: The pattern.
            escape: The character that makes the wildcard after it literal; "" for none.
        """
        parts: list[str] = []
        chars = iter(range(len(pattern)))
        for at in chars:
            char = pattern[at]
            # Before any other character, the escape character is literal, as in ActiveMQ.
            if escape and char == escape and pattern[at + 1 : at + 2] in ("_", "%", escape):
                parts.append(pattern[at + 1])
                next(chars)
            else:
                parts.append(_ANY if char == "%" else _ONE if char == "_" else char)
        self.text = "".join(parts)
        self.steps = _STEPS + sum(map(_steps_of, self.text.split(_ANY)))

    def matches(self, text: str, headers: Mapping[str, str] | None = None) -> bool:
        """Return whether the whole text matches the pattern.

        Args:
            text: The text.
            headers: The headers of the message that it is from.
        """
        first, *middle = self.text.split(_ANY)
        start, end = len(first), len(text)
        if not middle:
            return start == end and _fits(first, text, 0)
        last = middle.pop()
        end -= len(last)
        if start > end or not _fits(first, text, 0) or not _fits(last, text, end):
            return False
        for piece in middle:
            if piece:
                start = _find(piece, text, start, end, headers)
                if start < 0:
                    return False
                start += len(piece)
        return True


def _fits(piece: str, text: str, at: int) -> bool:
    """Return whether a piece without ``%`` matches at a position; the text must be long enough."""
    if _ONE not in piece:
        return text.startswith(piece, at)
    for run in piece.split(_ONE):
        if not text.startswith(run, at):
            return False
        at += len(run) + 1
    return True


def _is_sparse(piece: str) -> bool:
    """Return whether there is a ``_`` between two other characters."""
    return _ONE in piece.strip(_ONE)


def _steps_of(piece: str) -> int:
    each = _CHARACTER_STEPS + (_SPARSE_STEPS if _is_sparse(piece) else 0)
    return _PIECE_STEPS + each * len(piece)


def _find(piece: str, text: str, start: int, end: int, headers: Mapping[str, str] | None) -> int:
    """Return the position of the leftmost match of a piece in ``text[start:end]``, or -1."""
    if start + len(piece) > end:
        return -1
    if _ONE not in piece:
        return text.find(piece, start, end)
    if not _is_sparse(piece):
        run = piece.strip(_ONE)
        before = len(piece) - len(piece.lstrip(_ONE))
        after = len(piece) - before - len(run)
        found = text.find(run, start + before, end - after) if run else start + before
        return found - before if found >= 0 else -1
    masks = {} if headers is None else masks_of(headers)
    # All starts at once: bit N stays set as long as the piece can start at N.
    starts = (1 << (end - len(piece) + 1)) - (1 << start)
    for at, char in enumerate(piece):
        if char != _ONE:
            mask = masks.get((text, char))
            if mask is None:
                mask = masks[text, char] = _mask(text, char)
            starts &= mask >> at
            if not starts:
                return -1
    return (starts & -starts).bit_length() - 1


def _mask(text: str, char: str) -> int:
    """Return an integer whose bit N is set where ``text[N]`` is the character."""
    # By functions of str and bytes: a loop would take a millisecond for a header of 8 KiB.
    if char != _MARK:
        other = " " if char == "?" else "?"
        text = text.replace(_MARK, other).replace(char, _MARK)
    return int(text[::-1].encode("latin-1", "replace").translate(_BITS), 2)
