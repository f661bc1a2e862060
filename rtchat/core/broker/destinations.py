"""Names of destinations: kinds, words, and composite names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import Enum

from rtchat.errors import ProtocolError

__all__ = [
    "DestinationKind",
    "Glob",
    "destination_kind",
    "split_composite",
    "words_of",
]


class DestinationKind(Enum):
    """The kinds of destinations, with their prefixes."""

    TOPIC = "/topic/"
    QUEUE = "/queue/"
    TEMP_QUEUE = "/temp-queue/"
    REPLY_QUEUE = "/reply-queue/"
    PUBSUB = "/pubsub/"


_OTHER_KINDS = (
    DestinationKind.QUEUE,
    DestinationKind.TEMP_QUEUE,
    DestinationKind.REPLY_QUEUE,
    DestinationKind.PUBSUB,
)
_SEPARATOR = re.compile(r"[./]")


def destination_kind(name: str) -> DestinationKind:
    """Return a destination's kind. A name without a known prefix is a topic.

    Raises:
        ProtocolError: The name consists of a prefix only.
    """
    for kind in _OTHER_KINDS:
        if name.startswith(kind.value):
            if name == kind.value:
                raise ProtocolError("destination without a name", f"{name} needs a name after it.")
            return kind
    return DestinationKind.TOPIC


class Glob:
    """The set of names that match at least one pattern; ``*`` stands for any run of characters.

    Args:
        patterns: The patterns. Without patterns the set is empty.

    Attributes:
        matches: Returns a match object if a name is in the set, else None. Faster than ``in``.
        patterns: As above.
    """

    __slots__ = ("matches", "patterns")

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(patterns)
        parts = [".*".join(map(re.escape, pattern.split("*"))) for pattern in self.patterns]
        expression = re.compile("|".join(parts) if parts else r"(?!)", re.DOTALL)
        # The method of the compiled expression, so that a test involves no Python function.
        self.matches: Callable[[str], re.Match[str] | None] = expression.fullmatch

    def __contains__(self, name: str) -> bool:
        return self.matches(name) is not None


def split_composite(name: str) -> list[str]:
    """Return the names in a composite destination (``/topic/a,/queue/b``), each once, in order.

    A part that does not begin with a slash is of the kind of the first one: ``/queue/a,b`` is two
    queues.

    Raises:
        ProtocolError: A name is empty.
    """
    parts = [part.strip() for part in name.split(",")]
    first = parts[0]
    prefix = next((kind.value for kind in DestinationKind if first.startswith(kind.value)), "")
    names = [part if part.startswith("/") else prefix + part for part in parts]
    names = list(dict.fromkeys(names))
    if not all(parts):
        raise ProtocolError(
            "an empty destination",
            "A composite destination is a list of names with one comma between them.",
        )
    return names


def words_of(name: str) -> list[str]:
    """Split a name at ``.`` and ``/``, which are equivalent."""
    return _SEPARATOR.split(name.strip("/"))
