"""Readers of single values: numbers, sizes, durations, yes or no."""

from __future__ import annotations

import re
from collections.abc import Callable
from configparser import ConfigParser
from typing import Any, TypeAlias

from rtchat.config.ini import Place

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


def filled_text(place: Place) -> str:
    if not place.value:
        raise place.error(f"has no value; write {place.key} = …, or remove the line")
    return place.value


def os_reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


Reader: TypeAlias = Callable[[Place], Any]


def seconds(low: float, high: float, *, or_zero: bool = False, unit: str = "seconds") -> Reader:
    def read(place: Place) -> float:
        value = float(place.value) if _NUMBER.fullmatch(place.value) else -1.0
        if not (low <= value <= high or (or_zero and value == 0)):
            zero = "0 or " if or_zero else ""
            raise place.error(
                f"cannot be used; write {zero}a number of {unit} from {low:g} to {high:g}"
            )
        return value

    return read


def whole_number(low: int, high: int, unit: str, *, or_zero: bool = False) -> Reader:
    def read(place: Place) -> int:
        text = place.value
        value = int(text) if "." not in text and _NUMBER.fullmatch(text) else -1
        if not (low <= value <= high or (or_zero and value == 0)):
            zero = "0 or " if or_zero else ""
            raise place.error(
                f"cannot be used; write {zero}a number of {unit} from {low} to {high}"
            )
        return value

    return read


def size_in_bytes(low: int, high: int) -> Reader:
    def read(place: Place) -> int:
        size = _SIZE.fullmatch(place.value)
        if size is None:
            raise place.error(
                "is not a size; write a number of bytes, or a number with KiB, MiB or GiB"
            )
        value = int(size["count"]) * _UNITS[(size["unit"] or "").upper()]
        if not low <= value <= high:
            raise place.error(f"is out of range; write {written_size(low)} to {written_size(high)}")
        return value

    return read


def written_size(size: int) -> str:
    """Write a size the way the file takes it."""
    for unit, factor in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if size % factor == 0:
            return f"{size // factor} {unit}"
    return f"{size} bytes"


def yes_no(place: Place) -> bool:
    states = ConfigParser.BOOLEAN_STATES
    if place.value.lower() not in states:
        raise place.error("is neither; write yes or no")
    return states[place.value.lower()]
