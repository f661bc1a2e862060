"""Where a session is in its conversation."""

from __future__ import annotations

from enum import Enum

__all__ = ["State"]


class State(Enum):
    """Where a session is; the table in :mod:`rtchat.core.session.session` has its commands."""

    NEW = "before CONNECT"
    OPEN = "connected"
    CLOSED = "closed"

    # States are keys on the way of every message; an enum's own hash is a Python function.
    __hash__ = object.__hash__
