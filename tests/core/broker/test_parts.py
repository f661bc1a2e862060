"""A message for very many subscribers is delivered in parts; only the time shows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.core import Client, Server, clean_server
from support.examples import examples
from support.work import each_turn

from rtchat.core.broker import topic as topic_module
from rtchat.core.broker.parts import PART_WORK
from rtchat.core.flow.turns import TURN_WORK
from rtchat.core.stomp.frames import Frame, Version

T = "/topic/t"
MOST_WORK = PART_WORK + 100
"""What a turn may do: a group, or what is behind it, may be more than what is left."""

LOTS = 16
"""So many subscriptions of one destination each client of these tests has."""


@pytest.fixture
def server() -> Iterator[Server]:
    yield from clean_server()


class StepByStep(Server):
    """A server whose later turns come when the test says so."""

    is_held = False

    def _flush(self) -> None:
        if self.is_held:
            self.broker.cork.flush()
        else:
            super()._flush()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold what goes on in later turns until :meth:`next_turn`."""
        self.is_held = True
        yield
        self.is_held = False
        self.end_turn()

    def next_turn(self) -> None:
        """Run one of the later turns."""
        self.broker.cork.run_later()
        self.end_turn()


@pytest.fixture
def steps() -> Iterator[StepByStep]:
    server = StepByStep()
    with server.held():
        yield server
    for client in server.clients:
        client.drop()
    assert server.broker.budget.used == server.broker.budget.held == 0
    assert not server.broker.parts.topics
    assert not server.broker.congestion.active
    assert not server.broker.events.unusual


def crowd(server: Server, groups: int, **headers: str) -> list[Client]:
    """Return clients with so many subscriptions, each with an id of its own."""
    clients = []
    for number in range(groups):
        if number % LOTS == 0:
            clients.append(server.client())
        clients[-1].subscribe(T, f"s{number}", **headers)
    return clients


def per_subscription(client: Client) -> dict[str, list[str]]:
    """Return the bodies that each subscription of a client has got."""
    got: dict[str, list[str]] = {}
    for message in client.messages():
        got.setdefault(message.headers["subscription"], []).append(message.body.decode())
    return got


# ---------------------------------------------------------------- the work of a turn


@pytest.mark.parametrize(
    "headers",
    [{}, {"ack": "client"}, {"x_slow": "latest"}, {"selector": "n = 1"}],
    ids=["groups", "acknowledging", "lagging", "selecting"],
)
def test_a_message_to_very_many_takes_several_turns(
    server: Server, headers: dict[str, str]
) -> None:
    clients = crowd(server, 3000, **headers)
    publisher = server.client()
    work = each_turn(server)
    for body in ("one", "two", "three"):
        publisher.publish(T, body, n="1")
    assert len(work) > 3 * 3
    assert max(work) < MOST_WORK
    for client in clients:
        assert list(per_subscription(client).values()) == [["one", "two", "three"]] * len(
            client.session.subscriptions
        )


def test_selectors_of_many_sessions_take_several_turns(server: Server) -> None:
    selector = " AND ".join(f"n <> {number}" for number in range(200))
    clients = [server.client() for _ in range(60)]
    for number, client in enumerate(clients):
        client.subscribe(T, selector=f"{selector} AND n <> 1000{number}")
    publisher = server.client()
    work = each_turn(server)
    publisher.publish(T, "x", n="500")
    assert len(work) > 2
    assert max(work) < MOST_WORK + server.broker.selectors.get(selector).work
    assert [client.bodies() for client in clients] == [["x"]] * len(clients)


def test_patterns_of_many_sessions_take_several_turns(server: Server) -> None:
    clients = [server.client() for _ in range(20)]
    for each, client in enumerate(clients):
        for number in range(100):
            words = ["*" if number >> bit & 1 else "a" for bit in range(7)]
            client.subscribe("/topic/" + ".".join(words), f"{each}.{number}")
    publisher = server.client()
    name = "/topic/" + ".".join("a" * 7)
    publisher.publish(name, "the search for patterns is behind us")
    work = each_turn(server)
    publisher.publish(name, "x")
    assert len(work) > 3
    assert max(work) < MOST_WORK
    assert all(client.bodies()[100:] == ["x"] * 100 for client in clients)


def test_few_groups_are_one_turn(server: Server) -> None:
    clients = crowd(server, 48)
    work = each_turn(server)
    server.client().publish(T, "x")
    assert len([one for one in work if one]) <= 2  # CONNECT, and SEND
    assert len(clients) == 3


# ---------------------------------------------------------------- in the middle


def test_a_publisher_waits_until_all_have_its_message(steps: StepByStep) -> None:
    clients = crowd(steps, 1600)
    publisher, other = steps.client(), steps.client()
    publisher.publish(T, "one", receipt="r")
    assert publisher.is_waiting
    assert publisher.receipts() == []
    other.publish("/topic/another", "x", receipt="free")
    assert other.receipts() == ["free"]
    other.publish(T, "two", receipt="two")
    assert other.is_waiting
    before = steps.broker.budget.used
    other.send(b"")
    assert steps.broker.budget.used == before
    while publisher.is_waiting:
        steps.next_turn()
    assert publisher.receipts() == ["r"]
    while other.is_waiting:
        steps.next_turn()
    assert other.receipts() == ["two"]
    assert all(
        set(map(tuple, per_subscription(client).values())) == {("one", "two")} for client in clients
    )


def test_few_messages_of_a_topic_are_on_their_way(steps: StepByStep) -> None:
    crowd(steps, 1600)
    publishers = [steps.client() for _ in range(10)]
    used = steps.broker.budget.used
    for publisher in publishers:
        publisher.publish(T, b"x" * 10_000)
        publisher.publish(T, b"x" * 10_000)
    assert sum(publisher.is_waiting for publisher in publishers) >= 9
    held = sum(publisher.session.holding.bytes for publisher in publishers)
    assert steps.broker.budget.used - used < held + 2 * 12_000


def test_who_subscribes_meanwhile_gets_what_comes_then(steps: StepByStep) -> None:
    crowd(steps, 1600)
    publisher, late, gone = steps.client(), steps.client(), steps.client()
    publisher.publish(T, "before")
    late.subscribe(T, "s1599")  # as if in the last group
    late.subscribe(T, "acking", ack="client")
    gone.subscribe(T, "s1599")
    gone.unsubscribe("s1599")
    for _ in range(50):
        steps.next_turn()
    publisher.publish(T, "after")
    for _ in range(50):
        steps.next_turn()
    assert per_subscription(late) == {"s1599": ["after"], "acking": ["after"]}
    assert gone.messages() == []


def test_who_leaves_meanwhile_gets_no_more(steps: StepByStep) -> None:
    clients = crowd(steps, 1600)
    publisher = steps.client()
    publisher.publish(T, "x")
    clients[-1].unsubscribe("s1599")
    clients[-2].drop()
    for _ in range(50):
        steps.next_turn()
    assert "s1599" not in per_subscription(clients[-1])
    assert clients[-2].messages() == []
    assert all(client.messages() for client in clients[:-2])


def test_when_all_have_left_who_waits_goes_on(steps: StepByStep) -> None:
    clients = crowd(steps, 1600)
    publisher, other = steps.client(), steps.client()
    publisher.publish(T, "x", receipt="r")
    other.publish(T, "y", receipt="r")
    for client in clients:
        client.drop()
    for _ in range(10):
        steps.next_turn()
    assert publisher.receipts() == other.receipts() == ["r"]


def test_a_message_that_ends_a_session_leaves_no_trace(steps: StepByStep) -> None:
    clients = crowd(steps, 1600)
    publisher = steps.client()
    for client in clients[1:]:
        client.outbound.on_flush = lambda: clients[-1].drop() if not clients[-1].is_gone else None
    publisher.publish(T, "x", receipt="r")
    for _ in range(50):
        steps.next_turn()
    assert publisher.receipts() == ["r"]
    assert clients[-2].messages()


def test_a_waiting_publisher_that_goes_is_forgotten(steps: StepByStep) -> None:
    crowd(steps, 1600)
    publishers = [steps.client() for _ in range(3)]
    for publisher in publishers:
        publisher.publish(T, "x", receipt="r")
    publishers[1].drop()
    for _ in range(50):
        steps.next_turn()
    assert publishers[2].receipts() == ["r"]


def test_an_error_in_the_middle_does_not_stop_the_topic(steps: StepByStep) -> None:
    clients = crowd(steps, 1600)
    publisher = steps.client()
    publisher.publish(T, "x")

    def failing(message: object, extra: bytes = b"") -> bytes:
        raise ValueError("a fault of the program")

    group = list(steps.broker.router.topics[T]._groups.values())[-1]
    encode, group.encode = group.encode, failing  # type: ignore[assignment]
    faults = 0
    for _ in range(50):
        try:
            steps.next_turn()
        except ValueError:
            faults += 1
    assert faults == 1
    group.encode = encode
    publisher.publish(T, "y")
    for _ in range(50):
        steps.next_turn()
    assert all(client.bodies()[-1] == "y" for client in clients)


# ---------------------------------------------------------------- at random

steps_of_a_script = st.lists(
    st.one_of(
        st.tuples(
            st.just("subscribe"),
            st.integers(0, 3),
            st.sampled_from([T, "/topic/*", "/topic/u"]),
            st.sampled_from(["auto", "auto", "auto", "client"]),
            st.sampled_from(["", "n = 1"]),
        ),
        st.tuples(st.just("unsubscribe"), st.integers(0, 3), st.integers(0, 5)),
        st.tuples(
            st.just("send"),
            st.integers(0, 3),
            st.sampled_from([T, "/topic/u", f"{T},/topic/u"]),
            st.integers(0, 2),
            st.booleans(),
        ),
        st.tuples(st.just("commit"), st.integers(0, 3), st.integers(1, 3)),
        st.tuples(st.just("drop"), st.integers(0, 3)),
    ),
    max_size=30,
)


def by_subscription(client: Client) -> dict[str, list[Frame]]:
    """Return the frames that a client has got, in order for each subscription."""
    got: dict[str, list[Frame]] = {}
    for frame in client.received():
        got.setdefault(frame.headers.get("subscription", ""), []).append(frame)
    return got


def play(script: list[tuple[object, ...]], part_work: int) -> list[dict[str, list[Frame]]]:
    """Play a script on a server that divides so early; return what each client received."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topic_module, "PART_WORK", part_work)
        patch.setattr(topic_module, "_FEW", 0 if part_work < TURN_WORK else 8)
        server = Server()
        clients = [server.client(v) for v in (Version.V12, Version.V12, Version.V11, Version.V12)]
        open_ids: list[list[str]] = [[] for _ in clients]
        for number, (kind, who, *rest) in enumerate(script):
            assert isinstance(who, int)
            client, ids = clients[who], open_ids[who]
            if client.is_gone or client.close_reason is not None:
                continue
            if kind == "subscribe":
                destination, ack, selector = map(str, rest)
                headers = {"selector": selector} if selector else {}
                client.subscribe(destination, f"{number % 9}.{number}", ack=ack, **headers)
                ids.append(f"{number % 9}.{number}")
            elif kind == "unsubscribe":
                if ids:
                    client.unsubscribe(ids.pop(int(str(rest[0])) % len(ids)))
            elif kind == "send":
                to, n, has_receipt = rest
                headers = {"receipt": str(number)} if has_receipt else {}
                client.publish(str(to), str(number), n=str(n), **headers)
            elif kind == "commit":
                client.say("BEGIN", transaction="t")
                for each in range(int(str(rest[0]))):
                    client.publish(T, f"{number}.{each}", transaction="t")
                client.say("COMMIT", transaction="t", receipt=f"c{number}")
            else:
                client.drop()
        received = [by_subscription(client) for client in clients]
        for client in clients:
            if not client.is_gone:
                client.drop()
        assert server.broker.budget.used == server.broker.budget.held == 0
        assert not server.broker.parts.topics
    return received


@settings(max_examples=examples(100, 3000), deadline=None)
@given(steps_of_a_script, st.sampled_from([0, 8, 20, 50]))
def test_parts_make_no_difference(script: list[tuple[object, ...]], part_work: int) -> None:
    assert play(script, part_work) == play(script, 1 << 60)


def test_a_turn_divides_nothing_before_it_ends_itself() -> None:
    # Between two frames a turn ends earlier: so a frame that begins in time is not divided.
    assert PART_WORK > TURN_WORK + 500
