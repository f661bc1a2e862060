"""Any interleaving of arrivals, losses, returns and goodbyes: what is told adds up to the truth.

The machine keeps its own plain account of people (who they are, where they are, until when a lost
one counts as there) and compares it after every step with what each watcher was told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support.chat import Party, Watcher
from support.core import Client
from support.examples import examples

from rtchat.core.chat import changes as presence_changes

ROOMS = ("/topic/chat", "/topic/chat.x")
NICKS = ("n0", "n1", "n2")
TOKENS = ("t0", "t1", "t2")
LOGINS = ("l0", "n0")
GRACE_S = 5.0
FOR_EVER = float("inf")


@dataclass(eq=False)
class Somebody:
    """A person in the machine's account.

    Attributes:
        nick: What it is called.
        token: Its secret, "" without one.
        until: Until when it counts as connected.
        rooms: Until when it counts as being in each room.
    """

    nick: str
    token: str = ""
    until: float = FOR_EVER
    rooms: dict[str, float] = field(default_factory=dict)


@dataclass(eq=False)
class Session:
    """A connection in the machine's account."""

    client: Client
    who: Somebody
    rooms: dict[str, str] = field(default_factory=dict)  # by subscription id


class PresenceMachine(RuleBasedStateMachine):
    """People come and go at random."""

    @initialize(at_once=st.sampled_from((1, 3, 16)))
    def begin(self, at_once: int) -> None:
        presence_changes._MAX_AT_ONCE = at_once
        self.party = Party(grace_s=GRACE_S)
        self.people: list[Somebody] = []
        self.sessions: list[Session] = []
        self.watchers: list[tuple[str, Watcher]] = [
            (room, Watcher(self.party, room)) for room in ROOMS
        ]
        self.strangers: list[Client] = []
        self.counter = 0

    # The account

    def sessions_of(self, who: Somebody) -> list[Session]:
        return [session for session in self.sessions if session.who is who]

    def holder(self, nick: str) -> Somebody | None:
        return next((one for one in self.people if one.nick == nick), None)

    def leave_room(self, session: Session, subscription: str, until: float) -> None:
        room = session.rooms.pop(subscription)
        who = session.who
        if not any(room in other.rooms.values() for other in self.sessions_of(who)):
            who.rooms[room] = until
            if until <= self.party.broker.now:
                del who.rooms[room]

    def end(self, session: Session, *, politely: bool) -> None:
        now = self.party.broker.now
        until = now if politely else now + GRACE_S
        for subscription in list(session.rooms):
            self.leave_room(session, subscription, until)
        self.sessions.remove(session)
        who = session.who
        if not self.sessions_of(who):
            who.until = until
            if politely:
                self.people.remove(who)

    def tick(self) -> None:
        now = self.party.broker.now
        for who in list(self.people):
            who.rooms = {room: until for room, until in who.rooms.items() if until > now}
            if who.until <= now:
                self.people.remove(who)

    # What happens

    @rule(nick=st.sampled_from(NICKS), token=st.sampled_from(("", *TOKENS)))
    def connect(self, nick: str, token: str) -> None:
        holder = self.holder(nick)
        known = next((one for one in self.people if token and one.token == token), None)
        if holder and holder is not known and (holder.token or self.sessions_of(holder)):
            assert self.party.refused(nick, token) == "nick in use"
            return
        if holder and holder is not known:
            self.people.remove(holder)
        client = self.party.client(nick, token)
        who = known or Somebody(nick, token)
        if known is None:
            self.people.append(who)
        who.nick, who.until = nick, FOR_EVER
        for old in self.sessions_of(who):
            assert old.client.received()[-1].headers["message"] == "replaced by a newer connection"
            self.end(old, politely=False)
        who.until = FOR_EVER
        self.sessions.append(Session(client, who))

    @rule(login=st.sampled_from(LOGINS), room=st.sampled_from(ROOMS))
    def log_in(self, login: str, room: str) -> None:
        # A login is no name: such a client is nowhere.
        stranger = self.party.client(login=login)
        stranger.subscribe(room)
        self.strangers.append(stranger)

    @rule(pick=st.randoms(use_true_random=False), room=st.sampled_from(ROOMS))
    def enter(self, pick: Random, room: str) -> None:
        if not self.sessions:
            return
        session = pick.choice(self.sessions)
        self.counter += 1
        subscription = str(self.counter)
        session.client.subscribe(room, subscription)
        session.rooms[subscription] = room
        session.who.rooms[room] = FOR_EVER

    @rule(pick=st.randoms(use_true_random=False))
    def leave(self, pick: Random) -> None:
        places = [(one, name) for one in self.sessions for name in one.rooms]
        if places:
            session, subscription = pick.choice(places)
            session.client.say("UNSUBSCRIBE", id=subscription)
            self.leave_room(session, subscription, self.party.broker.now)

    @rule(pick=st.randoms(use_true_random=False), how=st.sampled_from(("lost", "error", "bye")))
    def go(self, pick: Random, how: str) -> None:
        if not self.sessions:
            return
        session = pick.choice(self.sessions)
        if how == "lost":
            self.party.lose(session.client)
        else:
            session.client.say("DISCONNECT" if how == "bye" else "NONSENSE")
            self.party.lose(session.client)
        self.end(session, politely=how == "bye")

    @rule(seconds=st.sampled_from((0.25, 1.0, 2.5, 4.0, 5.0)))
    def wait(self, seconds: float) -> None:
        self.party.broker.now += seconds
        self.party.broker.expire()
        self.party.broker.cork.flush()
        self.tick()

    @rule(room=st.sampled_from(ROOMS))
    def watch(self, room: str) -> None:
        if len(self.watchers) < 8:
            self.watchers.append((room, Watcher(self.party, room)))

    @invariant()
    def what_was_told_is_the_truth(self) -> None:
        for room, watcher in self.watchers:
            known = {tuple(one.look().nicks) for name, one in self.watchers if name == room}
            assert len(known) == 1, "watchers know different things"
            occupancy = self.party.chat.presence._occupancies.get(room)
            if occupancy is not None and occupancy.gathered:
                continue  # some changes are told in the next second only
            there = sorted(who.nick for who in self.people if room in who.rooms)
            assert watcher.look().nicks == there

    def teardown(self) -> None:
        self.wait(GRACE_S)
        for room, watcher in self.watchers:
            # After the grace time: exactly the people with an open subscription.
            there = {
                id(one.who): one.who.nick for one in self.sessions if room in one.rooms.values()
            }
            assert watcher.look().nicks == sorted(there.values())
        for room, watcher in self.watchers:
            # A watcher that subscribed later got the rest of the same events.
            changes = watcher.roll.events[1:]
            first = next(one for name, one in self.watchers if name == room)
            assert first.roll.events[len(first.roll.events) - len(changes) :] == changes
        for session in list(self.sessions):
            session.client.say("DISCONNECT")
        for stranger in self.strangers:
            stranger.say("DISCONNECT")
        self.wait(1.0)
        assert all(watcher.look().nicks == [] for _, watcher in self.watchers)
        assert self.party.broker.statistics.subscription_count == len(self.watchers)
        chat = self.party.chat
        assert len(chat.people) == 0
        presence_changes._MAX_AT_ONCE = 16


PresenceMachine.TestCase.settings = settings(
    max_examples=examples(60, 1000),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestPresence = PresenceMachine.TestCase
