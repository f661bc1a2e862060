"""Rights: what each user may read, write and administer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple
from weakref import WeakValueDictionary

from rtchat.core.auth.coverage import QUEUE, TOPIC, USER, Asked, Pattern, kind_of
from rtchat.core.auth.doors import is_private_message, needed
from rtchat.core.auth.grants import USER_PLACE, Grant, problem_with, user_word
from rtchat.core.auth.identity import Identity
from rtchat.core.auth.verbs import Verb

__all__ = [
    "ANONYMOUS",
    "EVERY_USER",
    "GROUP_SIGN",
    "Grant",
    "Permissions",
    "Rights",
    "RightsLine",
    "Verb",
]

ANONYMOUS = "anonymous"
"""Stands for sessions without a user, in the lines of ``[rights]``."""

EVERY_USER = "*"
"""Stands for every user, and not for sessions without one."""

GROUP_SIGN = "@"
"""Comes before the name of a group."""

_MAX_REMEMBERED = 16_384
"""The largest number of answers that are remembered for all rights together."""

_MAX_REMEMBERED_CHARS = 256


class RightsLine(NamedTuple):
    """A line of ``[rights]``.

    Attributes:
        who: A user, a group after :data:`GROUP_SIGN`, :data:`ANONYMOUS` or :data:`EVERY_USER`.
        grants: What they may do.
    """

    who: str
    grants: tuple[Grant, ...]


_WITHOUT_LINES = (
    Grant(frozenset({Verb.READ, Verb.WRITE}), "/#"),
    Grant(frozenset({Verb.READ, Verb.WRITE}), f"{QUEUE}#"),
)
"""What every user may do if there is no section ``[rights]``."""


class _Ready(NamedTuple):
    """A grant that is ready for use.

    Attributes:
        verbs: What is allowed.
        pattern: Where; None if the user's name is missing in it.
        destination: Where, as it is written.
    """

    verbs: frozenset[Verb]
    pattern: Pattern | None
    destination: str

    def pattern_for(self, user: str) -> Pattern | None:
        """Return the pattern for a user; None for an anonymous session if it needs a name."""
        if self.pattern is not None:
            return self.pattern
        return _personal(self.destination, user) if user else None


def _personal(destination: str, user: str) -> Pattern:
    """Return the pattern for one user; its kind does not depend on the name."""
    return Pattern.parse(destination.replace(USER_PLACE, user_word(user)), kind_of(destination))


def _ready(grant: Grant) -> _Ready:
    is_personal = USER_PLACE in grant.destination
    pattern = None if is_personal else Pattern.parse(grant.destination)
    return _Ready(grant.verbs, pattern, grant.destination)


class _Interned:
    """All rights in use by what they allow, and how much they remember together."""

    __slots__ = ("by_key", "remembered")

    def __init__(self) -> None:
        self.by_key: WeakValueDictionary[object, Rights] = WeakValueDictionary()
        self.remembered = 0

    def count(self) -> None:
        """Count one more answer that is remembered; forget all of them if they are too many."""
        if self.remembered >= _MAX_REMEMBERED:
            for rights in list(self.by_key.values()):
                rights.forget()
            self.remembered = 0
        self.remembered += 1


class Rights:
    """What one or more identities may do; those who may do the same have the same object.

    Made by :meth:`Permissions.rights_of`. What an object allows never changes.

    Args:
        granted: Which verbs are allowed where.
        needs_private: Whether private messages need a right of their own.
        interned: All rights in use.
    """

    __slots__ = ("__weakref__", "_granted", "_interned", "_needs_private", "_remembered")

    def __init__(
        self,
        granted: frozenset[tuple[Pattern, frozenset[Verb]]],
        needs_private: bool,
        interned: _Interned,
    ) -> None:
        self._granted = granted
        self._needs_private = needs_private
        self._interned = interned
        self._remembered: dict[tuple[Verb, str], bool] = {}

    def may(self, verb: Verb, destination: str) -> bool:
        """Return whether this is allowed; answers are remembered.

        To read a pattern is allowed if one right covers all of it.

        Args:
            verb: What is to be done.
            destination: The destination of a SUBSCRIBE, or one of a SEND: of a composite
                destination, ask for each name. For ``/pubsub/NAME``, ask for each target as well.
        """
        key = (verb, destination)
        known = self._remembered.get(key)
        if known is None:
            known = self._decide(verb, destination)
            if len(destination) <= _MAX_REMEMBERED_CHARS:
                self._interned.count()
                self._remembered[key] = known
        return known

    @property
    def size(self) -> int:
        """How many patterns are compared to find out about a destination."""
        return len(self._granted)

    @property
    def is_empty(self) -> bool:
        """Whether no right was given; some destinations need none."""
        return not self._granted

    def forget(self) -> None:
        """Forget the answers that are remembered."""
        self._remembered.clear()

    def _decide(self, verb: Verb, destination: str) -> bool:
        if "," in destination and kind_of(destination) != USER:
            return False  # a composite destination that was not split: the right to one name only
        if self._covers(verb, destination):
            return True
        if is_private_message(verb, destination):
            return not self._needs_private and self._may_write_topics()
        needs = needed(verb, destination)
        return needs is not None and all(self.may(*need) for need in needs)

    def _covers(self, verb: Verb, destination: str) -> bool:
        # A SEND goes to this very name. What is administered may be all that a pattern matches.
        is_name = verb is Verb.WRITE
        asked = Asked.name(destination) if is_name else Asked.subscription(destination)
        return asked is not None and any(
            verb in verbs and pattern.covers(asked) for pattern, verbs in self._granted
        )

    def _may_write_topics(self) -> bool:
        return any(
            pattern.kind == TOPIC and Verb.WRITE in verbs for pattern, verbs in self._granted
        )


class Permissions:
    """The rights of all users, as ``[rights]`` and ``[groups]`` say.

    Args:
        lines: The lines of ``[rights]``; None if there is no such section: then users may read and
            write everything.
        groups: The users in each group.
        earlier: The permissions before these, if any: who may do what it could before keeps the
            same object.
    """

    def __init__(
        self,
        lines: Iterable[RightsLine] | None = None,
        groups: Mapping[str, Iterable[str]] | None = None,
        earlier: Permissions | None = None,
    ) -> None:
        if lines is None:
            lines = (RightsLine(EVERY_USER, _WITHOUT_LINES),)
        self._by_who: dict[str, list[_Ready]] = {}
        for line in lines:
            self._by_who.setdefault(line.who, []).extend(map(_ready, line.grants))
        self._groups_by_user: dict[str, set[str]] = {}
        for group, users in (groups or {}).items():
            for user in users:
                self._groups_by_user.setdefault(user, set()).add(group)
        self._needs_private = any(
            kind_of(grant.destination) == USER
            for grants in self._by_who.values()
            for grant in grants
        )
        self._interned: _Interned = _Interned() if earlier is None else earlier._interned

    def groups_of(self, identity: Identity) -> frozenset[str]:
        """Return the groups of an identity: those of ``[groups]``, and those it has with it."""
        return identity.groups.union(self._groups_by_user.get(identity.user, ()))

    def is_meant(self, who: str, identity: Identity) -> bool:
        """Return whether a line that begins with this is about an identity.

        Args:
            who: See :attr:`RightsLine.who`.
            identity: The identity.
        """
        if who == ANONYMOUS:
            return not identity.user
        if who == EVERY_USER:
            return bool(identity.user)
        if who.startswith(GROUP_SIGN):
            return who[len(GROUP_SIGN) :] in self.groups_of(identity)
        return who == identity.user

    def admits(self, identity: Identity) -> bool:
        """Return whether a session is let in: a user, or an anonymous one with any right."""
        return bool(identity.user) or not self.rights_of(identity).is_empty

    def rights_of(self, identity: Identity) -> Rights:
        """Return what an identity may do: the same object for all who may do the same."""
        verbs_of: dict[Pattern, frozenset[Verb]] = {}
        for pattern, verbs in self._grants_of(identity):
            verbs_of[pattern] = verbs | verbs_of.get(pattern, frozenset())
        granted = frozenset(verbs_of.items())
        key = (granted, self._needs_private)
        rights = self._interned.by_key.get(key)
        if rights is None:
            rights = Rights(granted, self._needs_private, self._interned)
            self._interned.by_key[key] = rights
        return rights

    def _grants_of(self, identity: Identity) -> Iterator[tuple[Pattern, frozenset[Verb]]]:
        user = identity.user
        lines = [EVERY_USER, user] if user else [ANONYMOUS]
        if user.startswith(GROUP_SIGN) or user in (ANONYMOUS, EVERY_USER):
            lines = [EVERY_USER]  # such a user has a name that says something else in [rights]
        lines += [GROUP_SIGN + group for group in self.groups_of(identity)]
        for line in lines:
            for grant in self._by_who.get(line, ()):
                pattern = grant.pattern_for(user)
                if pattern is not None:
                    yield pattern, grant.verbs
        for verb, destinations in (
            (Verb.READ, identity.read),
            (Verb.WRITE, identity.write),
            (Verb.ADMIN, identity.admin),
        ):
            for destination in destinations:
                # A token or hook is not corrected here: what is no right allows nothing.
                if (user or USER_PLACE not in destination) and not problem_with(destination):
                    yield _personal(destination, user), frozenset({verb})
