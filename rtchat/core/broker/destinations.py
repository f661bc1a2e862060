"""Names of destinations: kinds, words, patterns, and composite names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import Generic, TypeVar

from rtchat.errors import ProtocolError

__all__ = [
    "MAX_WORDS",
    "DestinationKind",
    "Glob",
    "PatternIndex",
    "destination_kind",
    "is_pattern",
    "split_composite",
    "words_of",
]

T = TypeVar("T")


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
_WILD = frozenset("*#>")

MAX_WORDS = 64
"""The largest number of words in a pattern, and of words of a name that are compared. It bounds
the search. Only a ``#`` at the end of a pattern matches the words of a name beyond it."""


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


def is_pattern(name: str) -> bool:
    """Return whether the destination of a SUBSCRIBE contains wildcards."""
    if not any(character in name for character in _WILD):
        return False
    words = words_of(name)
    return "*" in words or "#" in words or words[-1] == ">"


class PatternIndex(Generic[T]):
    """An index of patterns: finds those that match a name, with their values.

    ``*`` matches one word; ``#``, and ``>`` at the end, match any number of words. The patterns
    form a tree in which common beginnings are shared, so the cost of a search depends on the name
    and not on the number of patterns.
    """

    def __init__(self) -> None:
        self._root: _Node[T] = _Node(is_many=False)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, pattern: str, value: T) -> None:
        """Add a pattern with its value.

        Raises:
            ProtocolError: The pattern has too many words.
        """
        node = self._root
        for word in _pattern_words(pattern):
            node = node.children.setdefault(word, _Node(is_many=word == "#"))
        node.values[pattern] = value
        self._count += 1

    def remove(self, pattern: str) -> None:
        """Remove a pattern, and the nodes of the tree that no other pattern uses."""
        path = [self._root]
        words = _pattern_words(pattern)
        for word in words:
            path.append(path[-1].children[word])
        del path[-1].values[pattern]
        self._count -= 1
        for word, node, parent in zip(reversed(words), path[:0:-1], path[-2::-1], strict=True):
            if node.values or node.children:
                break
            del parent.children[word]

    def matching(self, name: str) -> list[T]:
        """Return the values of the patterns that match the name, in no particular order."""
        words = words_of(name)
        # Bound the search for a long name; only a `#` matches the rest.
        is_cut = len(words) > MAX_WORDS
        del words[MAX_WORDS:]
        found: dict[str, T] = {}
        seen: set[tuple[int, int]] = set()
        waiting: list[tuple[_Node[T], int]] = [(self._root, 0)]
        while waiting:
            node, position = waiting.pop()
            # Visit each node once per position, however many `#` lead there.
            if (id(node), position) in seen:
                continue
            seen.add((id(node), position))
            if position == len(words) and (node.is_many or not is_cut):
                found.update(node.values)
            waiting.extend(node.steps(words, position))
        return list(found.values())


class _Node(Generic[T]):
    __slots__ = ("children", "is_many", "values")

    def __init__(self, *, is_many: bool) -> None:
        self.is_many = is_many
        self.children: dict[str, _Node[T]] = {}
        self.values: dict[str, T] = {}

    def steps(self, words: list[str], position: int) -> Iterator[tuple[_Node[T], int]]:
        """Yield the nodes to visit next, each with the position of the next word to match."""
        many = self.children.get("#")
        if many is not None:
            yield many, position  # it may match no word
        if position < len(words):
            if self.is_many:
                yield self, position + 1  # it may match one more word
            for word in (words[position], "*"):
                child = self.children.get(word)
                if child is not None and child is not many:
                    yield child, position + 1


def _pattern_words(pattern: str) -> list[str]:
    words = words_of(pattern)
    if len(words) > MAX_WORDS:
        raise ProtocolError(
            f"pattern over the limit of {MAX_WORDS} words", "Subscribe to a shorter pattern."
        )
    if words[-1] == ">":
        words[-1] = "#"
    return words
