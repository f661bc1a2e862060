"""Parsing the head of a frame: its command and headers."""

from __future__ import annotations

from rtchat.core.stomp.frames import NEVER_ESCAPED, Version, unescape
from rtchat.errors import ProtocolError

__all__ = ["parse_head"]


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
