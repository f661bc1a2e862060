"""The file of a chat.ini: its text, or why it has none."""

from __future__ import annotations

from pathlib import Path

from rtchat.config.ini import split_lines
from rtchat.config.keys import MIB
from rtchat.config.values import os_reason
from rtchat.errors import ConfigError

__all__ = ["text_of"]

# A configuration is a page of text; a larger file is something else, or a device.
_MAX_FILE_BYTES = MIB


def text_of(path: Path) -> str:
    """Return the text of a chat.ini.

    Raises:
        ConfigError: The file cannot be read, is too large, or is not UTF-8.
    """
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
