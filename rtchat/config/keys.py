"""Keys of chat.ini, declared where their values are used: as fields of a dataclass.

::

    @dataclass(frozen=True, slots=True)
    class EchoSettings:
        delay_s: float = key("[echo] delay", 1.0, unit="seconds", low=0.1, high=60)
        max_bytes: int = key("[echo] max_bytes", 4 * KIB, unit="bytes", low=KIB, high=MIB)

This is the only place where section, name, unit, range and default of a key are written.
``rtchat.config.schema`` reads a chat.ini into such a dataclass. This module holds values only,
so that the core may import it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, field, fields
from typing import Any, NamedTuple, Protocol, TypeVar

__all__ = ["GIB", "KIB", "MIB", "Key", "Lines", "Setting", "key", "keys_of", "lines", "lines_of"]

KIB, MIB, GIB = 1024, 1024**2, 1024**3

_T = TypeVar("_T")

_METADATA = "chat.ini"


class Setting(Protocol):
    """One line of chat.ini, as a reader sees it; in full it is a ``SourceLine``."""

    @property
    def value(self) -> str:
        """The text after ``=``."""

    def error(self, problem: str) -> Exception:
        """Return the error to raise; ``problem`` says what is wrong and what to do."""


class Key(NamedTuple):
    """One key of chat.ini.

    Attributes:
        section: The section's name, without brackets.
        name: The key's name in that section.
        default: The value when the file does not set the key. Its type decides how the value is
            written: a float is a decimal number, an int a whole number, a bool ``yes`` or ``no``.
        unit: What a number counts, in the plural. An int with the unit "bytes" is a size and may
            be written with KiB, MiB or GiB. With a reader of its own: what may be written.
        low: The smallest value.
        high: The largest value.
        or_zero: Whether 0 is allowed below ``low``.
        read: Reads the value from a :class:`Setting` with a value, where the type does not say
            how.
    """

    section: str
    name: str
    default: object
    unit: str
    low: float
    high: float
    or_zero: bool
    read: Callable[[Any], Any] | None


class Lines(NamedTuple):
    """Lines of a section whose keys the user chooses, such as the rules of ``[access]``.

    Attributes:
        section: The section's name, without brackets.
        beginning: How these lines begin; all other lines of the section are keys. "" means that
            the section has no keys.
        read: Turns the lines, ``SourceLine`` by key and in the order of the file, into a value.
    """

    section: str
    beginning: str
    read: Callable[[Any], Any]


def key(
    setting: str,
    default: _T,
    *,
    unit: str = "",
    low: float = 0,
    high: float = 0,
    or_zero: bool = False,
    read: Callable[[Any], _T] | None = None,
) -> _T:
    """Declare a field that a key of chat.ini sets.

    Args:
        setting: Section and name, as error messages show them: ``"[broker] login.timeout"``.
        default: See :class:`Key`, as for all that follow.
        unit: What a number counts.
        low: The smallest value.
        high: The largest value.
        or_zero: Whether 0 is allowed, too.
        read: Reads a value that is neither a number nor yes or no.

    Returns:
        A ``dataclasses.field``; for the type checker, its default.
    """
    section, name = setting.removeprefix("[").split("] ")
    declared = Key(section, name, default, unit, low, high, or_zero, read)
    return field(default=default, metadata={_METADATA: declared})


def lines(section: str, read: Callable[[Any], _T], *, beginning: str = "") -> _T:
    """Declare a field that holds all the lines of a section whose keys the user chooses.

    Args:
        section: The section, as error messages show it: ``"[access]"``.
        read: Turns the lines into the field's value; the default is the value for no lines.
        beginning: How these lines begin, if the section has keys as well.

    Returns:
        A ``dataclasses.field``; for the type checker, its default.
    """
    declared = Lines(section.strip("[]"), beginning, read)
    return field(default_factory=lambda: read({}), metadata={_METADATA: declared})


def keys_of(kind: type) -> dict[str, Key]:
    """Return the keys that a dataclass declares, by field name and in their order."""
    return {each.name: it for each in fields(kind) if isinstance(it := _declared(each), Key)}


def lines_of(kind: type) -> dict[str, Lines]:
    """Return the lines that a dataclass declares, by field name."""
    return {each.name: it for each in fields(kind) if isinstance(it := _declared(each), Lines)}


def _declared(each: Field[Any]) -> object:
    return each.metadata.get(_METADATA)
