"""Names of destinations: their kinds, their words, and patterns over them."""

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
    """What a destination's prefix makes of it."""

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
"""Words in a pattern, and words of a name that are looked at: matching is a search, and this
bounds it. Of a longer name only a ``#`` at a pattern's end can match the rest."""


def destination_kind(name: str) -> DestinationKind:
    """Tell a destination's kind; a name with a prefix of its own is a topic.

    Raises:
        ProtocolError: The name is a bare prefix.
    """
    for kind in _OTHER_KINDS:
        if name.startswith(kind.value):
            if name == kind.value:
                raise ProtocolError("destination without a name", f"{name} needs a name after it.")
            return kind
    return DestinationKind.TOPIC


class Glob:
    """Names that match one of several patterns; ``*`` stands for any run of characters.

    Args:
        patterns: The patterns; without any, nothing matches.
    """

    __slots__ = ("matches", "patterns")

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(patterns)
        parts = [".*".join(map(re.escape, pattern.split("*"))) for pattern in self.patterns]
        expression = re.compile("|".join(parts) if parts else r"(?!)", re.DOTALL)
        # The expression's own method: to ask costs no call of Python code.
        self.matches: Callable[[str], re.Match[str] | None] = expression.fullmatch

    def __contains__(self, name: str) -> bool:
        return self.matches(name) is not None


def split_composite(name: str) -> list[str]:
    """Give the destinations of a composite SEND, ``/topic/a,/queue/b``, each once, in order.

    Raises:
        ProtocolError: One of them is empty.
    """
    names = list(dict.fromkeys(part.strip() for part in name.split(",")))
    if not all(names):
        raise ProtocolError(
            "an empty destination",
            "A composite destination is a list of names with one comma between them.",
        )
    return names


def words_of(name: str) -> list[str]:
    """Split a name at ``.`` and ``/``, which count the same."""
    return _SEPARATOR.split(name.strip("/"))


def is_pattern(name: str) -> bool:
    """Tell whether a name to subscribe to stands for many."""
    if not any(character in name for character in _WILD):
        return False
    words = words_of(name)
    return "*" in words or "#" in words or words[-1] == ">"


class PatternIndex(Generic[T]):
    """Finds the patterns that match a name.

    ``*`` matches one word, ``#`` any number of words, and so does ``>`` at the end. Patterns
    share their beginnings in a tree, so the cost depends on the name and not on their number.
    """

    def __init__(self) -> None:
        self._root: _Node[T] = _Node(is_many=False)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, pattern: str, value: T) -> None:
        """Let the pattern stand for the value.

        Raises:
            ProtocolError: The pattern has too many words.
        """
        node = self._root
        for word in _pattern_words(pattern):
            node = node.children.setdefault(word, _Node(is_many=word == "#"))
        node.values[pattern] = value
        self._count += 1

    def remove(self, pattern: str) -> None:
        """Forget the pattern, and the part of the tree that only it needed."""
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
        """Give the values whose patterns match the name, in no particular order."""
        words = words_of(name)
        # Nobody can make us look any further; only a `#` stands for the rest.
        is_cut = len(words) > MAX_WORDS
        del words[MAX_WORDS:]
        found: dict[str, T] = {}
        seen: set[tuple[int, int]] = set()
        waiting: list[tuple[_Node[T], int]] = [(self._root, 0)]
        while waiting:
            node, position = waiting.pop()
            # Each node is looked at once per position, however many `#` lead there.
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
        """Give the nodes to look at next, each with the position of its next word."""
        many = self.children.get("#")
        if many is not None:
            yield many, position  # it may stand for no word at all
        if position < len(words):
            if self.is_many:
                yield self, position + 1  # or for one more
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
