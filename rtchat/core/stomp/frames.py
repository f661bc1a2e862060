"""STOMP frames: their shape, the header escapes of each version, and their bytes.

This is the only place where wire bytes become ``str`` and back.
Specification: https://stomp.github.io/stomp-specification-1.2.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from rtchat.errors import ProtocolError

__all__ = [
    "HEARTBEAT",
    "Frame",
    "Version",
    "encode",
    "encode_headers",
    "escape",
    "parse_head",
    "unescape",
]

HEARTBEAT = b"\n"
"""A heart-beat on the wire: one end of line between frames."""


class Version(Enum):
    """A version of STOMP that both sides can agree on."""

    V10 = "1.0"
    V11 = "1.1"
    V12 = "1.2"

    # Versions are keys on the way of every message; an enum's own hash is a Python function.
    __hash__ = object.__hash__


class Frame:
    """One STOMP frame.

    Attributes:
        command: ``SEND``, ``MESSAGE``, …
        headers: Unescaped header values by name. Frames that came with the very same bytes
            share one mapping: never change it.
        body: The body's bytes.
        memo: What was derived from the head alone, by whoever derived it. It is shared
            like ``headers``, so that a publisher who repeats its header block pays for
            it once.
    """

    __slots__ = ("body", "command", "headers", "memo")

    def __init__(
        self,
        command: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        memo: dict[object, Any] | None = None,
    ) -> None:
        self.command = command
        self.headers: Mapping[str, str] = {} if headers is None else headers
        self.body = body
        self.memo: dict[object, Any] = {} if memo is None else memo

    def __repr__(self) -> str:
        return f"<{self.command} {dict(self.headers)!r}, {len(self.body)} bytes>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Frame):
            return NotImplemented
        return (
            self.command == other.command
            and dict(self.headers) == dict(other.headers)
            and self.body == other.body
        )

    __hash__ = None  # type: ignore[assignment]  # frames are compared by value


# "C style string literal escapes are used to encode any CR, LF or colon that are found
# within the UTF-8 encoded headers." (1.2; 1.1 has no escape for CR, 1.0 has none at all)
_ESCAPES = {
    Version.V11: {"\\": "\\\\", "\n": "\\n", ":": "\\c"},
    Version.V12: {"\\": "\\\\", "\r": "\\r", "\n": "\\n", ":": "\\c"},
}
_ESCAPE_TABLES = {version: str.maketrans(table) for version, table in _ESCAPES.items()}
_UNESCAPES = {
    version: {escaped: plain for plain, escaped in table.items()}
    for version, table in _ESCAPES.items()
}
_SPECIAL = re.compile(r"[\\\r\n:]")
_BACKSLASH = re.compile(r"\\.?", re.DOTALL)

# "CONNECT and CONNECTED frames do not escape the carriage return, line feed or colon octets
# in order to remain backward compatible with STOMP 1.0."
_NEVER_ESCAPED = frozenset({"CONNECT", "STOMP", "CONNECTED"})
_LINE_BREAKS = str.maketrans("\r\n", "  ")
_NAME_BREAKS = str.maketrans("\r\n:", "   ")


def escape(text: str, version: Version, *, is_name: bool = False) -> str:
    """Make a header name or value fit for the wire.

    In 1.0, which has no escapes, line breaks (and a colon in a name) become spaces: nothing
    that a 1.2 publisher writes may forge a header for a 1.0 subscriber.

    Args:
        text: The plain text.
        version: The version the receiver speaks.
        is_name: Whether the text is a header's name.
    """
    if _SPECIAL.search(text) is None:
        return text
    if version is Version.V10:
        return text.translate(_NAME_BREAKS if is_name else _LINE_BREAKS)
    return text.translate(_ESCAPE_TABLES[version])


def unescape(text: str, version: Version) -> str:
    """Undo :func:`escape`.

    Raises:
        ProtocolError: For an escape that the version does not define.
    """
    if "\\" not in text or version is Version.V10:
        return text
    table = _UNESCAPES[version]

    def plain(match: re.Match[str]) -> str:
        try:
            return table[match.group()]
        except KeyError:
            # "Undefined escape sequences such as \t MUST be treated as a fatal protocol error."
            raise ProtocolError(
                "undefined escape in a header",
                f"STOMP {version.value} headers know these escapes: {' '.join(table)}. "
                f"The header contains {match.group()!r}.",
            ) from None

    return _BACKSLASH.sub(plain, text)


def parse_head(block: bytes, version: Version) -> tuple[str, dict[str, str]]:
    """Read a frame's command and headers.

    Args:
        block: Everything before the blank line, without the last end of line.
        version: The version the client speaks; CONNECT frames are never unescaped.

    Returns:
        The command and the unescaped headers; the first of repeated headers wins.

    Raises:
        ProtocolError: For bytes that are not UTF-8, a line without a colon, or an undefined
            escape.
    """
    try:
        text = block.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ProtocolError(
            "headers are not UTF-8", f"Byte {error.start} of the frame is not valid UTF-8."
        ) from None
    lines = text.split("\n")
    command = lines[0].removesuffix("\r")
    escapes = "\\" in text and command not in _NEVER_ESCAPED
    trims = version is Version.V10
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.removesuffix("\r").partition(":")
        if trims:
            # STOMP 1.0 writes "login: <username>" in its own examples.
            name, value = name.strip(), value.strip()
        if not colon or not name:
            raise ProtocolError(
                "a header line without a name and a colon",
                "Every header is one line, NAME:VALUE; a blank line ends the headers.",
            )
        if escapes:
            name, value = unescape(name, version), unescape(value, version)
        # "If a client or a server receives repeated frame header entries, only the first
        # header entry SHOULD be used as the value of header entry."
        headers.setdefault(name, value)
    return command, headers


def encode_headers(headers: Iterable[tuple[str, str]], version: Version) -> bytes:
    """Give the header lines' bytes, each with its end of line, escaped for the version."""
    return "".join(
        f"{escape(name, version, is_name=True)}:{escape(value, version)}\n"
        for name, value in headers
    ).encode("utf-8")


def encode(
    command: str,
    headers: Mapping[str, str],
    body: bytes = b"",
    version: Version = Version.V12,
) -> bytes:
    """Give a frame's bytes, the closing NUL included.

    Args:
        command: The frame's command.
        headers: Plain header values; ``content-length`` is the caller's to add.
        body: The body's bytes.
        version: The version the receiver speaks. CONNECT, STOMP and CONNECTED are never
            escaped, whatever it is.
    """
    if command in _NEVER_ESCAPED:
        version = Version.V10
    return b"%b\n%b\n%b\0" % (
        command.encode("ascii"),
        encode_headers(headers.items(), version),
        body,
    )
