"""``[static]`` and host names: what the web server serves."""

from __future__ import annotations

import os
import re
from pathlib import Path

from rtchat.config.ini import SourceLine
from rtchat.config.values import URL_SEGMENT, filled_text
from rtchat.core.access.hosts import normal_host

__all__ = ["read_hosts", "read_mount", "static_folder"]


_RESERVED_MOUNTS = ("static", "ws", "stomp", "tcp", "embed", "health", "metrics", "status")


def read_mount(source_line: SourceLine, folder: Path) -> Path:
    """Return what ``[static] name = path`` serves."""
    if not URL_SEGMENT.fullmatch(source_line.key):
        raise source_line.error(
            "has a name that is no part of a URL; use letters, digits, '.', '_' and '-', "
            "beginning with a letter or digit"
        )
    if source_line.key.lower() in _RESERVED_MOUNTS:
        raise source_line.error(
            f"takes the path /{source_line.key}, which rtchat needs; choose another name"
        )
    path = folder / filled_text(source_line)
    if not os.path.exists(path):
        raise source_line.error(
            f"does not exist; write the path of a folder or file ({path} was tried)"
        )
    if not os.access(path, os.R_OK | (os.X_OK if os.path.isdir(path) else 0)):
        raise source_line.error("cannot be read; change its permissions or the path")
    return path


def read_hosts(source_line: SourceLine) -> tuple[str, ...]:
    names = re.findall(r"[^,\s]+", filled_text(source_line))
    if not names:
        raise source_line.error("has no name in it; write one, such as chat.example.com")
    try:
        return tuple(dict.fromkeys(normal_host(name) for name in names))
    except ValueError as error:
        raise source_line.error(
            f"is not a list of host names ({error}); write names without port, such as "
            "chat.example.com"
        ) from None


def static_folder() -> Path:
    """Find the page: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "static"
    return inside if inside.is_dir() else package.parent / "static"
