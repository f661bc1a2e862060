"""A large frame in pieces, so that all receivers of its body share one copy."""

from __future__ import annotations

__all__ = ["LARGE_BYTES", "LargeFrame", "Piece"]

LARGE_BYTES = 16 * 1024
"""Bodies from this size on are shared where a message is encoded several times."""


class LargeFrame:
    """The bytes of one frame, framed for a connection, in pieces that other frames may share.

    Args:
        pieces: The bytes in order.
    """

    __slots__ = ("_pieces", "_size")

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces
        self._size = sum(map(len, pieces))

    def __len__(self) -> int:
        return self._size

    def chunk(self, start: int, most: int) -> bytes:
        """Return a copy of some bytes of the frame.

        Args:
            start: Where they begin.
            most: The largest number of bytes; there are fewer at the end of the frame.
        """
        parts = []
        for piece in self._pieces:
            if start < len(piece):
                part = piece[start : start + most]
                parts.append(part)
                most -= len(part)
                if not most:
                    break
            start = max(0, start - len(piece))
        return b"".join(parts)

    def __bytes__(self) -> bytes:
        return b"".join(self._pieces)


Piece = bytes | LargeFrame
"""What an outbound gathers: some bytes, or a large frame."""
