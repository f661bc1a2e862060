"""Readers of single values: numbers, sizes, durations, yes or no."""

from __future__ import annotations

import re
from collections.abc import Callable
from configparser import ConfigParser
from typing import Any, TypeAlias

from rtchat.config.ini import SourceLine

__all__ = [
    "GIB",
    "KIB",
    "MIB",
    "URL_SEGMENT",
    "Reader",
    "filled_text",
    "os_reason",
    "seconds",
    "size_in_bytes",
    "whole_number",
    "yes_no",
]


KIB, MIB, GIB = 1024, 1024**2, 1024**3

_UNITS = {"": 1, "KIB": KIB, "MIB": MIB, "GIB": GIB}

_NUMBER = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?")

_SIZE = re.compile(r"(?P<count>-?[0-9]{1,15})\s*(?P<unit>[KMG]iB)?", re.IGNORECASE)

URL_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def filled_text(source_line: SourceLine) -> str:
    if not source_line.value:
        raise source_line.error(f"has no value; write {source_line.key} = …, or remove the line")
    return source_line.value


def os_reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


Reader: TypeAlias = Callable[[SourceLine], Any]


def seconds(low: float, high: float, *, or_zero: bool = False, unit: str = "seconds") -> Reader:
    def read(source_line: SourceLine) -> float:
        value = float(source_line.value) if _NUMBER.fullmatch(source_line.value) else -1.0
        if not (low <= value <= high or (or_zero and value == 0)):
            zero = "0 or " if or_zero else ""
            raise source_line.error(
                f"cannot be used; write {zero}a number of {unit} from {low:g} to {high:g}"
            )
        return value

    return read


def whole_number(low: int, high: int, unit: str, *, or_zero: bool = False) -> Reader:
    def read(source_line: SourceLine) -> int:
        text = source_line.value
        value = int(text) if "." not in text and _NUMBER.fullmatch(text) else -1
        if not (low <= value <= high or (or_zero and value == 0)):
            zero = "0 or " if or_zero else ""
            raise source_line.error(
                f"cannot be used; write {zero}a number of {unit} from {low} to {high}"
            )
        return value

    return read


def size_in_bytes(low: int, high: int) -> Reader:
    def read(source_line: SourceLine) -> int:
        size = _SIZE.fullmatch(source_line.value)
        if size is None:
            raise source_line.error(
                "is not a size; write a number of bytes, or a number with KiB, MiB or GiB"
            )
        value = int(size["count"]) * _UNITS[(size["unit"] or "").upper()]
        if not low <= value <= high:
            raise source_line.error(
                f"is out of range; write {written_size(low)} to {written_size(high)}"
            )
        return value

    return read


def written_size(size: int) -> str:
    """Write a size the way the file takes it."""
    for unit, factor in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if size % factor == 0:
            return f"{size // factor} {unit}"
    return f"{size} bytes"


def yes_no(source_line: SourceLine) -> bool:
    states = ConfigParser.BOOLEAN_STATES
    if source_line.value.lower() not in states:
        raise source_line.error("is neither; write yes or no")
    return states[source_line.value.lower()]
