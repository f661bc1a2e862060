"""What users may do: lines of rights, groups, doors; what is shared and what is remembered."""

from __future__ import annotations

import gc
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.rights import is_about, line, may

from rtchat.core.auth import permissions
from rtchat.core.auth.coverage import kind_of
from rtchat.core.auth.grants import Grant, user_word
from rtchat.core.auth.identity import Identity
from rtchat.core.auth.permissions import Permissions, RightsLine, Verb
from rtchat.core.broker.patterns import PatternIndex, is_pattern

READ, WRITE, ADMIN = Verb.READ, Verb.WRITE, Verb.ADMIN
ALICE, BOB, GUEST = Identity("alice"), Identity("bob"), Identity()


def rights(*lines: RightsLine, groups: dict[str, list[str]] | None = None) -> Permissions:
    return Permissions(lines, groups or {})


# Against a model

WHO = ["alice", "bob", "a.b", "*", "anonymous", "@staff", "@*"]
USERS = ["", "alice", "bob", "a.b", "*", "anonymous", "@staff"]
PLACES = [
    "/topic/a",
    "/topic/*",
    "/topic/#",
    "/topic/a.#",
    "/topic/*.b",
    "topic.a.*",
    "/topic/{user}",
    "/topic/a.{user}",
    "/topic/chat.*",
    "/topic/chat",
    "/queue/a",
    "/queue/#",
    "/queue/{user}",
    "#",
    "/user/#",
    "/presence/topic/a",
]
ASKED = [
    "/topic/a",
    "topic/a",
    "/topic/b",
    "/topic/a.b",
    "/topic/alice",
    "/topic/a%2Eb",
    "/topic/a.alice",
    "/topic/chat",
    "/topic/chat/x",
    "/topic/typing",
    "/topic/typing.x",
    "/queue/a",
    "/queue/bob",
    "/queue/DLQ.a",
    "/presence/topic/a",
    "/presence/queue/a",
    "/presence/topic/typing.x",
    "/presence/rooms",
    "/user/queue/private",
    "/user/bob/queue/private",
    "/temp-queue/x",
    "/reply-queue/x",
    "/pubsub/x",
    "/session/token",
]
PATTERNS = [
    "/topic/*",
    "/topic/#",
    "/topic/a.#",
    "/topic/a.*",
    "/topic/*.b",
    "/topic/*.*",
    "#",
    "*.a",
    "#.a",
    "topic.chat.>",
    "/topic/typing.*",
    "/topic/typing.#",
    "/queue/#",
    "/presence/#",
]


GRANTS = st.builds(Grant, st.frozensets(st.sampled_from(Verb), min_size=1), st.sampled_from(PLACES))
LINES = st.lists(
    st.builds(RightsLine, st.sampled_from(WHO), st.lists(GRANTS, max_size=3).map(tuple)),
    max_size=5,
)


@settings(max_examples=examples(150, 5_000))
@given(
    LINES,
    st.sampled_from(USERS),
    st.sets(st.sampled_from(["staff", "*"])),
    st.sets(st.sampled_from(["staff", "*"])),
)
def test_rights_are_what_the_lines_say(
    lines: list[RightsLine], user: str, own_groups: set[str], given_groups: set[str]
) -> None:
    members = {group: ["carol", user] for group in own_groups if user}
    made = Permissions(lines, members)
    identity = Identity(user, frozenset(given_groups))
    groups = {*members, *given_groups}
    # A user whose name means something else in [rights] has no line.
    about = [it for it in lines if it.who != user or user not in ("anonymous", "*", "@staff")]
    for verb, destination in product(Verb, ASKED):
        expected = may(lines, user, groups, verb, destination)
        assert made.rights_of(identity).may(verb, destination) == expected, (verb, destination)
    for one in about:
        assert made.is_meant(one.who, identity) == is_about(one.who, user, groups)


NAMES = [
    ".".join(words)
    for length in range(1, 5)
    for words in product(["topic", "chat", "typing", "a", "b"], repeat=length)
]


@settings(max_examples=examples(60, 2_000))
@given(LINES, st.sampled_from(USERS))
def test_a_pattern_that_may_be_read_matches_only_what_may_be_read(
    lines: list[RightsLine], user: str
) -> None:
    may = Permissions(lines).rights_of(Identity(user, frozenset({"staff"}))).may
    for pattern in PATTERNS:
        if is_pattern(pattern) and may(READ, pattern) and kind_of(pattern) == "":
            index: PatternIndex[str] = PatternIndex()
            index.add(pattern, pattern)
            for name in NAMES:
                assert not index.matching(name) or may(READ, name), (pattern, name)


# Doors and defaults


def test_without_the_section_users_read_and_write_everything() -> None:
    alice = Permissions().rights_of(ALICE)
    only_written = {"/user/bob/queue/private", "/reply-queue/x", "/pubsub/x", "/session/token"}
    only_read = {name for name in ASKED if name.startswith("/presence/")} | {"/user/queue/private"}
    for name in ASKED:
        assert alice.may(READ, name) == (name not in only_written), name
        assert alice.may(WRITE, name) == (name not in only_read), name
        assert not alice.may(ADMIN, name)
    assert alice.may(READ, "#")
    assert alice.may(READ, ".".join("a" * 100))
    guest = Permissions().rights_of(GUEST)
    assert not guest.may(READ, "/topic/chat")
    assert not guest.may(WRITE, "/user/bob/queue/private")


def test_with_an_empty_section_nothing_is_allowed() -> None:
    alice = Permissions([]).rights_of(ALICE)
    assert alice.is_empty
    assert not alice.may(READ, "/topic/chat")
    assert alice.may(READ, "/user/queue/private")


def test_users_are_let_in_and_anonymous_sessions_with_a_right() -> None:
    for made, is_admitted in [
        (Permissions(), False),
        (rights(line("*", "read #")), False),
        (rights(line("anonymous", "read /topic/news")), True),
    ]:
        assert made.admits(ALICE)
        assert made.admits(GUEST) is is_admitted
        assert made.admits(Identity(read=("/topic/x",)))


def test_a_token_adds_rights() -> None:
    made = rights(line("alice", "read /topic/a"))
    may = made.rights_of(
        Identity("alice", read=("/topic/b.{user}",), write=("/topic/*",), admin=("/queue/#",))
    ).may
    assert may(READ, "/topic/a")
    assert may(READ, "/topic/b.alice")
    assert not may(READ, "/topic/b.bob")
    assert not may(READ, "/topic/*")
    assert may(WRITE, "/topic/z")
    assert may(ADMIN, "/queue/#")
    assert not may(ADMIN, "/queue")


@pytest.mark.parametrize(
    "destination",
    ["", "/", ".".join("a" * 65), "/topic/a*", "{user}.x", "/{user}/x", "/topic/a,/topic/b"],
)
def test_what_is_no_right_in_a_token_allows_nothing(destination: str) -> None:
    made = rights().rights_of(Identity("queue", read=(destination,), write=(destination,)))
    assert made.is_empty


def test_a_name_cannot_become_a_prefix() -> None:
    may = rights(line("*", "read topic/{user}")).rights_of(Identity("queue")).may
    assert may(READ, "/topic/queue")
    assert not may(READ, "/queue/topic")
    # Not even where the settings would refuse it.
    may = rights(line("*", "read /{user}/#")).rights_of(Identity("queue")).may
    assert not may(READ, "/queue/jobs")


@pytest.mark.parametrize("user", ["*", "#", "a.b", "a/b", ">", "x,y", "%2A", "{user}", "a b"])
def test_a_name_reaches_its_own_place_only(user: str) -> None:
    may = rights(line("*", "read write /topic/home.{user}.#")).rights_of(Identity(user)).may
    for other in ["alice", "*", "a", "b"]:
        if other != user:
            assert not may(READ, f"/topic/home.{other}.x")
    assert not may(READ, "/topic/home.#")
    assert not may(WRITE, f"/topic/home.{user}.x") or user == "a b"
    own = user_word(user)
    assert may(READ, f"/topic/home.{own}.#")
    assert may(WRITE, f"/topic/home.{own}")


@pytest.mark.parametrize("user", ["anonymous", "*", "@staff"])
def test_a_user_with_a_strange_name_is_a_user_like_others(user: str) -> None:
    made = rights(
        line("anonymous", "read /topic/a"),
        line("*", "read /topic/b"),
        line("@staff", "read /topic/c"),
        groups={"staff": ["bob"]},
    )
    may = made.rights_of(Identity(user)).may
    assert [may(READ, f"/topic/{name}") for name in "abc"] == [False, True, False]


def test_a_composite_destination_has_to_be_split() -> None:
    may = rights(line("*", "read write #", "read write /queue/a")).rights_of(ALICE).may
    assert may(WRITE, "/topic/a")
    assert not may(WRITE, "/topic/a,/queue/b")
    assert not may(READ, "/presence/topic/a,b")
    assert may(WRITE, "/user/a,b/queue/private")


def test_a_send_to_a_name_with_wildcards_is_to_that_name_only() -> None:
    may = rights(line("*", "read write admin /topic/*")).rights_of(ALICE).may
    assert may(WRITE, "/topic/#")
    assert not may(READ, "/topic/#")
    assert not may(ADMIN, "/topic/#")


def test_private_messages_may_have_rights_of_their_own() -> None:
    to_bob = "/user/bob/queue/private"
    lines = [line("*", "write /topic/chat"), line("anonymous", "read #")]
    may = rights(*lines).rights_of
    assert may(ALICE).may(WRITE, to_bob)
    assert not may(GUEST).may(WRITE, to_bob)
    may = rights(*lines, line("@staff", "write /user/#"), groups={"staff": ["bob"]}).rights_of
    assert not may(ALICE).may(WRITE, to_bob)
    assert may(BOB).may(WRITE, to_bob)


def test_a_long_row_of_prefixes_is_no_trap() -> None:
    may = Permissions().rights_of(ALICE).may
    assert not may(READ, "/presence" * 2000 + "/topic/chat")
    assert may(READ, "/presence" + "/topic/typing.x")


# Groups


def test_groups_are_those_of_the_file_and_those_of_the_identity() -> None:
    made = rights(groups={"staff": ["alice"], "night": ["alice", "bob"]})
    assert made.groups_of(ALICE) == {"staff", "night"}
    assert made.groups_of(Identity("bob", frozenset({"vip"}))) == {"night", "vip"}
    assert made.groups_of(GUEST) == frozenset()
    assert made.is_meant("@staff", ALICE)
    assert not made.is_meant("@staff", BOB)


# What is shared and remembered


def test_those_who_may_do_the_same_have_the_same_rights() -> None:
    made = rights(
        line("*", "read /topic/#"),
        line("alice", "write /topic/a.*.#"),
        line("bob", "write topic/a.#.*", "read /topic/#"),
        line("carol", "write /topic/home.{user}"),
    )
    alice = made.rights_of(ALICE)
    assert made.rights_of(BOB) is alice
    assert made.rights_of(Identity("alice", expires_s=1.0)) is alice
    assert made.rights_of(Identity("eve", write=("/topic/a.*.#",))) is alice
    assert made.rights_of(Identity("carol")) is not alice
    assert made.rights_of(Identity("dave")) is not alice


def test_new_permissions_keep_the_rights_that_stay() -> None:
    before = rights(line("alice", "read /topic/a"), line("bob", "read /topic/b"))
    alice, bob = before.rights_of(ALICE), before.rights_of(BOB)
    after = Permissions(
        [line("@x", "read /topic/a"), line("bob", "read /topic/c")], {"x": ["alice"]}, before
    )
    assert after.rights_of(ALICE) is alice
    assert after.rights_of(BOB) is not bob
    # Private messages need a right now, so what was remembered does not hold.
    lines = [line("alice", "read /topic/a"), line("bob", "read /user/#")]
    last = Permissions(lines, {}, after)
    assert last.rights_of(ALICE) is not alice


def test_rights_end_with_the_last_session_that_has_them() -> None:
    made = rights(line("*", "read /topic/home.{user}"))
    kept = [made.rights_of(Identity(f"user{number}")) for number in range(50)]
    assert len(made._interned.by_key) == 50
    del kept[10:]
    gc.collect()
    assert len(made._interned.by_key) == 10


def test_an_answer_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    made = rights(line("*", "read /topic/a"))
    alice = made.rights_of(ALICE)
    assert alice.may(READ, "/topic/a")
    assert not alice.may(WRITE, "/topic/a")
    monkeypatch.setattr(type(alice), "_decide", None)
    for _ in range(3):
        assert alice.may(READ, "/topic/a")
        assert not alice.may(WRITE, "/topic/a")


def test_what_is_remembered_is_bounded_for_all_rights_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(permissions, "_MAX_REMEMBERED", 100)
    made = rights(line("*", "read /topic/home.{user}"))
    everyone = [made.rights_of(Identity(f"user{number}")) for number in range(7)]
    for number in range(400):
        for at, one in enumerate(everyone):
            assert one.may(READ, f"/topic/home.user{number}") == (at == number)
        assert sum(len(one._remembered) for one in everyone) <= 100
    # Long names are not remembered.
    for one in everyone:
        one.forget()
        assert not one.may(READ, "/topic/" + "x" * 300)
        assert not one._remembered
