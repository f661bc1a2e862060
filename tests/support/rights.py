"""A naive model of rights: what the manual says, line by line and without a thought for speed.

What the code decides by words and gaps, and remembers, is decided here by trying names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from urllib.parse import quote

from rtchat.core.auth.coverage import kind_of
from rtchat.core.auth.grants import Grant
from rtchat.core.auth.permissions import RightsLine, Verb
from rtchat.core.broker.destinations import words_of
from rtchat.core.broker.patterns import is_pattern

__all__ = ["groups_of", "is_about", "line", "matches", "may"]

_FREE = {
    Verb.READ: ("/presence/rooms", "/user/queue/private"),
    Verb.WRITE: ("/session/token",),
    Verb.ADMIN: (),
}
_FREE_BELOW = {
    Verb.READ: ("/temp-queue/",),
    Verb.WRITE: ("/temp-queue/", "/reply-queue/", "/pubsub/"),
    Verb.ADMIN: (),
}
_TO_NICK = "/queue/private"


def line(who: str, *parts: str) -> RightsLine:
    """Return a line of ``[rights]``; each part is verbs, or ``all``, and a destination."""
    grants = []
    for part in parts:
        *verbs, destination = part.split()
        grants.append(Grant(frozenset(Verb if verbs == ["all"] else map(Verb, verbs)), destination))
    return RightsLine(who, tuple(grants))


def matches(pattern: Sequence[str], name: Sequence[str]) -> bool:
    """Return whether the words of a pattern stand for those of a name."""
    if not pattern:
        return not name
    first, rest = pattern[0], pattern[1:]
    if first == "#" or (first == ">" and not rest):
        return any(matches(rest, name[end:]) for end in range(len(name) + 1))
    return bool(name) and first in ("*", name[0]) and matches(rest, name[1:])


def is_about(who: str, user: str, groups: Collection[str]) -> bool:
    """Return whether a line that begins with this is about a user; "" is anonymous."""
    if who == "anonymous":
        return user == ""
    if who == "*":
        return user != ""
    if who.startswith("@"):
        return who[1:] in groups
    return who == user


def groups_of(groups: Mapping[str, Iterable[str]], user: str) -> set[str]:
    """Return the groups that a user is in."""
    return {group for group, users in groups.items() if user in users}


def may(
    lines: Iterable[RightsLine], user: str, groups: Collection[str], verb: Verb, destination: str
) -> bool:
    """Return whether a user may do something; to read a pattern is to read all that it matches.

    Args:
        lines: The section ``[rights]``.
        user: The user; "" is anonymous.
        groups: The user's groups.
        verb: What is to be done.
        destination: One destination; no composite one.
    """
    if any(_covers(place, verb, destination) for place in _places(lines, user, groups, verb)):
        return True
    if destination in _FREE[verb] or destination.startswith(_FREE_BELOW[verb]):
        return True
    if verb is Verb.READ and destination.startswith("/presence/"):
        return may(lines, user, groups, verb, destination.removeprefix("/presence"))
    words = words_of(destination)
    if verb is not Verb.ADMIN and kind_of(destination) == "" and words[:2] == ["topic", "typing"]:
        return may(lines, user, groups, verb, "/" + ".".join(["topic", "chat", *words[2:]]))
    nick = destination[len("/user/") : -len(_TO_NICK)]
    if verb is Verb.WRITE and destination == f"/user/{nick}{_TO_NICK}" and nick:
        if any(kind_of(grant.destination) == "/user/" for one in lines for grant in one.grants):
            return False
        return any(kind_of(place) == "" for place in _places(lines, user, groups, verb))
    return False


def _places(
    lines: Iterable[RightsLine], user: str, groups: Collection[str], verb: Verb
) -> Iterator[str]:
    """Return the destinations of a user's grants."""
    for one in lines:
        for grant in one.grants if is_about(one.who, user, groups) else ():
            place = grant.destination
            if verb in grant.verbs and (user or "{user}" not in place):
                word = quote(user, safe="").replace(".", "%2E")
                yield place.replace("{user}", word)


@cache
def _covers(place: str, verb: Verb, asked: str) -> bool:
    """Return whether a grant covers a destination, or all names that a pattern matches."""
    if kind_of(place) != kind_of(asked):
        return False
    granted, words = words_of(place), words_of(asked)
    if verb is Verb.WRITE or not is_pattern(asked):
        return matches(granted, words)
    alphabet = [*dict.fromkeys(word for word in (*granted, *words) if word not in "*#>"), "other"]
    longest = max(len(granted), len(words)) + 2
    names = (name for length in range(1, longest) for name in product(alphabet, repeat=length))
    return all(matches(granted, name) for name in names if matches(words, name))
