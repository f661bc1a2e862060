"""Queues against a model: any interleaving of what clients can do, checked event by event.

The model knows nothing of round robin, cursors or wake-ups. It reads a journal of what happened,
in order (a session begins to act on a frame, a frame goes out to a client), and says for each event
whether it may happen now, and at the end of each frame whether something had to happen and did not:

- every accepted message is in exactly one place: ready, unacknowledged somewhere, in an open
  transaction, dead-lettered, or done with; nothing is delivered twice without ``redelivered:true``;
- a consumer gets the first message it wants, by priority and then by original order;
- a frame's receipt comes after all that its effect causes, but that of SUBSCRIBE before;
- who has to wait, waits before any effect, and for as long as a queue is full and no longer;
- no client waits for itself, directly or through others that wait, and no queue holds more than
  twice its limits because of that;
- the broker's counts of messages and bytes are the model's.

``make soak`` looks longer than ``make test``; ``RTCHAT_EXAMPLES=2000`` says how long.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.core import Client, RecordingOutbound, Server, message_size, read_one
from support.examples import examples
from support.stomp import frame_bytes

from rtchat.core.flow.outbound import RAW, Cork, Framing
from rtchat.core.session.receipts import MustWait
from rtchat.core.session.session import Session
from rtchat.core.stomp.frames import Frame, Version
from rtchat.core.stomp.limits import Limits

QUEUES = ["/queue/a", "/queue/b"]
DEAD = "/queue/DLQ."
MAX_MESSAGES, MAX_BYTES, MAX_DELIVERIES = 5, 6000, 3
LIMITS = Limits(max_transactions=2, max_transaction_actions=4)
MAX_PEERS = 4

pytestmark = pytest.mark.slow


# ---------------------------------------------------------------- the journal


class Event(NamedTuple):
    """Something that happened: ``begin``, ``wait`` or ``out``, to whom, and the frame."""

    kind: str
    client: Client
    frame: Frame


class NotedOutbound(RecordingOutbound):
    """Notes every frame when it is handed out, not when it leaves."""

    __slots__ = ("note", "version")

    def __init__(self, cork: Cork, framing: Framing = RAW) -> None:
        super().__init__(cork, framing)
        self.note: Callable[[str, Frame], None] = _ignore
        self.version = Version.V12

    def send(self, data: bytes) -> None:
        """Note and gather."""
        self.note("out", read_one(data, self.version))
        super().send(data)


class NotedSession(Session):
    """Notes which frame it acts on, and whether that has to wait."""

    __slots__ = ()

    def _act_on(self, frame: Frame) -> None:
        assert isinstance(self._outbound, NotedOutbound)
        self._outbound.note("begin", frame)
        try:
            super()._act_on(frame)
        except MustWait:
            self._outbound.note("wait", frame)
            raise


class NotingServer(Server):
    """A server whose clients share a journal."""

    outbound_type = NotedOutbound

    def __init__(self) -> None:
        super().__init__()
        self.journal: deque[Event] = deque()

    def noted_client(self, version: Version) -> Client:
        """Connect a client whose frames are noted from now on."""
        client = Client(self, version, LIMITS, session_type=NotedSession)
        assert isinstance(client.outbound, NotedOutbound)
        client.outbound.version = version
        client.outbound.note = lambda kind, frame: self.journal.append(Event(kind, client, frame))
        return client


# ---------------------------------------------------------------- the model


@dataclass(eq=False)
class Msg:
    """A message in a queue; ``copy`` is the same text for all its lives."""

    copy: str
    body: bytes
    queue: str
    seq: int
    priority: int
    color: str
    size: int
    dead_size: int
    expires_s: float
    returns: int = 0
    failures: int = 0

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands among others."""
        return -self.priority, self.seq


@dataclass(eq=False)
class Sub:
    """A subscription."""

    owner: Peer
    id: str
    queue: str
    ack: str
    prefetch: int
    color: str
    unacked: dict[str, Msg] = field(default_factory=dict)
    reserved: int = 0
    first_seen: list[tuple[int, int]] = field(default_factory=list)

    @property
    def is_served(self) -> bool:
        """Whether it may get a message now."""
        if self.owner.is_stalled:
            return False
        used = len(self.unacked) + self.reserved
        return self.ack == "auto" or not self.prefetch or used < self.prefetch

    def wants(self, msg: Msg) -> bool:
        """Whether its selector lets the message through."""
        return not self.color or self.color == msg.color


@dataclass(eq=False)
class Settlement:
    """An ACK or NACK in a transaction."""

    sub: Sub
    taken: dict[str, Msg]
    is_ack: bool
    requeue: bool


Action = Frame | Settlement


@dataclass(eq=False)
class Peer:
    """A client as the model knows it."""

    client: Client
    subs: dict[str, Sub] = field(default_factory=dict)
    transactions: dict[str, list[Action]] = field(default_factory=dict)
    is_stalled: bool = False
    waits_with: Frame | None = None
    waits_for: str = ""
    is_gone: bool = False
    receipts: int = 0
    names: int = 0
    had: set[str] = field(default_factory=set)
    ended: list[Sub] = field(default_factory=list)
    ended_names: set[str] = field(default_factory=set)

    def holders(self) -> list[Sub]:
        """Return all that may hold deliveries, ended or not."""
        return [*self.subs.values(), *self.ended]


class Refused(Exception):
    """The frame has to be answered with ERROR."""


class Model:
    """What has to be true."""

    def __init__(self, server: NotingServer) -> None:
        self.server = server
        self.journal = server.journal
        self.peers: dict[Client, Peer] = {}
        self.ready: dict[str, list[Msg]] = {}
        self.accepted: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.seq = 0

    # What there is

    def alive(self) -> list[Peer]:
        """Return the clients that are connected."""
        return [peer for peer in self.peers.values() if not peer.is_gone]

    def subs(self) -> list[Sub]:
        """Return all open subscriptions."""
        return [sub for peer in self.alive() for sub in peer.subs.values()]

    def settlements(self) -> list[Settlement]:
        """Return all acknowledgements in open transactions."""
        actions = [a for p in self.alive() for t in p.transactions.values() for a in t]
        return [action for action in actions if isinstance(action, Settlement)]

    def held(self) -> list[Msg]:
        """Return every message that a queue holds."""
        held = [msg for msgs in self.ready.values() for msg in msgs]
        holders = [sub for peer in self.alive() for sub in peer.holders()]
        held += [msg for sub in holders for msg in sub.unacked.values()]
        held += [msg for settlement in self.settlements() for msg in settlement.taken.values()]
        return held

    def is_full(self, queue: str, times: int = 1) -> bool:
        """Whether publishers have to wait; whether it holds so many times as much."""
        held = [msg for msg in self.held() if msg.queue == queue]
        size = sum(msg.size for msg in held)
        return len(held) >= times * MAX_MESSAGES or size >= times * MAX_BYTES

    def first_for(self, sub: Sub) -> Msg | None:
        """Return the message that the subscription would get; look away from expired ones."""
        ready = self.ready.get(sub.queue, [])
        for msg in sorted(filter(sub.wants, ready), key=lambda msg: msg.place):
            if not self.is_expired(msg.expires_s):
                return msg
            ready.remove(msg)
            self.done[msg.copy] += 1
        return None

    def is_expired(self, expires_s: float) -> bool:
        """Whether that time is over."""
        return 0 < expires_s <= self.server.broker.now

    def next_pairs(self, queues: Iterable[str] | None) -> list[tuple[Sub, Msg]]:
        """Return the consumers that have to get a message now, each with it."""
        pairs = []
        for sub in self.subs():
            if sub.is_served and (queues is None or sub.queue in queues):
                msg = self.first_for(sub)
                if msg is not None:
                    pairs.append((sub, msg))
        return pairs

    # What happens

    def run(self) -> None:
        """Go through the journal."""
        while self.journal:
            event = self.journal.popleft()
            assert event.kind == "begin", event
            self._begin(self.peers[event.client], event.frame)
        for peer in self.alive():
            assert peer.client.is_waiting == (peer.waits_with is not None)
            if peer.waits_with is not None:
                assert self._full_queues(peer, peer.waits_with), "it has room and was not told"

    def nobody_waits_for_itself(self) -> None:
        """See that no chain of waiting clients is closed."""
        for peer in self.alive():
            if peer.waits_with is not None:
                assert not self._would_wait_for_itself(peer, peer.waits_for)

    def settle(self, queues: Iterable[str] | None = None) -> None:
        """See that each consumer gets the first message for it, until none is left."""
        while pairs := self.next_pairs(queues):
            assert self.journal, f"nobody got any of {pairs}"
            event = self.journal.popleft()
            assert (event.kind, event.frame.command) == ("out", "MESSAGE"), (event, pairs)
            headers = event.frame.headers
            sub = self.peers[event.client].subs[headers["subscription"]]
            [msg] = [msg for to, msg in pairs if to is sub]
            assert (event.frame.body, headers["destination"]) == (msg.body, msg.queue)
            count = str(msg.returns) if msg.returns else None
            assert headers.get("x-delivery-count") == count
            assert headers.get("redelivered") == ("true" if count else None)
            self.ready[msg.queue].remove(msg)
            if not msg.returns:
                sub.first_seen.append(msg.place)
            if sub.ack == "auto":
                self.done[msg.copy] += 1
                continue
            is_1_2 = event.client.version is Version.V12
            name = headers["ack" if is_1_2 else "message-id"]
            assert name not in sub.unacked
            sub.unacked[name] = msg
            sub.owner.had.add(name)

    def _begin(self, peer: Peer, frame: Frame) -> None:
        follows = self.journal[0] if self.journal else None
        peer.waits_with = None
        try:
            peer.waits_for = self._place_to_wait(peer, frame)
        except Refused:
            self._expect(peer, "ERROR")
            self.lose(peer)
            return
        if peer.waits_for:
            assert follows is not None
            assert (follows.kind, follows.client) == ("wait", peer.client)
            self.journal.popleft()
            peer.waits_with = frame
            return
        try:
            self._effect(peer, frame)
        except Refused:
            self._expect(peer, "ERROR")
            self.lose(peer)
            return
        if frame.command != "SUBSCRIBE":
            self._expect(peer, "RECEIPT", frame.headers["receipt"])
        if frame.command == "DISCONNECT":
            self.lose(peer, has_failed=False)

    def _expect(self, peer: Peer, command: str, receipt: str = "") -> None:
        assert self.journal, f"no {command}"
        event = self.journal.popleft()
        assert (event.kind, event.client) == ("out", peer.client), event
        assert event.frame.command == command, event
        if receipt:
            assert event.frame.headers["receipt-id"] == receipt

    def _place_to_wait(self, peer: Peer, frame: Frame) -> str:
        for queue in self._full_queues(peer, frame):
            if not self._would_wait_for_itself(peer, queue):
                return queue
            if self.is_full(queue, 2):
                raise Refused
        return ""

    def _would_wait_for_itself(self, peer: Peer, queue: str) -> bool:
        """Whether only clients that wait, for each other and in the end for it, can make room."""
        stuck, queues = {peer}, {queue}
        for _ in self.alive():
            for other in self.alive():
                if other.waits_with is not None and queues & set(self._held_by(other)):
                    stuck.add(other)
                    queues.add(other.waits_for)
        if not queues & set(self._held_by(peer)):
            return False
        in_stuck_hands = sum(self._held_by(each)[queue] for each in stuck)
        unacked = sum(msg.queue == queue for msg in self.held()) - len(self.ready.get(queue, []))
        return not self.is_full(queue, 2) or in_stuck_hands == unacked

    def _held_by(self, peer: Peer) -> Counter[str]:
        """Return how many deliveries of each queue a client has yet to acknowledge."""
        held = Counter(msg.queue for sub in peer.holders() for msg in sub.unacked.values())
        for actions in peer.transactions.values():
            for action in actions:
                if isinstance(action, Settlement):
                    held.update(msg.queue for msg in action.taken.values())
        return held

    def _full_queues(self, peer: Peer, frame: Frame) -> list[str]:
        """Return the full queues that a frame adds messages to, in order."""
        name = frame.headers.get("transaction")
        if frame.command == "SEND" and name is None:
            return [queue for queue in _targets(frame) if self.is_full(queue)]
        if frame.command == "COMMIT" and name in peer.transactions:
            actions = peer.transactions[name]
            acked = {a.sub.queue for a in actions if isinstance(a, Settlement) and a.is_ack}
            sends = [action for action in actions if isinstance(action, Frame)]
            queues = [queue for send in sends for queue in _targets(send)]
            return [queue for queue in queues if self.is_full(queue) and queue not in acked]
        return []

    def _effect(self, peer: Peer, frame: Frame) -> None:
        command, headers = frame.command, frame.headers
        name = headers.get("transaction", "")
        if command == "SEND":
            if name:
                self._join(peer, name, frame)
            else:
                self._publish(frame)
        elif command == "SUBSCRIBE":
            if headers["id"] in peer.subs:
                raise Refused
            sub = Sub(
                peer,
                headers["id"],
                headers["destination"],
                headers["ack"],
                int(headers["prefetch-count"]),
                headers.get("x-color", ""),
            )
            peer.subs[sub.id] = sub
            self._expect(peer, "RECEIPT", headers["receipt"])
            self.settle()
        elif command == "UNSUBSCRIBE":
            ended = peer.subs.pop(headers["id"], None)
            if ended is not None:
                peer.ended.append(ended)
                peer.ended_names.add(ended.id)
            elif headers["id"] not in peer.ended_names:
                raise Refused
        elif command in ("ACK", "NACK"):
            self._acknowledge(peer, frame, name)
        elif command == "BEGIN":
            if name in peer.transactions or len(peer.transactions) >= LIMITS.max_transactions:
                raise Refused
            peer.transactions[name] = []
        elif command in ("COMMIT", "ABORT"):
            actions = peer.transactions.pop(name, None)
            if actions is None:
                raise Refused
            if command == "COMMIT":
                self._commit(actions)
            else:
                self._undo(actions)
        else:
            assert command == "DISCONNECT"

    def _takes_more(self, peer: Peer, name: str, count: int = 1) -> bool:
        actions = peer.transactions.get(name)
        if actions is None:
            return False
        return sum(map(_action_count, actions)) + count <= LIMITS.max_transaction_actions

    def _join(self, peer: Peer, name: str, action: Action) -> None:
        if not self._takes_more(peer, name, _action_count(action)):
            raise Refused
        peer.transactions[name].append(action)

    def _publish(self, frame: Frame) -> None:
        headers = frame.headers
        size = message_size(dict(headers), frame.body)
        dead_size = message_size({k: v for k, v in headers.items() if k != "expires"}, frame.body)
        expires_s = int(headers.get("expires", "0")) / 1000
        for queue in _targets(frame):
            copy = f"{frame.body.decode().strip('.')} for {queue}"
            self.accepted[copy] += 1
            if self.is_expired(expires_s):
                self.done[copy] += 1
                continue
            msg = Msg(
                copy,
                frame.body,
                queue,
                0,
                int(headers["priority"]),
                headers["color"],
                size,
                dead_size,
                expires_s,
            )
            self._put(msg)

    def _put(self, msg: Msg) -> None:
        self.seq += 1
        msg.seq = self.seq
        self.ready.setdefault(msg.queue, []).append(msg)
        self.settle([msg.queue])

    def _acknowledge(self, peer: Peer, frame: Frame, name: str) -> None:
        key = frame.headers["id" if peer.client.version is Version.V12 else "message-id"]
        found = [sub for sub in peer.holders() if key in sub.unacked]
        if not found:
            if key not in peer.had or (name and not self._takes_more(peer, name)):
                raise Refused
            return
        [sub] = found
        taken = {}
        for each in list(sub.unacked) if sub.ack == "client" else [key]:
            taken[each] = sub.unacked.pop(each)
            if each == key:
                break
        requeue = frame.headers.get("requeue", "true") == "true"
        settlement = Settlement(sub, taken, frame.command == "ACK", requeue)
        if not name:
            self._settle(settlement)
            return
        try:
            self._join(peer, name, settlement)
        except Refused:
            sub.unacked.update(taken)
            raise
        sub.reserved += len(taken)

    def _settle(self, settlement: Settlement) -> None:
        msgs = list(settlement.taken.values())
        if settlement.is_ack:
            for msg in msgs:
                self.done[msg.copy] += 1
            self.settle()
        else:
            for msg in msgs:
                msg.failures += 1
            self._return(settlement.sub.queue, msgs, settlement.requeue)

    def _commit(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Frame):
                self._publish(action)
            else:
                action.sub.reserved -= len(action.taken)
                self._settle(action)

    def _undo(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Settlement):
                sub = action.sub
                sub.reserved -= len(action.taken)
                both = {**sub.unacked, **action.taken}
                sub.unacked = {name: both[name] for name in sorted(both, key=_delivery)}

    def _take_back(self, subs: Iterable[Sub], *, has_failed: bool) -> None:
        returned: dict[str, list[Msg]] = {}
        for sub in subs:
            if sub.unacked:
                msgs = list(sub.unacked.values())
                msgs[0].failures += has_failed
                returned.setdefault(sub.queue, []).extend(msgs)
                sub.unacked = {}
        for queue, msgs in returned.items():
            self._return(queue, msgs, requeue=True)

    def _return(self, queue: str, msgs: list[Msg], requeue: bool) -> None:
        kept = []
        for msg in sorted(msgs, key=lambda msg: msg.seq):
            msg.returns += 1
            if requeue and msg.failures < MAX_DELIVERIES:
                kept.append(msg)
            elif not queue.startswith(DEAD):
                msg.queue = DEAD + queue.removeprefix("/queue/")
                msg.size, msg.expires_s, msg.returns, msg.failures = msg.dead_size, 0, 0, 0
                while self.is_full(msg.queue) and self.ready.get(msg.queue):
                    oldest = min(self.ready[msg.queue], key=lambda one: one.seq)
                    self.ready[msg.queue].remove(oldest)
                    self.done[oldest.copy] += 1
                if self.is_full(msg.queue, 2):
                    self.done[msg.copy] += 1
                else:
                    self._put(msg)
            elif requeue:
                kept.append(msg)
            else:
                self.done[msg.copy] += 1
        self.ready.setdefault(queue, []).extend(kept)
        self.settle([queue])

    def lose(self, peer: Peer, *, has_failed: bool = True) -> None:
        """The session ends: its transactions are undone, and others get what it had."""
        peer.is_gone = True
        peer.waits_with = None
        for actions in peer.transactions.values():
            self._undo(actions)
        self._take_back(peer.holders(), has_failed=has_failed)

    def expire(self) -> None:
        """Drop what has expired while it was ready."""
        for msgs in self.ready.values():
            for msg in [msg for msg in msgs if self.is_expired(msg.expires_s)]:
                msgs.remove(msg)
                self.done[msg.copy] += 1


def _targets(frame: Frame) -> list[str]:
    return list(dict.fromkeys(frame.headers["destination"].split(",")))


def _action_count(action: Action) -> int:
    """Return what an action counts: a SEND is one for each of its destinations."""
    return len(_targets(action)) if isinstance(action, Frame) else 1


def _delivery(name: str) -> int:
    return int(name.rpartition(".")[2])


def _ignore(kind: str, frame: Frame) -> None:
    """Before there is a journal."""


# ---------------------------------------------------------------- what clients do


PICK = st.integers(0, 7)
DESTINATION = st.sampled_from([*QUEUES, *QUEUES, ",".join(QUEUES), f"{DEAD}a"])
TRANSACTION = st.sampled_from(["", "t", "u"])
ACK = st.sampled_from(["auto", "client", "client", "client-individual", "client-individual"])
COLOR = st.sampled_from(["red", "blue"])
PREFETCH = st.sampled_from(["0", "1", "2", "3"])


def anybody(machine: QueueMachine) -> bool:
    """Return whether a client is connected."""
    return bool(machine.model.alive())


def has_something(peer: Peer) -> bool:
    """Whether it has messages to acknowledge."""
    return any(sub.unacked for sub in peer.holders())


def somebody_has_something(machine: QueueMachine) -> bool:
    """Return whether a client has messages to acknowledge."""
    return any(map(has_something, machine.model.alive()))


def crowd(machine: QueueMachine) -> bool:
    """Return whether a client may leave: the largest number is connected."""
    return len(machine.model.alive()) == MAX_PEERS


class QueueMachine(RuleBasedStateMachine):
    """Any number of clients do anything at all."""

    def __init__(self) -> None:
        super().__init__()
        self.server = NotingServer()
        self.server.limit(
            max_queue_messages=MAX_MESSAGES,
            max_queue_bytes=MAX_BYTES,
            max_deliveries=MAX_DELIVERIES,
        )
        self.model = Model(self.server)
        self.published = 0

    def pick(self, number: int, among: Callable[[Peer], object] | None = None) -> Peer:
        """Choose among those who are connected."""
        peers = list(filter(among, self.model.alive()))
        return peers[number % len(peers)]

    def say(self, peer: Peer, *frames: bytes) -> None:
        """Send frames in one read."""
        peer.client.send(b"".join(frames))
        self.model.run()

    def frame(self, peer: Peer, command: str, body: bytes = b"", /, **headers: str) -> bytes:
        """Write a frame with a receipt of its own."""
        peer.receipts += 1
        given = {name: value for name, value in headers.items() if value}
        return frame_bytes(command, body, **given, receipt=str(peer.receipts))

    def a_send(
        self,
        peer: Peer,
        destination: str,
        priority: str,
        color: str,
        size: int,
        life_s: int,
        name: str,
    ) -> bytes:
        """Write a message; its body is its number, and perhaps dots."""
        self.published += 1
        now_ms = int(self.server.broker.now * 1000)
        return self.frame(
            peer,
            "SEND",
            str(self.published).encode() + b"." * size,
            destination=destination,
            priority=priority,
            color=color,
            expires=str(now_ms + life_s * 1000) if life_s else "",
            transaction=name,
        )

    @initialize(
        versions=st.lists(st.sampled_from(list(Version)), min_size=2, max_size=MAX_PEERS),
        acks=st.lists(ACK, min_size=1, max_size=4),
        prefetch=PREFETCH,
    )
    def begin(self, versions: list[Version], acks: list[str], prefetch: str) -> None:
        """Connect the first clients."""
        for version in versions:
            self.connect(version)
        for number, ack in enumerate(acks):
            self.subscribe(number, QUEUES[0], ack, prefetch, "")

    @precondition(lambda self: len(self.model.alive()) < MAX_PEERS)
    @rule(version=st.sampled_from(list(Version)))
    def connect(self, version: Version) -> None:
        """A client connects."""
        client = self.server.noted_client(version)
        self.model.peers[client] = Peer(client)

    @precondition(anybody)
    @rule(
        who=PICK,
        destination=DESTINATION,
        priority=st.sampled_from(["4", "4", "4", "0", "9"]),
        color=COLOR,
        size=st.sampled_from([0, 0, 1500]),
        life_s=st.sampled_from([0, 0, 0, 5]),
        name=TRANSACTION,
    )
    def send(
        self,
        who: int,
        destination: str,
        priority: str,
        color: str,
        size: int,
        life_s: int,
        name: str,
    ) -> None:
        """A client sends a message, perhaps in a transaction."""
        peer = self.pick(who)
        if name not in peer.transactions:
            name = ""
        self.say(peer, self.a_send(peer, destination, priority, color, size, life_s, name))

    @precondition(anybody)
    @rule(who=PICK, destination=DESTINATION, count=st.integers(2, 7), colors=st.lists(COLOR))
    def send_some(self, who: int, destination: str, count: int, colors: list[str]) -> None:
        """A client sends many messages in one read."""
        peer = self.pick(who)
        some = [*colors, *["red"] * count][:count]
        sends = [self.a_send(peer, destination, "4", color, 0, 0, "") for color in some]
        self.say(peer, *sends)

    @precondition(anybody)
    @rule(
        who=PICK, destination=DESTINATION, name=st.sampled_from(["t", "u"]), count=st.integers(1, 3)
    )
    def send_in_transaction(self, who: int, destination: str, name: str, count: int) -> None:
        """A client sends a message in a transaction, so no consumer may get it yet."""
        peer = self.pick(who)
        begin = [] if name in peer.transactions else [self.frame(peer, "BEGIN", transaction=name)]
        sends = [self.a_send(peer, destination, "4", "red", 0, 0, name) for _ in range(count)]
        self.say(peer, *begin, *sends)

    @precondition(lambda self: anybody(self) and len(self.model.subs()) < 6)
    @rule(
        who=PICK,
        destination=st.sampled_from([*QUEUES, f"{DEAD}a"]),
        ack=ACK,
        prefetch=PREFETCH,
        color=st.sampled_from(["", "", "red"]),
    )
    def subscribe(self, who: int, destination: str, ack: str, prefetch: str, color: str) -> None:
        """A client subscribes."""
        peer = self.pick(who)
        peer.names += 1
        selector = f"color = '{color}'" if color else ""
        frame = self.frame(
            peer,
            "SUBSCRIBE",
            id=str(peer.names),
            destination=destination,
            ack=ack,
            prefetch_count=prefetch,
            selector=selector,
            x_color=color,
        )
        self.say(peer, frame)

    @precondition(lambda self: self.model.subs())
    @rule(who=PICK, which=PICK, again=st.sampled_from([False] * 4 + [True]))
    def unsubscribe(self, who: int, which: int, again: bool) -> None:
        """A client unsubscribes, perhaps twice."""
        peer = self.pick(who, lambda peer: peer.subs)
        name = list(peer.subs)[which % len(peer.subs)]
        self.say(peer, self.frame(peer, "UNSUBSCRIBE", id=name))
        if again:
            self.say(peer, self.frame(peer, "UNSUBSCRIBE", id=name))

    @precondition(somebody_has_something)
    @rule(who=PICK, which=PICK, name=TRANSACTION, again=st.sampled_from([False] * 9 + [True]))
    def ack(self, who: int, which: int, name: str, again: bool) -> None:
        """A client acknowledges a delivery, perhaps twice."""
        self._acknowledge("ACK", who, which, name, "", again)

    @precondition(somebody_has_something)
    @rule(who=PICK, which=PICK, count=st.integers(1, 5))
    def ack_some(self, who: int, which: int, count: int) -> None:
        """There is much to do."""
        for number in range(count):
            if somebody_has_something(self):
                self._acknowledge("ACK", who + number, which, "", "")

    @precondition(somebody_has_something)
    @rule(who=PICK, which=PICK, name=TRANSACTION, requeue=st.sampled_from(["", "true", "false"]))
    def nack(self, who: int, which: int, name: str, requeue: str) -> None:
        """A client rejects a delivery."""
        self._acknowledge("NACK", who, which, name, requeue)

    @precondition(somebody_has_something)
    @rule(who=PICK, which=PICK, name=st.sampled_from(["t", "u"]))
    def ack_in_transaction(self, who: int, which: int, name: str) -> None:
        """A client acknowledges or rejects deliveries in a transaction."""
        peer = self.pick(who, has_something)
        if name not in peer.transactions:
            self.say(peer, self.frame(peer, "BEGIN", transaction=name))
        if has_something(peer):
            self._acknowledge("ACK", who, which, name, "")

    def _acknowledge(
        self, command: str, who: int, which: int, name: str, requeue: str, again: bool = False
    ) -> None:
        peer = self.pick(who, has_something)
        if name not in peer.transactions:
            name = ""
        waiting = [(sub, key) for sub in peer.holders() for key in sub.unacked]
        sub, key = waiting[which % len(waiting)]
        headers = {"transaction": name, "requeue": requeue}
        if peer.client.version is Version.V12:
            headers["id"] = key
        else:
            headers |= {"message_id": key, "subscription": sub.id}
        frames = [self.frame(peer, command, **headers) for _ in range(2 if again else 1)]
        self.say(peer, *frames)

    @precondition(anybody)
    @rule(
        who=PICK,
        name=st.sampled_from(["t", "u"]),
        verb=st.sampled_from(["COMMIT", "COMMIT", "ABORT"]),
    )
    def begin_or_end(self, who: int, name: str, verb: str) -> None:
        """A client begins a transaction, or ends it."""
        peer = self.pick(who)
        command = verb if name in peer.transactions else "BEGIN"
        self.say(peer, self.frame(peer, command, transaction=name))

    @precondition(crowd)
    @rule(
        who=PICK,
        command=st.sampled_from(["DISCONNECT", "BEGIN", "COMMIT", "ABORT", "UNSUBSCRIBE", "ACK"]),
    )
    def end_or_err(self, who: int, command: str) -> None:
        """A client disconnects, or makes a mistake that ends its session."""
        peer = self.pick(who)
        headers = {"id": "x", "message_id": "x", "subscription": "x", "transaction": "x"}
        frames = [self.frame(peer, command, **headers)]
        if command == "BEGIN":
            frames.append(self.frame(peer, command, **headers))
        if command == "DISCONNECT":
            frames = [self.frame(peer, command)]
        self.say(peer, *frames)

    @precondition(crowd)
    @rule(who=PICK)
    def drop(self, who: int) -> None:
        """A connection is lost."""
        self._drop(self.pick(who))

    def _drop(self, peer: Peer) -> None:
        peer.client.drop()
        self.model.lose(peer)
        self.model.run()

    @precondition(anybody)
    @rule(who=PICK)
    def stall_or_read_on(self, who: int) -> None:
        """A client stops reading, or reads again."""
        peer = self.pick(who)
        peer.is_stalled = not peer.is_stalled
        if peer.is_stalled:
            peer.client.stall()
        else:
            peer.client.read_on()
            self.model.settle()
            self.model.run()

    @rule(seconds=st.sampled_from([1, 10]), looks=st.booleans())
    def wait(self, seconds: int, looks: bool) -> None:
        """Time passes."""
        self.server.advance(seconds)
        if looks:
            self.server.expire()
            self.model.expire()
            self.model.run()
            self.model.nobody_waits_for_itself()

    # What is true after each of it

    @invariant()
    def everybody_has_what_there_is(self) -> None:
        """Nothing is left in the journal, and no consumer could be given more."""
        assert not self.model.journal
        assert not self.model.next_pairs(None)

    @invariant()
    def counts_are_right(self) -> None:
        """The broker's books are the model's."""
        model, broker = self.model, self.server.broker
        held = model.held()
        expected = Counter(msg.queue for msg in held)
        assert {name: len(queue) for name, queue in broker.queues.items() if len(queue)} == expected
        consumed = {sub.queue for sub in model.subs()}
        assert set(broker.queues) == consumed | set(expected)
        assert broker.statistics.queued_count == len(held)
        assert broker.statistics.subscription_count == len(model.subs())
        sizes = Counter[str]()
        for msg in held:
            sizes[msg.queue] += msg.size
        assert {name: queue.bytes for name, queue in broker.queues.items() if len(queue)} == sizes
        in_transactions = sum(
            message_size(dict(action.headers), action.body)
            for peer in model.alive()
            for actions in peer.transactions.values()
            for action in actions
            if isinstance(action, Frame)
        )
        assert broker.budget.held >= in_transactions
        queued = sum(queue.cost_bytes for queue in broker.queues.values()) + sizes.total()
        assert broker.budget.used == queued + broker.budget.held

    @invariant()
    def no_message_is_lost_or_doubled(self) -> None:
        """Each accepted message is in one place, or done with once."""
        assert self.model.done + Counter(msg.copy for msg in self.model.held()) == (
            self.model.accepted
        )

    @invariant()
    def first_deliveries_keep_their_order(self) -> None:
        """Whatever else happened: a subscription's fresh messages of one priority."""
        for sub in self.model.subs():
            for priority in {place[0] for place in sub.first_seen}:
                seqs = [place[1] for place in sub.first_seen if place[0] == priority]
                assert seqs == sorted(seqs)

    def teardown(self) -> None:
        """When all have gone, everything that is left can be fetched, once."""
        for peer in self.model.alive():
            peer.is_stalled = True
            peer.client.stall()
        for peer in self.model.alive():
            self._drop(peer)
        self.connect(Version.V12)
        last = self.pick(0)
        for queue in list(self.server.broker.queues):
            self.say(last, self.frame(last, "SUBSCRIBE", **_plain(queue)))
            self.say(last, self.frame(last, "UNSUBSCRIBE", id=queue))
        assert self.model.done == self.model.accepted
        assert set(self.model.accepted.values()) <= {1}
        broker = self.server.broker
        assert broker.statistics.queue_count == 0
        assert broker.budget.used == broker.budget.held
        assert not broker.waiting._places


def _plain(queue: str) -> dict[str, str]:
    return {"id": queue, "destination": queue, "ack": "auto", "prefetch_count": "0"}


QueueMachine.TestCase.settings = settings(
    max_examples=examples(60, 1000),
    stateful_step_count=80,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestQueues = QueueMachine.TestCase


def test_one_that_is_resumed_makes_another_wait_for_itself() -> None:
    """What it had to wait with is delivered to one that waits as well."""
    machine = QueueMachine()
    machine.begin(versions=[Version.V10, Version.V10], acks=["client"], prefetch="0")
    machine.subscribe(1, QUEUES[0], "client-individual", "0", "")
    machine.stall_or_read_on(1)
    machine.send_some(1, QUEUES[0], 7, [])
    machine.stall_or_read_on(1)
    machine.stall_or_read_on(0)
    machine.stall_or_read_on(1)
    machine.send_some(1, ",".join(QUEUES), 6, ["red", "red", "red"])
    machine.stall_or_read_on(1)
    machine.ack(1, 0, "u", again=False)
    machine.ack(0, 6, "t", again=False)
    machine.nack(0, 6, "u", "")
    machine.send_some(0, QUEUES[0], 6, ["blue"])
    machine.stall_or_read_on(0)
    machine.wait(seconds=1, looks=True)
    machine.everybody_has_what_there_is()
    machine.counts_are_right()
    machine.no_message_is_lost_or_doubled()
    machine.teardown()
