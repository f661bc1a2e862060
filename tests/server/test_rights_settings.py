"""[rights] and [groups]: what their lines mean, and which are refused."""

from __future__ import annotations

import pytest

from rtchat.config.schema import ChatIni, Schema
from rtchat.core.auth.grants import Grant
from rtchat.core.auth.identity import Identity
from rtchat.core.auth.permissions import RightsLine, Verb
from rtchat.errors import ConfigError
from rtchat.server.rights_settings import RightsSettings

READ, WRITE, ADMIN = (frozenset({verb}) for verb in Verb)


def read(text: str, *, are_rights_given: bool = False) -> RightsSettings:
    ini = ChatIni(text, "chat.ini", Schema([RightsSettings]))
    return RightsSettings.of(ini, are_rights_given=are_rights_given)


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as error:
        read(text)
    return str(error.value)


def grants(value: str, who: str = "alice") -> tuple[Grant, ...]:
    lines = read(f"[rights]\n{who} = {value}\n").rights
    assert lines is not None
    assert [line.who for line in lines] == [who]
    return lines[0].grants


@pytest.mark.parametrize(
    "value, expected",
    [
        ("read /topic/chat", [Grant(READ, "/topic/chat")]),
        ("READ  Write\t/topic/chat", [Grant(READ | WRITE, "/topic/chat")]),
        ("all /queue/#", [Grant(READ | WRITE | ADMIN, "/queue/#")]),
        ("admin /#", [Grant(ADMIN, "/#")]),
        ("write admin read /#", [Grant(READ | WRITE | ADMIN, "/#")]),
        ("read /topic/a,/topic/b", [Grant(READ, "/topic/a"), Grant(READ, "/topic/b")]),
        ("read /topic/a,#", [Grant(READ, "/topic/a"), Grant(READ, "#")]),
        (
            "read write /topic/a, /topic/b, admin /queue/c, /queue/d",
            [
                Grant(READ | WRITE, "/topic/a"),
                Grant(READ | WRITE, "/topic/b"),
                Grant(ADMIN, "/queue/c"),
                Grant(ADMIN, "/queue/d"),
            ],
        ),
        ("read /topic/my room", [Grant(READ, "/topic/my room")]),
        ("read prices", [Grant(READ, "prices")]),
        ("read *.prices", [Grant(READ, "*.prices")]),
        ("all /topic/home.{user}.>", [Grant(READ | WRITE | ADMIN, "/topic/home.{user}.>")]),
        ("write /user/#", [Grant(WRITE, "/user/#")]),
        ("read /topic/#a", None),
    ],
)
def test_a_line_is_verbs_and_destinations(value: str, expected: list[Grant] | None) -> None:
    if expected is None:
        assert "wildcard has to be a whole word" in refused(f"[rights]\nalice = {value}\n")
    else:
        assert grants(value) == tuple(expected)


@pytest.mark.parametrize("who", ["alice", "*", "anonymous", "Ada Lovelace", "bob@example.com"])
def test_a_line_begins_with_who_is_meant(who: str) -> None:
    assert grants("read /topic/a", who) == (Grant(READ, "/topic/a"),)


COMMENT = "a # after a space begins a comment, so write /# for all topics"
WORD = (
    "where a wildcard has to be a whole word: * is one word, and # (or > at the end) any number "
    "of them, such as /topic/chat.*"
)
SUCH_AS = "write WHO = VERBS DESTINATION, such as alice = read write /topic/chat, read /topic/news"
NO_NAME = "has a name that cannot be one; a name has 1 to 128 characters and no space at its ends"
VERBS = "write read, write, admin or all"


@pytest.mark.parametrize(
    "line, error",
    [
        ("alice read /topic/a", f"gives no right; {SUCH_AS}"),
        ("alice =", f"gives no right; {SUCH_AS}"),
        ("alice = raed /topic/a", "has raed where a verb belongs; did you mean read?"),
        ("alice = /topic/a", f"has no verb before /topic/a; {VERBS} before it"),
        ("alice = subscribe /topic/a", f"has subscribe where a verb belongs; {VERBS}"),
        ("alice = topic", f"has topic where a verb belongs; {VERBS}"),
        (
            "alice = read /topic/a, wirte /topic/b",
            "has wirte where a verb belongs; did you mean write?",
        ),
        (
            "alice = read wirte /topic/b",
            "has wirte where a verb belongs; did you mean write?",
        ),
        (
            "alice = read, write /topic/a",
            "names no destination after read; write one, such as read /topic/chat, without a comma "
            f"between verbs; {COMMENT}",
        ),
        (
            "alice = read /topic/a, write",
            "names no destination after write; write one, such as write /topic/chat, without a "
            f"comma between verbs; {COMMENT}",
        ),
        ("alice = read /topic/a,", f"has nothing before or after a comma; {COMMENT}"),
        ("alice = , read /topic/a", f"has nothing before or after a comma; {COMMENT}"),
        ("alice = read /topic/a,, /topic/b", f"has nothing before or after a comma; {COMMENT}"),
        ("alice = read /topic/a write /topic/b", "lacks a comma before write"),
        ("alice = read /topic/a /topic/b", "lacks a comma before /topic/b"),
        ("alice = read /queue/", "names /queue/ without a name after it; write /queue/# for all"),
        ("alice = read queue/a", "names queue/a, which is a topic; write /queue/a"),
        (
            "alice = read " + ".".join("a" * 65),
            "names a destination of 65 words; write 64 or fewer",
        ),
        ("alice = read /topic/chat*", f"has chat* in /topic/chat*, {WORD}"),
        (
            "alice = read /topic/{nick}",
            "has {nick} in /topic/{nick}; only {user} may stand in braces",
        ),
        (
            "anonymous = read /topic/a, write /topic/home.{user}",
            "has {user} in /topic/home.{user}, and anonymous has no name; write the destination "
            "without it",
        ),
        ("Anonymous = read /topic/a", "has to say anonymous in lower case, to mean visitors"),
        (
            "@ staff = read /topic/a",
            NO_NAME,
        ),
        (
            "@ = read /topic/a",
            NO_NAME,
        ),
    ],
)
def test_a_line_that_is_no_right_is_refused(line: str, error: str) -> None:
    setting = line.removesuffix(" =")
    assert refused(f"[rights]\n{line}\n") == f"chat.ini:2: [rights] {setting} {error}"


def test_a_destination_that_is_a_comment_is_missed() -> None:
    assert refused("[rights]\n* = read #\n") == (
        "chat.ini:2: [rights] * = read names no destination after read; write one, such as read "
        f"/topic/chat, without a comma between verbs; {COMMENT}"
    )


def test_groups_have_users() -> None:
    settings = read("[groups]\nstaff = alice, Ada Lovelace,bob , alice\nx y = bob=1\n")
    assert settings.groups == {
        "staff": {"alice", "Ada Lovelace", "bob"},
        "x y": {"bob=1"},
    }
    assert settings.rights is None
    assert settings.permissions().groups_of(Identity("alice")) == {"staff"}


@pytest.mark.parametrize(
    "line, error",
    [
        ("staff =", "staff has no members; write staff = alice, bob"),
        ("staff", "staff has no members; write staff = alice, bob"),
        (
            "staff = alice,, bob",
            "staff = alice,, bob has nothing before or after a comma; write staff = alice, bob",
        ),
        (
            "@staff = alice",
            "@staff = alice has a @, which belongs in [rights] only; write staff here",
        ),
        (
            "all = *",
            "all = * has * in it; a group has users in it, by their names",
        ),
        (
            "all = @staff",
            "all = @staff has @staff in it; a group has users in it, by their names",
        ),
        (
            "all = a, anonymous",
            "all = a, anonymous has anonymous in it; a group has users in it, by their names",
        ),
        (
            "x = " + "a" * 129,
            "x = " + "a" * 129 + " " + NO_NAME,
        ),
    ],
)
def test_a_line_that_is_no_group_is_refused(line: str, error: str) -> None:
    assert refused(f"[groups]\n{line}\n") == f"chat.ini:2: [groups] {error}"


@pytest.mark.parametrize(
    "groups, remedy",
    [
        ("", "write a line staff = alice, bob in [groups]"),
        ("[groups]\nstuff = alice\n", "did you mean @stuff?"),
        ("[groups]\nnight = alice\n", "write a line staff = alice, bob in [groups]"),
    ],
)
def test_a_group_that_is_not_there_is_a_mistake_unless_tokens_or_hooks_name_it(
    groups: str, remedy: str
) -> None:
    text = f"[rights]\n* = read /topic/a\n@staff = all /#\n{groups}"
    assert refused(text) == (
        "chat.ini:3: [rights] @staff = all /# is about a group that is not there; " + remedy
    )
    permissions = read(text, are_rights_given=True).permissions()
    staff = permissions.rights_of(Identity("eve", frozenset({"staff"})))
    assert staff.may(Verb.ADMIN, "#")


def test_an_empty_section_is_a_mistake_unless_tokens_or_hooks_give_rights() -> None:
    assert refused("[rights]\n[groups]\na = b\n") == (
        "chat.ini:1: [rights] has no lines, so that nothing is allowed; write one, such as "
        "alice = read write /topic/chat, read /topic/news"
    )
    settings = read("[rights]\n", are_rights_given=True)
    assert settings.rights == ()
    assert settings.permissions().rights_of(Identity("alice")).is_empty


def test_without_the_section_users_read_and_write_everything() -> None:
    settings = read("")
    assert settings == RightsSettings(None)
    may = settings.permissions().rights_of(Identity("alice")).may
    assert may(Verb.READ, "/queue/jobs")
    assert not may(Verb.ADMIN, "/queue/jobs")


def test_lines_become_rights() -> None:
    settings = read(
        "[groups]\nstaff = alice\n[rights]\n* = read /topic/chat.#\n@staff = write /topic/chat\n"
        "anonymous = read /topic/news\n"
    )
    assert settings.rights == (
        RightsLine("*", (Grant(READ, "/topic/chat.#"),)),
        RightsLine("@staff", (Grant(WRITE, "/topic/chat"),)),
        RightsLine("anonymous", (Grant(READ, "/topic/news"),)),
    )
    permissions = settings.permissions()
    assert permissions.rights_of(Identity("alice")).may(Verb.WRITE, "/topic/chat")
    assert not permissions.rights_of(Identity("bob")).may(Verb.WRITE, "/topic/chat")
    assert permissions.admits(Identity())
    assert settings.permissions(permissions).rights_of(Identity()) is permissions.rights_of(
        Identity()
    )
