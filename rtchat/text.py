"""Untrusted text: numbers in decimal digits, and quotes that are safe in a line of the log."""

from __future__ import annotations

__all__ = ["SHOWN_CHARACTERS", "escaped", "kept_bytes", "parse_digits", "printable"]

SHOWN_CHARACTERS = 120
"""How much of an untrusted text is shown, if nothing else is said: a host name or an Origin."""


def parse_digits(text: str, max_digits: int) -> int | None:
    """Read a number of ASCII digits.

    ``int()`` alone also reads signs, spaces, underscores and the digits of other scripts, and
    takes quadratic time for long texts, up to Python's own limit of some thousand digits.

    Args:
        text: The text, from anywhere.
        max_digits: How many digits it may have, leading zeros included; below 640, so that
            Python's limit never applies.

    Returns:
        The number, or None when the text is empty, too long or anything else.
    """
    if len(text) > max_digits or not (text.isascii() and text.isdigit()):
        return None
    return int(text)


def printable(text: str, max_characters: int = SHOWN_CHARACTERS) -> str:
    r"""Quote an untrusted text for a line of the log.

    The result is printable ASCII, so that it can neither forge nor flood a line, on whatever
    terminal it is read: everything else (line breaks, control characters, characters that are
    invisible, change the direction of writing or only look like others) is escaped as in a
    Python literal (``\n``, ``\x1b``, ``\u202e``). Headers and paths that were decoded as Latin-1
    show their bytes.

    Args:
        text: The text, from anywhere.
        max_characters: How many of its characters are shown at most.

    Returns:
        The text in quotes; three dots after the closing quote stand for what was cut off.
    """
    if len(text) > max_characters:
        return f"{text[:max_characters]!a}..."
    return ascii(text)


def escaped(text: str, max_characters: int = SHOWN_CHARACTERS) -> str:
    """Return what :func:`printable` does, without the quotes.

    For a text that is a word of the line itself, such as a path.
    """
    if len(text) > max_characters:
        return f"{ascii(text[:max_characters])[1:-1]}..."
    return ascii(text)[1:-1]


def kept_bytes(text: str) -> int:
    """Return how many bytes Python keeps for the characters of a text.

    The widest character decides how many each of them takes: one, two or four.
    """
    if text.isascii():
        return len(text)
    widest = max(text)
    return len(text) * (1 if widest <= "\xff" else 2 if widest <= "\uffff" else 4)
