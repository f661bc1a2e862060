"""JSON as the server writes it, and as its readers' browsers will read it.

No other module imports simplejson.
"""

from __future__ import annotations

import math

import simplejson

from rtchat.core.chat.chat import Json

__all__ = ["JSON", "json_line", "json_object"]

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


def json_object(data: bytes) -> dict[str, object]:
    """Return the object that strict JSON holds: no other value, and nothing that is doubtful.

    Raises:
        ValueError: The data is no UTF-8, is not JSON or not an object, names a key twice, holds
            half of a surrogate pair or a number that is not finite, or is nested too deeply. The
            text says which, and quotes nothing.
    """
    try:
        value = _STRICT_DECODER.decode(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except simplejson.JSONDecodeError as error:
        raise ValueError(f"it is not JSON, from character {error.pos} on") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("it is not an object, which begins with {")
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    for text in (*found, *found.values()):
        _check_text(text)
    return found


def _check_text(value: object) -> None:
    """Check the texts in a value that is not an object; objects were checked before it."""
    if isinstance(value, list):
        for one in value:
            _check_text(one)
    elif isinstance(value, str) and not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError("a text holds half of a surrogate pair") from None


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number is not finite")
    return number


def _integer(digits: str) -> float | int:
    return int(digits) if len(digits) < 20 else _finite(digits)


def _constant(_name: str) -> object:
    raise ValueError("a number is not finite")


_STRICT_DECODER = simplejson.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_finite, parse_int=_integer, parse_constant=_constant
)
