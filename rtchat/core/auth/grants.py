"""Grants: what one right allows, and which destinations a right can be about."""

from __future__ import annotations

import re
from typing import NamedTuple

from rtchat.core.auth.coverage import PRESENCE, SESSION, TOPIC, USER, kind_of
from rtchat.core.auth.verbs import Verb
from rtchat.core.broker.destinations import DestinationKind, words_of
from rtchat.core.broker.patterns import MAX_WORDS

__all__ = ["USER_PLACE", "Grant", "problem_with", "user_word"]

USER_PLACE = "{user}"
"""Stands for the user's name in the destination of a right."""

_SPECIAL = re.compile(r"[./*#>,%{}\s]")
_WILD = re.compile(r"[*#>]")
_PREFIXES = (*(kind.value for kind in DestinationKind), PRESENCE, USER, SESSION)
_WITHOUT_RIGHTS = (
    DestinationKind.TEMP_QUEUE.value,
    DestinationKind.REPLY_QUEUE.value,
    SESSION,
)


class Grant(NamedTuple):
    """What a line of ``[rights]``, a token or a hook allows.

    Attributes:
        verbs: What is allowed.
        destination: Where; it may be a pattern, and have :data:`USER_PLACE` in it.
    """

    verbs: frozenset[Verb]
    destination: str


def user_word(user: str) -> str:
    """Return a user's name as one word of a destination.

    All characters with a meaning in destinations and patterns are written as in a URL, and so is
    white space: ``a.b`` is ``a%2Eb``. So no name can widen a pattern, and two names are never the
    same word.
    """
    return _SPECIAL.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), user)


def problem_with(destination: str) -> str:
    """Return why a right cannot be about this destination, and what to do; "" if it can.

    What would be valid but allow nothing, or not what it seems to, is a problem as well.

    Args:
        destination: It may be a pattern, and have :data:`USER_PLACE` in it.
    """
    kind, words = kind_of(destination), words_of(destination)
    if "," in destination:
        return f"names several destinations at once, {destination}; name them one by one"
    if len(words) > MAX_WORDS:
        return f"names a destination of {len(words)} words; write {MAX_WORDS} or fewer"
    if words == [""] or destination in _PREFIXES:
        prefix = destination if destination in _PREFIXES else "/"
        return f"names {destination or 'nothing'} without a name after it; write {prefix}# for all"
    if kind == DestinationKind.PUBSUB.value:
        return (
            f"names {destination}, which needs no right of its own; name the destinations of its "
            "line in [pubsub]"
        )
    if kind in _WITHOUT_RIGHTS:
        return f"names {destination}, which every session may use as it is; remove it"
    prefix = f"/{words[0]}/"
    if kind == TOPIC and prefix in _PREFIXES and prefix != DestinationKind.TOPIC.value:
        rest = ".".join(words[1:])
        return f"names {destination}, which is a topic; write {prefix}{rest}"
    return _problem_with_words(destination, words)


def _problem_with_words(destination: str, words: list[str]) -> str:
    if USER_PLACE in words[0]:
        return (
            f"begins {destination} with {USER_PLACE}; write a word before it, such as "
            f"/topic/{USER_PLACE}"
        )
    for at, word in enumerate(words):
        rest = word.replace(USER_PLACE, "")
        if "{" in rest or "}" in rest:
            return f"has {word} in {destination}; only {USER_PLACE} may stand in braces"
        is_wild = word in ("*", "#") or (word == ">" and at == len(words) - 1)
        if not is_wild and _WILD.search(word) is not None:
            return (
                f"has {word} in {destination}, where a wildcard has to be a whole word: * is one "
                "word, and # (or > at the end) any number of them, such as /topic/chat.*"
            )
    return ""
