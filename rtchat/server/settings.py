"""chat.ini is read part by part, or refused with one sentence that says what to change.

The file is read once, at start. Every mistake in it, down to a certificate that cannot be read,
is a ``ConfigError`` that names file, line, key, value and remedy, before a port is open.
docs/configuration.md explains every key to the people who write the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from rtchat.config.ini import split_lines
from rtchat.config.keys import MIB
from rtchat.config.schema import ChatIni, Schema
from rtchat.config.values import os_reason
from rtchat.errors import ConfigError
from rtchat.server.part import Part

__all__ = ["DEFAULTS", "Settings", "defaults", "load", "read_again"]

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

# A configuration is a page of text; a larger file is something else, or a device.
_MAX_FILE_BYTES = MIB


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
    return _parse(_text_of(path), str(path), parts)


def read_again(ini: ChatIni) -> ChatIni:
    """Return a chat.ini as it is now.

    Args:
        ini: The same file as it was before.

    Raises:
        ConfigError: The file cannot be read or cannot be used.
    """
    return ChatIni(_text_of(Path(ini.file)), ini.file, ini.schema)


def defaults(parts: Iterable[type[Part[Any]]]) -> Settings:
    """Return the settings for a start without a file: loopback only, for its own page."""
    return _parse(DEFAULTS, "built-in defaults", parts)


def _parse(text: str, file: str, parts: Iterable[type[Part[Any]]]) -> Settings:
    known = tuple(parts)
    schema = Schema(dict.fromkeys(kind for part in known for kind in part.reads))
    ini = ChatIni(text, file, schema)
    return Settings(file, {part: part.read(ini) for part in known})


def _text_of(path: Path) -> str:
    name = str(path)
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(
            "there is no such file; check the path, or start without --config to use the "
            "built-in defaults",
            file=name,
        ) from None
    except IsADirectoryError:
        raise ConfigError("this is a folder; name the file in it", file=name) from None
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the file cannot be read ({os_reason(error)}); check the path and its permissions",
            file=name,
        ) from None
    if len(data) > _MAX_FILE_BYTES:
        raise ConfigError("the file is larger than 1 MiB; this is not a chat.ini", file=name)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"byte 0x{error.object[error.start]:02x} is not UTF-8; save the file as UTF-8",
            file=name,
            line=len(split_lines(error.object[: error.start].decode("latin-1"))),
        ) from None
