"""JSON as the server writes it, and reads it: as the browsers of its readers will."""

from __future__ import annotations

import simplejson

from rtchat.core.chat.chat import Json

__all__ = ["JSON"]

_DECODER = simplejson.JSONDecoder(parse_int=float)


def _write(value: object) -> bytes:
    text: str = simplejson.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8")


def _read(data: bytes) -> object:
    """Give what a browser sees in a body, None if that is no JSON.

    A browser ignores a byte order mark, puts a sign in the place of bytes that are not UTF-8,
    and takes numbers of any length; what only one side could read, nobody would have checked.

    Raises:
        RecursionError: It is nested too deeply for this server, and maybe not for a browser.
    """
    text = data.decode("utf-8-sig", "replace")
    try:
        return _DECODER.decode(text)
    except simplejson.JSONDecodeError:
        return None


JSON = Json(_write, _read)
"""For :func:`rtchat.core.chat.gate.open_chat`."""
