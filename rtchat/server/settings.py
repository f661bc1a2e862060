"""chat.ini is read part by part, or refused with one sentence that says what to change.

The file is read once, at start. Every mistake in it, down to a certificate that cannot be read,
is a ``ConfigError`` that names file, line, key, value and remedy, before a port is open.
docs/configuration.md explains every key to the people who write the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from rtchat.config.file import text_of
from rtchat.config.schema import ChatIni, Schema
from rtchat.server.part import Part

__all__ = ["DEFAULTS", "Settings", "defaults", "load"]

_S = TypeVar("_S")

DEFAULTS = """\
[listen]
http://127.0.0.1:9000
stomp://127.0.0.1:61613

[access]
self -> localhost:61613

[global]
session.ping_interval = 20

[history]
/topic/chat* = 1000, 7 days
file = :memory:

[rate]
messages_per_second = 10
"""


class Settings:
    """What chat.ini says, checked, for each part; paths are absolute.

    Args:
        source: The file the settings come from, or "built-in defaults".
        by_part: What each part has read.

    Attributes:
        source: The file the settings come from, or "built-in defaults".
    """

    __slots__ = ("_by_part", "source")

    def __init__(self, source: str, by_part: Mapping[type[Part[Any]], object]) -> None:
        self.source = source
        self._by_part = dict(by_part)

    def of(self, part: type[Part[_S]]) -> _S:
        """Return the settings of one part."""
        return cast(_S, self._by_part[part])


def load(path: Path, parts: Iterable[type[Part[Any]]]) -> Settings:
    """Read a chat.ini.

    Args:
        path: The file; relative paths inside it start at its folder.
        parts: Whose sections and keys are known.

    Raises:
        ConfigError: The file cannot be read or cannot be used. Print the text and stop: it
            names file, line, key and value and says what to change.
    """
    return _parse(text_of(path), str(path), parts)


def defaults(parts: Iterable[type[Part[Any]]]) -> Settings:
    """Return the settings for a start without a file: loopback only, for its own page."""
    return _parse(DEFAULTS, "built-in defaults", parts)


def _parse(text: str, file: str, parts: Iterable[type[Part[Any]]]) -> Settings:
    known = tuple(parts)
    schema = Schema(dict.fromkeys(kind for part in known for kind in part.reads))
    ini = ChatIni(text, file, schema)
    return Settings(file, {part: part.read(ini) for part in known})
