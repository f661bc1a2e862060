"""The headers of a message, and what selectors have found out about them."""

from __future__ import annotations

from collections.abc import Mapping

from rtchat.core.selector.numbers import read_number

__all__ = ["MessageHeaders", "masks_of", "numbers_of"]


class _Numbers(dict[str, "int | float | None"]):
    """Numbers by their text; each is read once."""

    __slots__ = ()

    def __missing__(self, text: str) -> int | float | None:
        number = self[text] = read_number(text)
        return number


class MessageHeaders(dict[str, str]):
    """The headers of a message, and what selectors have found out about them.

    A message may be looked at by thousands of selectors, each with hundreds of terms.

    Attributes:
        masks: For a header's value and a character, the positions of the character in it: bit N is
            set for position N. Not set before :func:`masks_of`.
        numbers: The numbers that values are. Not set before :func:`numbers_of`.
    """

    __slots__ = ("masks", "numbers")

    masks: dict[tuple[str, str], int]
    numbers: dict[str, int | float | None]


def masks_of(headers: Mapping[str, str]) -> dict[tuple[str, str], int]:
    """Return ``masks`` of some headers, to read and to add to."""
    if not isinstance(headers, MessageHeaders):
        return {}
    try:
        return headers.masks
    except AttributeError:
        headers.masks = {}
        return headers.masks


def numbers_of(headers: Mapping[str, str]) -> dict[str, int | float | None]:
    """Return ``numbers`` of some headers: what is not in there is read and added."""
    if not isinstance(headers, MessageHeaders):
        return _Numbers()
    try:
        return headers.numbers
    except AttributeError:
        headers.numbers = _Numbers()
        return headers.numbers
