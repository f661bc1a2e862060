"""``[rights]`` and ``[groups]``: who may read, write and administer what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from rtchat.config.ini import SourceLine
from rtchat.config.keys import lines
from rtchat.config.schema import ChatIni, nearest
from rtchat.core.auth.grants import USER_PLACE, Grant, problem_with
from rtchat.core.auth.identity import MAX_USER_CHARS, is_user_name
from rtchat.core.auth.permissions import (
    ANONYMOUS,
    EVERY_USER,
    GROUP_SIGN,
    Permissions,
    RightsLine,
    Verb,
)

__all__ = ["RightsSettings", "how_to_name_a_group"]

_ALL = "all"
_VERBS: Mapping[str, frozenset[Verb]] = {
    **{verb.value: frozenset({verb}) for verb in Verb},
    _ALL: frozenset(Verb),
}
_EXAMPLE = "alice = read write /topic/chat, read /topic/news"
_NO_COMMENT = "a # after a space begins a comment, so write /# for all topics"


def _read_rights(source_lines: Mapping[str, SourceLine]) -> tuple[RightsLine, ...]:
    return tuple(map(_read_line, source_lines.values()))


def _read_line(source_line: SourceLine) -> RightsLine:
    """Read ``WHO = VERBS DESTINATION, …``."""
    who = source_line.key
    if not source_line.value:
        raise source_line.error(
            f"gives no right; write WHO = VERBS DESTINATION, such as {_EXAMPLE}"
        )
    if who not in (EVERY_USER, ANONYMOUS):
        if who.lower() == ANONYMOUS:
            raise source_line.error(f"has to say {ANONYMOUS} in lower case, to mean visitors")
        _check_name(source_line, who.removeprefix(GROUP_SIGN))
    grants: list[Grant] = []
    verbs: frozenset[Verb] = frozenset()
    for part in source_line.value.split(","):
        own_verbs, destination = _split_verbs(source_line, part.split())
        verbs = own_verbs or verbs
        if not verbs:
            raise source_line.error(_without_verb(destination))
        grants.append(Grant(verbs, _checked(source_line, who, destination)))
    return RightsLine(who, tuple(grants))


def _split_verbs(source_line: SourceLine, words: list[str]) -> tuple[frozenset[Verb], str]:
    """Split the words between two commas into verbs and a destination, which may have spaces."""
    if not words:
        raise source_line.error(f"has nothing before or after a comma; {_NO_COMMENT}")
    verbs: set[Verb] = set()
    at = 0
    while at < len(words) and words[at].lower() in _VERBS:
        verbs |= _VERBS[words[at].lower()]
        at += 1
    rest = words[at:]
    if not rest:
        raise source_line.error(
            f"names no destination after {' '.join(words)}; write one, such as "
            f"{' '.join(words)} /topic/chat, without a comma between verbs; {_NO_COMMENT}"
        )
    if len(rest) > 1 and not rest[0].startswith("/"):
        raise source_line.error(_without_verb(rest[0]))
    for word in rest[1:]:
        if word.startswith("/") or word.lower() in _VERBS:
            raise source_line.error(f"lacks a comma before {word}")
    return frozenset(verbs), " ".join(rest)


def _without_verb(word: str) -> str:
    """Return what is wrong with a word that stands where a verb belongs."""
    if word.startswith("/"):
        return f"has no verb before {word}; write read, write, admin or all before it"
    near = nearest(word, _VERBS)
    remedy = f"did you mean {near}?" if near else "write read, write, admin or all"
    return f"has {word} where a verb belongs; {remedy}"


def _checked(source_line: SourceLine, who: str, destination: str) -> str:
    """Return a destination that a right can be about."""
    problem = problem_with(destination)
    if problem:
        raise source_line.error(problem)
    if who == ANONYMOUS and USER_PLACE in destination:
        raise source_line.error(
            f"has {USER_PLACE} in {destination}, and {ANONYMOUS} has no name; write the "
            "destination without it"
        )
    return destination


def _read_groups(source_lines: Mapping[str, SourceLine]) -> Mapping[str, frozenset[str]]:
    return MappingProxyType({name: _read_members(line) for name, line in source_lines.items()})


def _read_members(source_line: SourceLine) -> frozenset[str]:
    """Read the users in one line of ``[groups]``."""
    name = source_line.key
    if name.startswith(GROUP_SIGN):
        raise source_line.error(
            f"has a {GROUP_SIGN}, which belongs in [rights] only; write "
            f"{name.removeprefix(GROUP_SIGN)} here"
        )
    _check_name(source_line, name)
    if not source_line.value:
        raise source_line.error(f"has no members; write {name} = alice, bob")
    users = [user.strip() for user in source_line.value.split(",")]
    for user in users:
        if not user:
            raise source_line.error(
                f"has nothing before or after a comma; write {name} = alice, bob"
            )
        if user in (ANONYMOUS, EVERY_USER) or user.startswith(GROUP_SIGN):
            raise source_line.error(f"has {user} in it; a group has users in it, by their names")
        _check_name(source_line, user)
    return frozenset(users)


def _check_name(source_line: SourceLine, name: str) -> None:
    if not is_user_name(name):
        raise source_line.error(
            f"has a name that cannot be one; a name has 1 to {MAX_USER_CHARS} characters and no "
            "space at its ends"
        )


@dataclass(frozen=True, slots=True)
class RightsSettings:
    """Who may read, write and administer what.

    Attributes:
        rights: The lines of ``[rights]``; None if there is no such section.
        groups: The users in each group.
    """

    rights: tuple[RightsLine, ...] | None = lines("[rights]", _read_rights)
    groups: Mapping[str, frozenset[str]] = lines("[groups]", _read_groups)

    @classmethod
    def of(cls, ini: ChatIni, *, are_rights_given: bool) -> RightsSettings:
        """Read both sections.

        Args:
            ini: The file.
            are_rights_given: Whether a token or a hook may give rights and groups as well.
                Otherwise it is a mistake if ``[rights]`` has no lines, or one about a group that
                has none in ``[groups]``.

        Raises:
            ConfigError: A line cannot be used.
        """
        settings = ini.read(cls)
        if not ini.has_section("rights"):
            return replace(settings, rights=None)
        if are_rights_given:
            return settings
        if not settings.rights:
            raise ini.error(
                f"[rights] has no lines, so that nothing is allowed; write one, such as {_EXAMPLE}",
                "rights",
            )
        for who, source_line in ini.lines("rights").items():
            name = who.removeprefix(GROUP_SIGN)
            if who != name and name not in settings.groups:
                remedy = how_to_name_a_group(name, settings.groups)
                raise source_line.error(f"is about a group that is not there; {remedy}")
        return settings

    def permissions(self, earlier: Permissions | None = None) -> Permissions:
        """Return the rights of all users.

        Args:
            earlier: The permissions before these, if any.
        """
        return Permissions(self.rights, self.groups, earlier)


def how_to_name_a_group(name: str, groups: Iterable[str]) -> str:
    """Return what to do about the name of a group that is not there."""
    near = nearest(name, groups)
    if near:
        return f"did you mean {GROUP_SIGN}{near}?"
    return f"write a line {name} = alice, bob in [groups]"
