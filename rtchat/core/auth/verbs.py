"""What a right allows to do."""

from __future__ import annotations

from enum import Enum, unique

__all__ = ["Verb"]


@unique
class Verb(str, Enum):
    """What a right allows to do with a destination; the values are the words of chat.ini."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"
