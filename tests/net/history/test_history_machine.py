"""Any interleaving of publishing, reading, leaving, coming back, restarts, kills; on real SQLite.

A reader that comes back with the offset after its last and the epoch gets each offset exactly once,
in order, whatever happened to it or to the server in between. The model is a list a destination:

- what a client has seen at an offset stays there, for every client and across every crash;
- what was confirmed with a RECEIPT is there exactly once, in its publisher's order;
- what was refused with an ERROR is not there;
- a gap is never silent: ``x-stream-recovered:false`` says so, or the reader is cut as too slow.

``make soak`` looks longer than ``make test``; ``RTCHAT_EXAMPLES=2000`` says how long.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from support.core import Client
from support.examples import examples
from support.history import Keeper

from rtchat.core.history.rules import HistoryLimits, HistoryRule
from rtchat.core.stomp.frames import Frame, Version

ALL, FEW = "/topic/chat.all", "/topic/chat.few"
RULES = [HistoryRule(FEW, 5, 60.0), HistoryRule("/topic/chat*", 100_000)]
LIMITS = HistoryLimits(max_memory_bytes=3000)  # a few messages: pages come and go

pytestmark = pytest.mark.slow

people = st.integers(0, 2)
destinations = st.sampled_from([ALL, FEW])


@dataclass
class Place:
    """What a reader knows of a destination."""

    next: int = 0
    epoch: str = ""
    seen: dict[int, str] = field(default_factory=dict)
    is_first: bool = True  # of this subscription


@dataclass
class Reader:
    """A subscriber that reconnects again and again."""

    places: dict[str, Place] = field(default_factory=dict)
    client: Client | None = None
    subscribed: set[str] = field(default_factory=set)
    acks: str = "auto"
    unacked: list[Frame] = field(default_factory=list)


@dataclass
class Publisher:
    """A publisher; ``sent`` has all messages of this connection."""

    client: Client | None = None
    sent: list[tuple[str, str]] = field(default_factory=list)


class HistoryMachine(RuleBasedStateMachine):
    """Readers, publishers, a file and a server that comes and goes."""

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="rtchat-history-")
        self.server = Keeper(Path(self.folder.name) / "history1.sqlite", RULES, LIMITS)
        self.readers = [Reader() for _ in range(3)]
        self.publishers = [Publisher() for _ in range(3)]
        self.truth: dict[str, dict[int, str]] = {ALL: {}, FEW: {}}
        self.confirmed: set[str] = set()
        self.refused: set[str] = set()
        self.in_file: set[str] = set()
        self.orders: list[list[tuple[str, str]]] = []
        self.count = 0

    # What publishers do

    @rule(who=people, destination=destinations, count=st.integers(1, 8), large=st.booleans())
    def publish(self, who: int, destination: str, count: int, large: bool) -> None:
        for _ in range(count):
            self._send(who, [destination], "", large=large)
        self._look()

    @rule(who=people)
    def publish_to_both(self, who: int) -> None:
        self._send(who, [f"{ALL},{FEW}"], "")
        self._look()

    @rule(who=people, count=st.integers(1, 3))
    def publish_together(self, who: int, count: int) -> None:
        publisher = self._publisher(who)
        assert publisher.client is not None
        name = f"t{self.count}"
        publisher.client.say("BEGIN", transaction=name)
        for _ in range(count):
            self._send(who, [ALL, FEW], name)
        publisher.client.say("COMMIT", transaction=name, receipt=f"commit {name}")
        self._look()

    @rule(who=people)
    def publisher_leaves(self, who: int) -> None:
        client = self.publishers[who].client
        if client is not None:
            client.drop()
        self._look()
        self._new_order(who)

    # What readers do

    @rule(
        who=people,
        destination=destinations,
        acks=st.sampled_from(["auto", "auto", "client", "client-individual"]),
        version=st.sampled_from([Version.V11, Version.V12]),
    )
    def subscribe(self, who: int, destination: str, acks: str, version: Version) -> None:
        reader = self.readers[who]
        if destination in reader.subscribed:
            return
        if reader.client is None:
            reader.client, reader.acks = self.server.client(version), acks
        place = reader.places.setdefault(destination, Place())
        place.is_first = True
        more = {"x_stream_offset": f"offset={place.next}"}
        if place.epoch:
            more["x_stream_epoch"] = place.epoch
        reader.subscribed.add(destination)
        reader.client.say(
            "SUBSCRIBE",
            id=destination,
            destination=destination,
            ack=reader.acks,
            prefetch_count="2",
            receipt=f"sub {destination}",
            **more,
        )
        self._look()

    @rule(who=people, destination=destinations)
    def unsubscribe(self, who: int, destination: str) -> None:
        reader = self.readers[who]
        if reader.client is not None and destination in reader.subscribed:
            reader.subscribed.discard(destination)
            reader.client.unsubscribe(destination)
            self._look()
            reader.unacked = [
                frame for frame in reader.unacked if frame.headers["destination"] != destination
            ]

    @rule(who=people, last=st.booleans())
    def acknowledge(self, who: int, last: bool) -> None:
        reader = self.readers[who]
        if reader.client is not None and reader.unacked:
            if reader.acks == "client":
                # One ACK is for all of its subscription up to there.
                message = reader.unacked.pop()
                name = message.headers["subscription"]
                reader.unacked = [f for f in reader.unacked if f.headers["subscription"] != name]
            else:
                message = reader.unacked.pop(-1 if last else 0)
            reader.client.ack(message)
            self._look()

    @rule(who=people)
    def stall(self, who: int) -> None:
        client = self.readers[who].client
        if client is not None:
            client.stall()

    @rule(who=people)
    def read_on(self, who: int) -> None:
        client = self.readers[who].client
        if client is not None:
            client.read_on()
            self._look()

    @rule(who=people)
    def reader_leaves(self, who: int) -> None:
        client = self.readers[who].client
        if client is not None:
            client.drop()
            self._look()
            self._forget_client(self.readers[who])

    # What the machine does

    @rule(steps=st.integers(1, 6))
    def disk_goes_on(self, steps: int) -> None:
        for _ in range(steps):
            self.server.store.step()
            self._look()

    @rule()
    def disk_catches_up(self) -> None:
        self._settle()

    @rule(broken=st.sampled_from([False, False, True]))
    def disk_breaks(self, broken: bool) -> None:
        self.server.store.broken = "database or disk is full" if broken else ""

    @rule(seconds=st.integers(1, 40))
    def time_passes(self, seconds: int) -> None:
        self.server.advance(seconds)
        self.server.expire()
        self._look()

    @precondition(lambda self: not self.server.store.broken)
    @rule()
    def stop_and_start(self) -> None:
        now = self.server.broker.now
        for who in range(3):
            client = self.readers[who].client
            if client is not None:
                client.drop()
            self.publisher_leaves(who)
        self._look()
        self._begin_again(self.server.stop(), now)

    @rule(is_written=st.booleans())
    def kill(self, is_written: bool) -> None:
        now = self.server.broker.now
        if is_written:
            # The worst moment: it is in the file, and no client has been told.
            self.server.store.step(crash=True)
        self._look()
        self._begin_again(self.server.kill(Path(self.folder.name)), now)

    # What has to hold

    def teardown(self) -> None:
        if not hasattr(self, "server"):
            return
        try:
            self._check_the_end()
        finally:
            self.server.store.file.close()
            self.folder.cleanup()

    def _check_the_end(self) -> None:
        self.server.store.broken = ""
        for reader in self.readers:
            if reader.client is not None:
                reader.client.drop()
            self._look()
            self._forget_client(reader)
        self._settle()
        for who in range(3):
            self._new_order(who)
        now = self.server.broker.now
        self._begin_again(self.server.kill(Path(self.folder.name)), now)
        for who in range(3):
            for destination in (ALL, FEW):
                self.subscribe(who, destination, "auto", Version.V12)
        self._settle()
        everything = self.truth[ALL]
        assert sorted(everything) == list(range(len(everything)))
        for reader in self.readers:
            assert reader.places[ALL].seen == everything, "each offset, exactly once"
        bodies = list(everything.values())
        assert len(set(bodies)) == len(bodies), "a message has two offsets"
        assert {body for body in self.confirmed if body.startswith(ALL)} <= set(bodies)
        assert not self.refused & set(bodies)
        place = {body: offset for offset, body in everything.items()}
        for order in self.orders:
            kept = [place[body] for _, body in order if body in place]
            assert kept == sorted(kept), "a publisher's order"
        # A later subscriber finds the same.
        late = self.server.listen(ALL)
        self.server.settle()
        assert [frame.body.decode().strip() for frame in late.messages()] == bodies

    # Small helpers

    def _send(
        self, who: int, destinations: list[str], transaction: str, *, large: bool = False
    ) -> None:
        publisher = self._publisher(who)
        assert publisher.client is not None
        self.count += 1
        for destination in destinations:
            body = f"{destination.split(',')[0]} {self.count}"
            publisher.sent.append((transaction, body))
            more = {"transaction": transaction} if transaction else {"receipt": body}
            padding = " " * (900 if large else 0)
            publisher.client.say("SEND", body + padding, destination=destination, **more)

    def _publisher(self, who: int) -> Publisher:
        publisher = self.publishers[who]
        if publisher.client is None:
            publisher.client = self.server.client()
        return publisher

    def _new_order(self, who: int) -> None:
        self.orders.append(self.publishers[who].sent)
        self.publishers[who] = Publisher()

    def _settle(self) -> None:
        while self.server.store.step():
            self._look()

    def _begin_again(self, server: Keeper, now: float) -> None:
        for who in range(3):
            self._forget_client(self.readers[who])
            self._new_order(who)
        self.server = server
        self.server.broker.now = now

    def _forget_client(self, reader: Reader) -> None:
        reader.client = None
        reader.subscribed = set()
        reader.unacked = []

    def _look(self) -> None:
        """Look at what each client was sent."""
        for reader in self.readers:
            if reader.client is not None:
                for frame in reader.client.received():
                    self._read(reader, frame)
                if reader.client.close_reason is not None:
                    self._forget_client(reader)
        for who, publisher in enumerate(self.publishers):
            if publisher.client is None:
                continue
            for frame in publisher.client.received():
                self._hear(publisher, frame)
            if publisher.client.close_reason is not None:
                self._new_order(who)

    def _hear(self, publisher: Publisher, frame: Frame) -> None:
        receipt = frame.headers["receipt-id"]
        name = receipt.removeprefix("commit ")
        about = {body for where, body in publisher.sent if body == receipt or (where == name)}
        assert about
        if frame.command == "RECEIPT":
            self.confirmed |= about
            for body in about - self.in_file:
                if body.startswith(ALL):  # of the others it may be gone again
                    assert self._is_in_file(body), "confirmed before it was written"
            self.in_file |= about
        else:
            assert frame.command == "ERROR"
            assert frame.headers["message"] == "history cannot be written"
            assert not about & self.confirmed
            self.refused |= about

    def _is_in_file(self, body: str) -> bool:
        found = self.server.store.file._db.execute(
            "SELECT count(*) FROM message WHERE rtrim(CAST(body AS TEXT)) = ?", (body,)
        )
        return bool(found.fetchone()[0])

    def _read(self, reader: Reader, frame: Frame) -> None:
        if frame.command == "RECEIPT":
            destination = frame.headers["receipt-id"].removeprefix("sub ")
            place = reader.places[destination]
            answer = frame.headers.get("x-stream-recovered")
            assert (answer is not None) == bool(place.epoch)
            assert destination == FEW or answer != "false"
            place.epoch = frame.headers["x-stream-epoch"]
            return
        if frame.command == "ERROR":
            text = frame.headers["message"]
            assert text.startswith("too slow") or text == "history cannot be read", text
            return
        destination = frame.headers["destination"]
        place = reader.places[destination]
        offset, body = int(frame.headers["x-stream-offset"]), frame.body.decode().strip()
        recovered = frame.headers.get("x-stream-recovered")
        assert place.epoch in ("", frame.headers["x-stream-epoch"])
        if "x-stream-unreadable" in frame.headers:
            # The disk was broken for so long that the server went on without a part.
            assert offset >= place.next
        elif offset != place.next:
            assert destination == FEW
            assert place.is_first, "a gap in the middle"
            # Without an epoch the client does not claim to have seen anything.
            assert recovered == "false" or not place.seen
            assert offset > place.next
        else:
            assert recovered != "false" or not place.is_first or destination == FEW
        assert self.truth[destination].setdefault(offset, body) == body
        assert offset not in place.seen
        place.seen[offset] = body
        place.next = offset + 1
        place.is_first = False
        if reader.acks != "auto":
            reader.unacked.append(frame)


HistoryMachine.TestCase.settings = settings(
    max_examples=examples(60, 1000),
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
test_every_interleaving = HistoryMachine.TestCase
