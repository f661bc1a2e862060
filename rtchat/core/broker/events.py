"""What the operator should know of the broker."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Notice"]


class Notice(NamedTuple):
    """Something the operator should know; the log has a sentence for each kind.

    Attributes:
        kind: ``queue full``, ``queue has room``, ``dead letter``.
        destination: The queue it is about.
        messages: How many it holds.
        bytes: How many bytes it holds.
    """

    kind: str
    destination: str
    messages: int
    bytes: int
