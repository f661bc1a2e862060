"""Random rights, users, changes and scripts: each subscriber gets what a naive model lets it have.

The model knows the section ``[rights]``, and from the manual what a subscription receives. It
knows nothing about routes, heads, runs or what is remembered.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.house import WIRES, Guest, House
from support.rights import groups_of, line, matches, may
from support.stomp import frame_bytes, message_bytes

from rtchat.core.auth.grants import Grant
from rtchat.core.auth.permissions import RightsLine, Verb
from rtchat.core.broker.destinations import words_of
from rtchat.core.broker.patterns import is_pattern
from rtchat.core.broker.rights import Rights
from rtchat.core.session.asking import AskingSession

pytestmark = [pytest.mark.soak]

READ, WRITE = Verb.READ, Verb.WRITE

GROUPS = {"staff": ["ada", "a.b"]}
USERS = ("ada", "bob", "a.b")
CLIENTS = ("ada", "bob", "a.b", "")
PUBSUB = {"both": ("/topic/a", "/queue/q")}
TOPICS = (
    "/topic/a",
    "/topic/a.b",
    "topic/a",  # another topic, of the same words
    "/topic/home.ada",
    "/topic/home.a%2Eb",
    "/topic/chat",  # kept, as all that begin so
    "/topic/chat.tea",
    "/topic/log.1",
    "/topic/typing.tea",
)
QUEUES = ("/queue/q", "/queue/ada")
KEPT = ("/topic/chat", "/topic/log")
PATTERNS = ("/topic/*", "/topic/#", "#", "/topic/a.#", "/topic/chat.*", "*.a", "/topic/typing.#")
PLACES = (
    *TOPICS,
    *QUEUES,
    *PATTERNS,
    "/queue/#",
    "/topic/home.{user}",
    "/queue/{user}",
    "/user/#",
)
COMPOSITES = ("/topic/a,/topic/chat", "/topic/chat,/queue/q,/topic/home.ada", "/queue/q,/topic/a")
STARTS = ("", "", "first", "last", "next", "offset=1", "timestamp=0")

SOME_LINES = st.lists(
    st.builds(
        RightsLine,
        st.sampled_from(("ada", "bob", "a.b", "*", "anonymous", "@staff")),
        st.lists(
            st.builds(
                Grant,
                st.sampled_from([{READ}, {WRITE}, {READ, WRITE}, {Verb.ADMIN}]).map(frozenset),
                st.sampled_from(PLACES),
            ),
            min_size=1,
            max_size=4,
        ).map(tuple),
    ),
    min_size=1,
    max_size=6,
)


class Subscribe(NamedTuple):
    client: int
    destination: str
    start: str
    ack: str


class Send(NamedTuple):
    client: int
    destination: str
    copies: int
    is_committed: bool


class Change(NamedTuple):
    lines: list[RightsLine]


class Leave(NamedTuple):
    client: int


Step = Subscribe | Send | Change | Leave

SOMEONE = st.integers(0, len(CLIENTS) - 1)
STEPS = st.lists(
    st.one_of(
        st.builds(
            Subscribe,
            SOMEONE,
            st.sampled_from((*TOPICS, *PATTERNS, *QUEUES)),
            st.sampled_from(STARTS),
            st.sampled_from(("auto", "auto", "client-individual")),
        ),
        st.builds(
            Send,
            SOMEONE,
            st.sampled_from((*TOPICS, *TOPICS, *QUEUES, *COMPOSITES, "/pubsub/both")),
            st.sampled_from((1, 1, 2, 12)),
            st.booleans(),
        ),
        st.builds(
            Send, SOMEONE, st.sampled_from(("/topic/a", "/topic/chat")), st.just(3), st.just(False)
        ),
        st.builds(Change, SOME_LINES),
        st.builds(Leave, SOMEONE),
    ),
    max_size=25,
)


def is_kept(name: str) -> bool:
    return name.startswith(KEPT)


@dataclass
class Member:
    """A client, and what it should have received since its last look.

    Attributes:
        user: Whose it is.
        guest: Its connection; None if it has none.
        subscriptions: Their destinations, by id.
        due: What is to come: id of the subscription, destination, body.
    """

    user: str
    guest: Guest | None = None
    subscriptions: dict[str, str] = field(default_factory=dict)
    due: Counter[tuple[str, str, bytes]] = field(default_factory=Counter)
    count: int = 0


class Model:
    """What should happen, beside what does."""

    def __init__(self, lines: list[RightsLine], wires: list[str]) -> None:
        self.lines = lines
        self.house = House(lines, GROUPS, users=USERS, pubsub=PUBSUB)
        self.members = [Member(user) for user in CLIENTS]
        self.kept: dict[str, list[bytes]] = {}
        self.queued: set[bytes] = set()
        self._wires = wires
        self._number = 0

    def allows(self, user: str, verb: Verb, name: str) -> bool:
        return may(self.lines, user, groups_of(GROUPS, user), verb, name)

    def is_admitted(self, user: str) -> bool:
        if user:
            return True
        return any(
            one.who == "anonymous" and "{user}" not in grant.destination
            for one in self.lines
            for grant in one.grants
        )

    # Steps

    def take(self, step: Step) -> None:
        if isinstance(step, Change):
            self.change(step.lines)
        elif isinstance(step, Leave):
            self.end(self.members[step.client])
        else:
            member = self.members[step.client]
            guest = self.connected(member)
            if guest is None:
                return
            if isinstance(step, Subscribe):
                self.subscribe(member, guest, step)
            else:
                self.send(member, guest, step)
        self.look()

    def connected(self, member: Member) -> Guest | None:
        if member.guest is not None:
            return member.guest
        guest = self.house.stranger(member.user, self._wires[len(member.user) % len(self._wires)])
        [answer] = guest.ask(guest.hello())
        if not self.is_admitted(member.user):
            assert answer["message"] == "access refused"
            return None
        assert answer.command == "CONNECTED"
        assert answer.get("x-user") == (member.user or None)
        member.guest = guest
        return guest

    def subscribe(self, member: Member, guest: Guest, step: Subscribe) -> None:
        name = step.destination
        headers = {"ack": step.ack}
        if step.start and is_kept(name) and not is_pattern(name):
            headers["x_stream_offset"] = step.start
        member.count += 1
        key = str(member.count)
        data = frame_bytes("SUBSCRIBE", id=key, destination=name, receipt="s", **headers)
        if not self.allows(member.user, READ, name):
            self.refused(member, guest, data, "read", name)
            return
        member.subscriptions[key] = name
        kept = self.kept.get(name, []) if "x_stream_offset" in headers else []
        some = {"first": kept, "last": kept[-1:], "offset=1": kept[1:], "timestamp=0": kept}
        member.due.update((key, name, body) for body in some.get(step.start, []))
        guest.send(data)

    def send(self, member: Member, guest: Guest, step: Send) -> None:
        bodies = []
        for _ in range(step.copies):
            self._number += 1
            bodies.append(b"%06d" % self._number)
        headers = {"transaction": "t"} if step.is_committed else {}
        data = b"".join(message_bytes(step.destination, body, **headers) for body in bodies)
        if step.is_committed:
            begin, commit = (frame_bytes(one, transaction="t") for one in ("BEGIN", "COMMIT"))
            data = begin + data + commit
        targets = step.destination.split(",")
        names = [name for one in targets for name in PUBSUB.get(one[8:], (one,))]
        forbidden = [name for name in names if not self.allows(member.user, WRITE, name)]
        if forbidden:
            self.refused(member, guest, data, "write", *forbidden, step.destination)
            return
        for body in bodies:
            for name in names:
                self.put(name, body)
        guest.send(data)

    def put(self, name: str, body: bytes) -> None:
        if name in QUEUES:
            self.queued.add(body)
            return
        if is_kept(name):
            self.kept.setdefault(name, []).append(body)
        for member in self.members:
            for key, source in member.subscriptions.items():
                if source == name or (
                    is_pattern(source) and matches(words_of(source), words_of(name))
                ):
                    member.due[key, name, body] += 1

    def refused(
        self, member: Member, guest: Guest, data: bytes, verb: str, *destinations: str
    ) -> None:
        frames = guest.ask(data)
        assert frames, f"nothing was said about {verb} {destinations}"
        self.check_refusal(guest, frames[-1]["message"], verb, *destinations)
        member.guest = None
        self.end(member)
        guest.leave()

    def check_refusal(self, guest: Guest, message: str, verb: str, *destinations: str) -> None:
        assert message in {f"not allowed: {verb} {name}" for name in destinations}
        assert guest.has_ended

    def change(self, lines: list[RightsLine]) -> None:
        self.lines = lines
        self.house.change(lines)
        for member in self.members:
            guest = member.guest
            if guest is None:
                continue
            lost = [
                name
                for name in member.subscriptions.values()
                if not self.allows(member.user, READ, name)
            ]
            if lost or not self.is_admitted(member.user):
                *messages, error = guest.received()
                assert messages == []
                if self.is_admitted(member.user):
                    self.check_refusal(guest, error["message"], "read", *lost)
                else:
                    assert error["message"] == "access refused"
                self.end(member)

    def end(self, member: Member) -> None:
        if member.guest is not None:
            member.guest.leave()
        member.guest = None
        member.subscriptions.clear()
        member.due.clear()

    # What came

    def look(self) -> None:
        for member in self.members:
            guest = member.guest
            if guest is None:
                continue
            got: Counter[tuple[str, str, bytes]] = Counter()
            for message in guest.messages():
                name = message["destination"]
                assert self.allows(member.user, READ, name), f"{member.user!r} has got {name}"
                if name in QUEUES:
                    assert member.subscriptions[message["subscription"]] == name
                    assert message.body in self.queued
                else:
                    got[message["subscription"], name, message.body] += 1
            assert got == member.due, f"{member.user!r}"
            member.due.clear()


@settings(max_examples=examples(120, 3_000))
@given(SOME_LINES, st.lists(st.sampled_from(WIRES), min_size=1, max_size=4), STEPS)
def test_a_subscriber_gets_what_it_may_read_and_nothing_else(
    lines: list[RightsLine], wires: list[str], steps: list[Step]
) -> None:
    model = Model(lines, wires)
    for step in steps:
        model.take(step)
    model.house.close()


def test_the_model_finds_a_head_that_is_a_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """What sessions share says nothing about rights: the model would notice."""
    lines = [line("ada", "write /topic/a", "read /topic/a"), line("bob", "read /topic/a")]
    steps: list[Step] = [Subscribe(0, "/topic/a", "", "auto")]
    steps += [Send(number, "/topic/a", 3, False) for number in (0, 0, 0, 1)]

    def play() -> None:
        model = Model(lines, ["tcp"])
        for step in steps:
            model.take(step)
        model.house.close()

    play()
    real = AskingSession._use

    def use(session: AskingSession, rights: Rights) -> None:
        real(session, rights)
        session.fast = None

    monkeypatch.setattr(AskingSession, "_use", use)
    with pytest.raises(AssertionError, match="nothing was said about write"):
        play()
