"""Patterns of destinations, and the search for those that match a name."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from rtchat.core.broker.destinations import words_of
from rtchat.errors import ProtocolError

__all__ = ["MAX_WORDS", "STEPS_PER_UNIT", "PatternIndex", "is_pattern"]

T = TypeVar("T")

_WILD = frozenset("*#>")

MAX_WORDS = 64
"""The largest number of words in a pattern, and of words of a name that are compared. Only a ``#``
at the end of a pattern matches the words of a name beyond it."""

STEPS_PER_UNIT = 4
"""So many steps of a search are a unit of work; see :mod:`rtchat.core.flow.turns`."""


def is_pattern(name: str) -> bool:
    """Return whether the destination of a SUBSCRIBE contains wildcards."""
    if not any(character in name for character in _WILD):
        return False
    words = words_of(name)
    return "*" in words or "#" in words or words[-1] == ">"


class PatternIndex(Generic[T]):
    """An index of patterns: finds those that match a name, with their values.

    ``*`` matches one word; ``#``, and ``>`` at the end, match any number of words. The patterns
    form a tree in which common beginnings are shared, so patterns that begin differently from a
    name cost nothing. The others cost one step for each of their words, whatever wildcards they
    have: all places of the name that the beginning of a pattern may reach are in one number, a bit
    for each.

    Attributes:
        steps: The number of steps of the latest search.
    """

    def __init__(self) -> None:
        self._root: _Node[T] = _Node(())
        self._count = 0
        self.steps = 0

    def __len__(self) -> int:
        return self._count

    def add(self, pattern: str, value: T) -> None:
        """Add a pattern with its value.

        Raises:
            ProtocolError: The pattern has too many words.
        """
        node, words = self._root, _pattern_words(pattern)
        while words:
            child = node.children.get(words[0])
            if child is None:
                child = node.children[words[0]] = _Node(words)
            else:
                child = child.split(_common(child.label, words))
                node.children[words[0]] = child
            node, words = child, words[len(child.label) :]
        node.values[pattern] = value
        self._count += 1

    def remove(self, pattern: str) -> None:
        """Remove a pattern, and the nodes of the tree that no other pattern uses."""
        path, words = [self._root], _pattern_words(pattern)
        while words:
            path.append(path[-1].children[words[0]])
            words = words[len(path[-1].label) :]
        del path[-1].values[pattern]
        self._count -= 1
        for node, parent in zip(path[:0:-1], path[-2::-1], strict=True):
            if node.values or len(node.children) > 1:
                break
            if node.children:
                [child] = node.children.values()
                child.label = node.label + child.label
                parent.children[child.label[0]] = child
                break
            del parent.children[node.label[0]]

    def matching(self, name: str) -> list[T]:
        """Return the values of the patterns that match the name, in no particular order."""
        words = words_of(name)
        # Bound the search for a long name; only a `#` matches the rest.
        is_cut = len(words) > MAX_WORDS
        del words[MAX_WORDS:]
        places: dict[str, int] = {}
        for at, word in enumerate(words):
            places[word] = places.get(word, 0) | 1 << at
        end = 1 << len(words)
        found: dict[str, T] = {}
        steps = 0
        waiting: list[tuple[_Node[T], int]] = [(self._root, 1)]
        while waiting:
            node, reached = waiting.pop()
            for word in node.label:
                steps += 1
                if word == "#":
                    reached = 2 * end - (reached & -reached)  # the first of them, and all after it
                else:
                    reached &= end - 1 if word == "*" else places.get(word, 0)
                    reached <<= 1
                    if not reached:
                        break
            else:
                if reached & end and node.values and (not is_cut or node.label[-1] == "#"):
                    found.update(node.values)
                children = node.children
                few: dict[str, Any] = places
                many: dict[str, Any] = children
                if len(children) < len(places):
                    few, many = children, places
                waiting += [
                    (children[key], reached)
                    for key in few
                    if key in many and (reached & places[key] or key in ("*", "#"))
                ]
                waiting += [
                    (children[key], reached)
                    for key in ("*", "#")
                    if key in children and key not in places
                ]
                steps += len(few)
        self.steps = steps
        return list(found.values())


class _Node(Generic[T]):
    """A node of the tree; the patterns below it have all words up to its own in common.

    Attributes:
        children: The nodes below, by their first words.
        label: Its own words, which follow those of the node above.
        values: The values of the patterns that end here, by pattern.
    """

    __slots__ = ("children", "label", "values")

    def __init__(self, label: tuple[str, ...]) -> None:
        self.label = label
        self.children: dict[str, _Node[T]] = {}
        self.values: dict[str, T] = {}

    def split(self, at: int) -> _Node[T]:
        """Return a node with so many of its words, with the rest of it below."""
        if at == len(self.label):
            return self
        upper: _Node[T] = _Node(self.label[:at])
        upper.children[self.label[at]] = self
        self.label = self.label[at:]
        return upper


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """Return how many words both begin with."""
    for at, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return at
    return min(len(one), len(other))


def _pattern_words(pattern: str) -> tuple[str, ...]:
    """Return the words of a pattern in their normal form: in a row of wildcards, ``#`` comes last.

    There is one at most, since more of them match nothing else.
    """
    words = words_of(pattern)
    if len(words) > MAX_WORDS:
        raise ProtocolError(
            f"pattern over the limit of {MAX_WORDS} words", "Subscribe to a shorter pattern."
        )
    if words[-1] == ">":
        words[-1] = "#"
    normal: list[str] = []
    is_many = False
    for word in words:
        if word == "#":
            is_many = True
            continue
        if is_many and word != "*":
            normal.append("#")
            is_many = False
        normal.append(word)
    if is_many:
        normal.append("#")
    return tuple(normal)
