"""STOMP frames: data types, header escapes of each version, and encoding.

Conversion between wire bytes and ``str`` happens only here and in the parser beside it.
Specification: https://stomp.github.io/stomp-specification-1.2.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from rtchat.errors import ProtocolError

__all__ = [
    "BODIES",
    "CLIENT_BODIES",
    "HEARTBEAT",
    "NEVER_ESCAPED",
    "SPECIAL",
    "Frame",
    "Head",
    "HeaderValue",
    "Version",
    "body_bytes",
    "encode",
    "encode_headers",
    "escape",
    "head_of",
    "header_values",
    "parse_head",
    "unescape",
]

HEARTBEAT = b"\n"
"""A heart-beat on the wire: one line feed between frames."""

HeaderValue: TypeAlias = "str | int"
"""What a program may give as the value of a header; a bool is an int, too."""


class Version(Enum):
    """A version of STOMP that both sides can agree on."""

    V10 = "1.0"
    V11 = "1.1"
    V12 = "1.2"

    # Every message looks up a dict by version, and Enum.__hash__ is a Python function.
    __hash__ = object.__hash__


@dataclass(slots=True, eq=False)
class Head:
    """A frame's command and headers, and the values derived from them.

    Frames that arrive with byte-identical header blocks share one head, so each derived value is
    computed once for a publisher that repeats its header block.

    Attributes:
        command: ``SEND``, ``MESSAGE``, …
        headers: Unescaped header values by name. Do not modify: frames share the mapping.
        content_length: The body's length in bytes according to ``content-length``, or None.
        size: The length of the header block in bytes as received, escapes included.
        held_bytes: What the head takes in memory, in bytes, or 0 before first use. Filled by
            :func:`~rtchat.core.broker.message.size_of`.
        encoded: For each version, the destination and the header lines that follow ``message-id``
            in MESSAGE frames. Filled by :class:`~rtchat.core.broker.encoder.StompEncoder`.
        passed_on: The publisher's headers as header lines of STOMP 1.2, or None before first use.
        is_plain: Whether a SEND with this head only has to be delivered to one topic or queue, so
            that the fast path applies.
        route: The resolved route of SENDs with this head, or None. The type is
            :class:`~rtchat.core.broker.router.Route`, which this package does not import.
    """

    command: str
    headers: Mapping[str, str]
    content_length: int | None = None
    size: int = 0
    encoded: dict[Version, tuple[str, bytes]] = field(default_factory=dict)
    passed_on: bytes | None = None
    route: object = None
    is_plain: bool = False
    held_bytes: int = 0


@dataclass(slots=True, eq=False)
class Frame:
    """One STOMP frame.

    Attributes:
        command: ``SEND``, ``MESSAGE``, …
        headers: Unescaped header values by name. Do not modify: frames with byte-identical
            header blocks share one mapping.
        body: The body's bytes.
        head: The head that the parser made of the header block. None for a frame constructed in
            code, until :func:`head_of` adds it.
    """

    command: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    head: Head | None = None

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


def head_of(frame: Frame) -> Head:
    """Return the frame's head. A frame constructed in code gets one at the first call."""
    head = frame.head
    if head is None:
        block = encode_headers(frame.headers.items(), Version.V12)
        size = len(frame.command) + len(block)  # the command's line end replaces the last one
        head = frame.head = Head(frame.command, frame.headers, None, size)
    return head


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
SPECIAL = re.compile(r"[\\\r\n:]")
_BACKSLASH = re.compile(r"\\.?", re.DOTALL)

BODIES = frozenset({"SEND", "MESSAGE", "ERROR"})
"""The commands whose ``content-length`` counts."""

CLIENT_BODIES = frozenset({"SEND"})
"""Those of clients. Many clients copy the headers of a MESSAGE to their ACK, so the
``content-length`` of other frames says nothing about their body."""

# "CONNECT and CONNECTED frames do not escape the carriage return, line feed or colon octets
# in order to remain backward compatible with STOMP 1.0."
NEVER_ESCAPED = frozenset({"CONNECT", "STOMP", "CONNECTED"})
_LINE_BREAKS = str.maketrans("\r\n", "  ")
_NAME_BREAKS = str.maketrans("\r\n:", "   ")


def escape(text: str, version: Version, *, is_name: bool = False) -> str:
    """Return a header name or value as it is written on the wire.

    STOMP 1.0 has no escapes, so line breaks (and a colon in a name) become spaces: a 1.2
    publisher must not be able to forge a header for a 1.0 subscriber.

    Args:
        text: The plain text.
        version: The receiver's version.
        is_name: Whether the text is a header's name.
    """
    if SPECIAL.search(text) is None:
        return text
    if version is Version.V10:
        return text.translate(_NAME_BREAKS if is_name else _LINE_BREAKS)
    return text.translate(_ESCAPE_TABLES[version])


def unescape(text: str, version: Version) -> str:
    """Return a header name or value without its escapes; the inverse of :func:`escape`.

    Raises:
        ProtocolError: The text contains an escape that the version does not define.
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


def encode_headers(headers: Iterable[tuple[str, str]], version: Version) -> bytes:
    """Return the header lines in UTF-8, escaped for the version, each ending with a line feed."""
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
    """Return a frame's bytes, including its end: NUL and a line feed.

    The line feed is optional ("NUL octets may be followed by multiple EOLs"), but clients that
    read lines wait for it, and so each other server sends it.

    Args:
        command: The frame's command.
        headers: Unescaped header values. The caller adds ``content-length``.
        body: The body's bytes.
        version: The receiver's version. CONNECT, STOMP and CONNECTED are never escaped,
            whatever the version.
    """
    if command in NEVER_ESCAPED:
        version = Version.V10
    return b"%b\n%b\n%b\0\n" % (
        command.encode("ascii"),
        encode_headers(headers.items(), version),
        body,
    )


def header_values(headers: Mapping[str, HeaderValue]) -> dict[str, str]:
    """Return headers that a program wrote as text: ``1`` becomes "1", and ``True`` "true".

    Raises:
        TypeError: A name or a value has another type; the text says which.
    """
    return {_header_name(name): _header_value(name, value) for name, value in headers.items()}


def _header_name(name: object) -> str:
    if isinstance(name, str):
        return name
    raise TypeError(f"the header {name!r} has a name that is no str")


def _header_value(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return str.__str__(value)  # also the value of an Enum whose members are texts
    if isinstance(value, int):
        return int.__repr__(value)
    kind = type(value).__name__
    raise TypeError(f"the header {name} has the value {value!r} ({kind}); give a str, int or bool")


def body_bytes(body: bytes | str) -> bytes:
    """Return a body that a program wrote as bytes; text becomes UTF-8.

    Raises:
        TypeError: It has another type.
    """
    if isinstance(body, str):
        return body.encode("utf-8")
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body)
    raise TypeError(f"the body is of type {type(body).__name__}; give bytes or a str")


def parse_head(block: bytes, version: Version) -> tuple[str, dict[str, str]]:
    """Parse a frame's command and headers.

    Args:
        block: The bytes before the blank line, without the last line's end.
        version: The client's version. CONNECT frames are never unescaped.

    Returns:
        The command, and the unescaped headers by name. Of repeated headers the first one counts.

    Raises:
        ProtocolError: The bytes are not UTF-8, a line has no name or no colon, or an escape is
            undefined.
    """
    try:
        text = block.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ProtocolError(
            "headers are not UTF-8", f"Byte {error.start} of the frame is not valid UTF-8."
        ) from None
    lines = text.split("\n")
    command = lines[0].removesuffix("\r")
    escapes = "\\" in text and command not in NEVER_ESCAPED
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
