"""JSON as the server writes it, and as its readers' browsers will read it.

No other module imports simplejson.
"""

from __future__ import annotations

import simplejson

from rtchat.core.chat.chat import Json

__all__ = ["JSON", "json_line"]

_DECODER = simplejson.JSONDecoder(parse_int=float)


def json_line(value: object, *, is_ascii: bool = True) -> bytes:
    """Return a value as one line of JSON, with the line feed at its end.

    Args:
        value: Dicts, lists, texts, numbers, booleans and None.
        is_ascii: Whether other characters are escaped; otherwise the line is UTF-8.
    """
    text: str = simplejson.dumps(value, ensure_ascii=is_ascii)
    return text.encode("utf-8") + b"\n"


def _write(value: object) -> bytes:
    text: str = simplejson.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8")


def _read(data: bytes) -> object:
    """Return the value that a browser sees in a body, or None if it is not JSON.

    A browser ignores a byte order mark, replaces bytes that are not UTF-8, and accepts numbers of
    any length; a body that only the browser could read would pass unchecked.

    Raises:
        RecursionError: It is nested too deeply for this server, but perhaps not for a browser.
    """
    # The decoder takes a hundred times as long to pass over white space around the value.
    text = data.decode("utf-8-sig", "replace").strip(" \t\r\n")
    try:
        return _DECODER.decode(text)
    except simplejson.JSONDecodeError:
        return None


JSON = Json(_write, _read)
"""For :func:`rtchat.core.chat.gate.open_chat`."""
