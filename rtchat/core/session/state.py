"""The states of a session."""

from __future__ import annotations

from enum import Enum

__all__ = ["State"]


class State(Enum):
    """A state of a session; :mod:`rtchat.core.session.session` has the commands of each."""

    NEW = "before CONNECT"
    OPEN = "connected"
    CLOSED = "closed"

    # States are dict keys, and Enum.__hash__ is a Python function.
    __hash__ = object.__hash__
