"""The user that this process runs as."""

from __future__ import annotations

import os
import pwd

__all__ = ["process_user"]


def process_user() -> str:
    """Return the name of the user that this process runs as, for error texts."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # in a container the user may have only a number
        return f"user {os.geteuid()}"
