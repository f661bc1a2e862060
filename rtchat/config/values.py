"""Readers of single values: numbers, sizes, yes or no."""

from __future__ import annotations

import re
from collections.abc import Callable
from configparser import ConfigParser
from typing import Any, TypeAlias

from rtchat.config.ini import SourceLine
from rtchat.config.keys import GIB, KIB, MIB, Key

__all__ = ["URL_SEGMENT", "Reader", "filled_text", "os_reason", "reader_of", "written_size"]

Reader: TypeAlias = Callable[[SourceLine], Any]
"""Returns the value of a line, or raises a ConfigError that says what may be written."""

_UNITS = {"": 1, "KIB": KIB, "MIB": MIB, "GIB": GIB}

_NUMBER = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?")

_SIZE = re.compile(r"(?P<count>-?[0-9]{1,15})\s*(?P<unit>[KMG]iB)?", re.IGNORECASE)

URL_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""What may stand between two slashes of a URL and needs no escapes there."""


def reader_of(key: Key) -> Reader:
    """Return what reads a key's value.

    Raises:
        TypeError: The key's default is no number, no bool, and the key has no reader.
    """
    read = key.read
    if read is not None:
        return lambda source_line: filled_text(source_line) and read(source_line)
    if isinstance(key.default, bool):
        return _read_yes_or_no
    if isinstance(key.default, int):
        read_number = _read_size if key.unit == "bytes" else _read_whole_number
        return lambda source_line: read_number(source_line, key)
    if isinstance(key.default, float):
        return lambda source_line: _read_number(source_line, key)
    raise TypeError(f"[{key.section}] {key.name} needs a reader")


def filled_text(source_line: SourceLine) -> str:
    """Return the value as it is written; there has to be one."""
    if not source_line.value:
        raise source_line.error(f"has no value; write {source_line.key} = …, or remove the line")
    return source_line.value


def os_reason(error: OSError | ValueError) -> str:
    """Return why the system refused, in its own words."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def written_size(size: int) -> str:
    """Return a size as the file takes it, such as "4 KiB"."""
    for unit, factor in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if size % factor == 0:
            return f"{size // factor} {unit}"
    return f"{size} bytes"


def _read_number(source_line: SourceLine, key: Key) -> float:
    value = float(source_line.value) if _NUMBER.fullmatch(source_line.value) else -1.0
    if not _is_in_range(value, key):
        raise source_line.error(
            f"cannot be used; write {_zero(key)}a number of {key.unit} from {key.low:g} to "
            f"{key.high:g}"
        )
    return value


def _read_whole_number(source_line: SourceLine, key: Key) -> int:
    text = source_line.value
    value = int(text) if "." not in text and _NUMBER.fullmatch(text) else -1
    if not _is_in_range(value, key):
        raise source_line.error(
            f"cannot be used; write {_zero(key)}a number of {key.unit} from {key.low} to {key.high}"
        )
    return value


def _read_size(source_line: SourceLine, key: Key) -> int:
    size = _SIZE.fullmatch(source_line.value)
    if size is None:
        raise source_line.error(
            "is not a size; write a number of bytes, or a number with KiB, MiB or GiB"
        )
    value = int(size["count"]) * _UNITS[(size["unit"] or "").upper()]
    if not _is_in_range(value, key):
        low, high = written_size(int(key.low)), written_size(int(key.high))
        raise source_line.error(f"is out of range; write {_zero(key)}{low} to {high}")
    return value


def _read_yes_or_no(source_line: SourceLine) -> bool:
    states = ConfigParser.BOOLEAN_STATES
    if source_line.value.lower() not in states:
        raise source_line.error("cannot be used; write yes or no")
    return states[source_line.value.lower()]


def _is_in_range(value: float, key: Key) -> bool:
    return key.low <= value <= key.high or (key.or_zero and value == 0)


def _zero(key: Key) -> str:
    return "0 or " if key.or_zero else ""
