"""ACK and NACK in every mode and version, redelivery, and dead letters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from support.core import Client, Server, bodies, clean_server, errors
from support.stomp import frame_bytes

from rtchat.core.session.acks import acknowledge_run
from rtchat.core.stomp.frames import Frame, Version

V10, V11, V12 = Version.V10, Version.V11, Version.V12
VERSIONS = list(Version)
Q = "/queue/a"
DLQ = "/queue/DLQ.a"
NOT_WAITING = "for an unknown or already acknowledged delivery"


@pytest.fixture
def server() -> Iterator[Server]:
    yield from clean_server()


def worker(server: Server, ack: str, version: Version = V12, **headers: str) -> Client:
    client = server.client(version)
    client.subscribe(Q, ack=ack, **headers)
    return client


def publish(server: Server, texts: Iterable[str], **headers: str) -> None:
    publisher = server.client()
    for text in texts:
        publisher.publish(Q, text, **headers)
    publisher.drop()


def left(server: Server, queue: str = Q) -> str:
    """Return what is ready in a queue, in order, and take it."""
    return "".join(bodies(server.drain(queue)))


def numbers(message: Frame) -> tuple[str, str, str]:
    """Return body, ``redelivered`` and ``x-delivery-count``."""
    headers = message.headers
    return (
        message.body.decode(),
        headers.get("redelivered", ""),
        headers.get("x-delivery-count", ""),
    )


# ---------------------------------------------------------------- auto


@pytest.mark.parametrize("headers", [{}, {"ack": "auto"}])
def test_auto_means_that_a_message_sent_is_done_with(
    server: Server, headers: dict[str, str]
) -> None:
    client = server.client()
    client.subscribe(Q, **headers)
    publish(server, "ab")
    assert "ack" not in client.messages()[0].headers
    assert server.broker.statistics.queued_count == 0
    client.drop()
    assert left(server) == ""


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("command", ["ACK", "NACK"])
def test_a_message_of_an_auto_subscription_waits_for_no_ack(
    server: Server, version: Version, command: str
) -> None:
    client = worker(server, "auto", version)
    publish(server, "a")
    message = client.message()
    named = {"id": message.headers["message-id"], "message_id": message.headers["message-id"]}
    frames = client.ask(command, **named, subscription="0")
    assert errors(frames) == [f"{command} {NOT_WAITING}"]


@pytest.mark.parametrize("ack", ["", "Client", "none", "x" * 100])
def test_an_ack_mode_that_is_none_is_refused_and_not_repeated(server: Server, ack: str) -> None:
    frames = server.client().ask("SUBSCRIBE", id="0", destination=Q, ack=ack)
    assert errors(frames) == ["unknown ack mode"]
    assert b"auto, client, client-individual" in frames[0].body
    assert server.broker.statistics.queue_count == 0


# ---------------------------------------------------------------- what an ACK names


@pytest.mark.parametrize("ack", ["client", "client-individual"])
def test_in_1_2_a_message_has_an_id_for_its_ack(server: Server, ack: str) -> None:
    client = worker(server, ack)
    publish(server, "ab")
    first, second = client.messages()
    assert first.headers["ack"] != second.headers["ack"]
    client.say("ACK", id=first.headers["ack"])
    client.say("ACK", id=second.headers["ack"])
    assert server.broker.statistics.queued_count == 0


def test_in_1_1_an_ack_names_message_and_subscription(server: Server) -> None:
    client = worker(server, "client", V11)
    publish(server, "a")
    message = client.message()
    assert "ack" not in message.headers
    client.say("ACK", message_id=message.headers["message-id"], subscription="0")
    assert server.broker.statistics.queued_count == 0


def test_in_1_0_an_ack_names_the_message(server: Server) -> None:
    client = worker(server, "client", V10)
    publish(server, "a")
    message = client.message()
    assert "ack" not in message.headers
    client.say("ACK", message_id=message.headers["message-id"])
    assert server.broker.statistics.queued_count == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_an_ack_may_have_all_headers_of_its_message(server: Server, version: Version) -> None:
    client = worker(server, "client-individual", version)
    publish(server, ["first", "second"])
    for message in client.messages():
        headers = {name.replace("-", "_"): value for name, value in message.headers.items()}
        client.say("ACK", **{**headers, **client.naming(message)})
    assert server.size_of(Q) == 0


def test_a_1_0_subscription_without_id_can_acknowledge(server: Server) -> None:
    client = server.client(V10)
    client.say("SUBSCRIBE", destination=Q, ack="client")
    publish(server, "a")
    message = client.message()
    assert "subscription" not in message.headers
    client.ack(message)
    assert server.broker.statistics.queued_count == 0


@pytest.mark.parametrize(
    "version, headers, missing",
    [
        (V12, {}, "id"),
        (V12, {"message_id": "x", "subscription": "0"}, "id"),
        (V11, {"subscription": "0"}, "message-id"),
        (V11, {"id": "x"}, "subscription"),
        (V11, {"message_id": "x"}, "subscription"),
        (V10, {"subscription": "0"}, "message-id"),
        (V10, {"id": "x"}, "message-id"),
    ],
)
@pytest.mark.parametrize("command", ["ACK", "NACK"])
def test_what_names_the_message_is_required(
    server: Server, version: Version, headers: dict[str, str], missing: str, command: str
) -> None:
    client = server.client(version)
    frames = client.ask(command, **headers)
    assert errors(frames) == [f"{command} without {missing}"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("ack", ["client", "client-individual"])
def test_an_ack_ends_a_message(server: Server, version: Version, ack: str) -> None:
    client = worker(server, ack, version)
    publish(server, "a")
    client.ack(client.message())
    assert server.broker.statistics.queued_count == 0
    client.drop()
    assert left(server) == ""


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("ack", ["client", "client-individual"])
@pytest.mark.parametrize("command", ["ACK", "NACK"])
def test_a_message_is_acknowledged_once(
    server: Server, version: Version, ack: str, command: str
) -> None:
    client = worker(server, ack, version)
    publish(server, "ab")
    message, _ = client.messages()
    client.ack(message)
    frames = client.ask(command, **client.naming(message), receipt="r")
    assert [frame.command for frame in frames] == ["RECEIPT"]
    assert server.size_of(Q) == 1
    client.drop()
    assert left(server) == "b"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("command", ["ACK", "NACK"])
def test_a_message_that_was_given_back_waits_for_no_ack(
    server: Server, version: Version, command: str
) -> None:
    """The ACK is about the first delivery, and the message is under way in the second."""
    client = worker(server, "client-individual", version)
    publish(server, "a")
    message = client.message()
    client.nack(message)
    again = client.message()
    frames = client.ask(command, **client.naming(message), receipt="r")
    assert [frame.command for frame in frames] == ["RECEIPT"]
    assert server.size_of(Q) == 1
    client.ack(again)
    assert server.size_of(Q) == 0


GARBAGE = ["x", "1.2", "run-2", "run-1@", "run-1@1", "run-1@1.", "run-1@.1", "run-1@1.2", "@1.1"]
GARBAGE += ["run-1@2.1", "run-1@1.1.1", "run-1@-1.1", "run-1@1.٣", "run-2@1.1", "run@1.1", "1.1"]
GARBAGE += ["run-1@1." + "1" * 31, "run-1@0.0", "run-1@1.1 ", "run-1@run-1@1.2", "@run-1@1.1"]
GARBAGE += ["run-1@run-1@2.1", "run-1@run-1@1.01", "run-1@run-1@01.1", "run-1@run-1@1.0", "run-1@@"]
GARBAGE += ["run-1@run-2@1.1", "run-1@run-1@1.1.1", "run-1@run-1@1.", "run-1@run-1@", "run-1@run-1"]


@pytest.mark.parametrize("version", [V11, V12])
@pytest.mark.parametrize("command", ["ACK", "NACK"])
@pytest.mark.parametrize("text", GARBAGE)
def test_an_id_that_was_never_sent_is_refused(
    server: Server, version: Version, command: str, text: str
) -> None:
    client = worker(server, "client", version)
    publish(server, "a")
    client.message()
    named = {"id": text} if version is V12 else {"message_id": text, "subscription": "0"}
    frames = client.ask(command, **named)
    assert errors(frames) == [f"{command} {NOT_WAITING}"]
    assert left(server) == "a"


@pytest.mark.parametrize("version", VERSIONS)
def test_nobody_acknowledges_for_another_session(server: Server, version: Version) -> None:
    owner, other = worker(server, "client", version), worker(server, "client", version)
    publish(server, "ab")
    message = owner.message()
    assert message.body == b"a"
    frames = other.ask("ACK", **other.naming(message))
    assert errors([frames[-1]]) == [f"ACK {NOT_WAITING}"]
    owner.ack(message)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_id_of_an_earlier_connection_names_nothing(server: Server, version: Version) -> None:
    """A client that connects again may still send what it meant to say on the last one."""
    before = worker(server, "client", version)
    publish(server, "ab")
    stale = before.messages()[0]
    before.ack(stale)
    before.drop()
    after = worker(server, "client", version)
    assert after.message().body == b"b"
    frames = after.ask("ACK", **after.naming(stale))
    assert errors(frames) == [f"ACK {NOT_WAITING}"]
    assert left(server) == "b"


def test_in_1_1_the_subscription_has_to_be_the_right_one(server: Server) -> None:
    client = server.client(V11)
    client.subscribe(Q, "one", ack="client")
    client.subscribe(Q, "two", ack="client")
    publish(server, "a")
    message = client.message()
    assert message.headers["subscription"] == "one"
    frames = client.ask("ACK", message_id=message.headers["message-id"], subscription="two")
    assert errors(frames) == [f"ACK {NOT_WAITING}"]
    assert left(server) == "a"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("ack", ["client", "client-individual"])
def test_a_worker_may_finish_its_jobs_after_unsubscribe(
    server: Server, version: Version, ack: str
) -> None:
    client, other = worker(server, ack, version), server.client()
    publish(server, "abc")
    jobs = client.messages()
    client.unsubscribe()
    other.subscribe(Q)
    publish(server, "d")
    for job in jobs:
        frames = client.ask("ACK", **client.naming(job), receipt="r")
        assert [frame.command for frame in frames] == ["RECEIPT"]
    client.say("DISCONNECT")
    assert other.bodies() == ["d"]
    assert server.size_of(Q) == 0


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("requeue, queue", [("true", Q), ("false", DLQ)])
def test_a_worker_may_give_back_a_job_after_unsubscribe(
    server: Server, version: Version, requeue: str, queue: str
) -> None:
    client = worker(server, "client-individual", version)
    publish(server, "ab")
    a, b = client.messages()
    client.unsubscribe()
    client.nack(b, requeue=requeue)
    assert left(server, queue) == "b"
    client.ack(a)
    assert server.size_of(Q) == 0


def test_client_is_cumulative_after_unsubscribe_too(server: Server) -> None:
    client = worker(server, "client")
    publish(server, "abc")
    messages = client.messages()
    client.unsubscribe()
    client.ack(messages[1])
    assert server.size_of(Q) == 1
    client.ack(messages[0])
    client.ack(messages[2])
    assert server.size_of(Q) == 0
    assert not client.line.closed


@pytest.mark.parametrize("how", ["drop", "DISCONNECT", "ERROR"])
def test_what_is_left_after_unsubscribe_comes_back_with_the_end(server: Server, how: str) -> None:
    client = worker(server, "client-individual")
    publish(server, "abc")
    jobs = client.messages()
    client.unsubscribe()
    client.ack(jobs[1])
    assert left(server) == ""
    if how == "drop":
        client.drop()
    else:
        client.say(how)
    again = worker(server, "client")
    assert [numbers(m) for m in again.messages()] == [("a", "true", "1"), ("c", "true", "1")]


def test_a_new_subscription_of_the_same_id_has_a_prefetch_of_its_own(server: Server) -> None:
    client = worker(server, "client-individual", prefetch_count="2")
    publish(server, "abcde")
    first = client.messages()
    client.unsubscribe()
    client.subscribe(Q, ack="client-individual", prefetch_count="2")
    second = client.messages()
    assert bodies(second) == ["c", "d"]
    client.ack(first[0])
    assert client.messages() == []
    client.ack(second[0])
    assert client.bodies() == ["e"]
    client.ack(first[1])
    assert server.size_of(Q) == 2


@pytest.mark.parametrize("version", VERSIONS)
def test_unsubscribe_twice_is_no_error(server: Server, version: Version) -> None:
    client = worker(server, "client", version)
    for receipt in ("1", "2"):
        frames = client.ask("UNSUBSCRIBE", id="0", receipt=receipt)
        assert [frame.headers.get("receipt-id") for frame in frames] == [receipt]
    assert errors(client.ask("UNSUBSCRIBE", id="1")) == ["no such subscription"]


def test_unsubscribe_ends_the_new_subscription_of_an_id(server: Server) -> None:
    client = worker(server, "auto")
    client.unsubscribe()
    client.subscribe(Q)
    client.unsubscribe()
    publish(server, "a")
    assert client.messages() == []
    assert left(server) == "a"


def test_a_session_remembers_a_bounded_number_of_subscriptions(server: Server) -> None:
    """Each of them once, by a hash of its id; deliveries by a number."""
    client = server.client(max_subscriptions=3)
    for number in range(10):
        client.subscribe(Q, str(number), ack="client-individual", prefetch_count="1")
        publish(server, "a")
        client.ack(client.message())
        client.unsubscribe(str(number))
    subscriptions = client.session.subscriptions
    assert len(subscriptions._by_number) == 0
    assert subscriptions._past is not None
    assert len(subscriptions._past._hashes) == 3
    assert client.ask("UNSUBSCRIBE", id="9", receipt="r")[0].command == "RECEIPT"
    assert errors(client.ask("UNSUBSCRIBE", id="0")) == ["no such subscription"]


def test_ended_subscriptions_with_deliveries_count_towards_the_limit(server: Server) -> None:
    client = server.client(max_subscriptions=2)
    publish(server, "ab")
    for number in range(2):
        client.subscribe(Q, str(number), ack="client-individual", prefetch_count="1")
        client.unsubscribe(str(number))
    frames = client.messages()
    client.ack(frames[0])
    client.subscribe(Q, "third")
    assert errors(client.ask("SUBSCRIBE", id="4", destination=Q)) == ["more than 2 subscriptions"]


def test_an_old_delivery_stays_known_when_its_subscription_is_forgotten(server: Server) -> None:
    client = worker(server, "client-individual")
    publish(server, "abc")
    jobs = client.messages()
    for job in jobs:
        client.ack(job)
    client.unsubscribe()
    client.subscribe(Q, "next", ack="client-individual")
    client.unsubscribe("next")
    for job in jobs:
        frames = client.ask("ACK", **client.naming(job), receipt="r")
        assert [frame.command for frame in frames] == ["RECEIPT"]
    unknown = jobs[2].headers["ack"].replace(".3", ".4")
    assert errors(client.ask("ACK", id=unknown)) == [f"ACK {NOT_WAITING}"]


# ---------------------------------------------------------------- the message's id in 1.2


@pytest.mark.parametrize("command", ["ACK", "NACK"])
@pytest.mark.parametrize("headers", [{}, {"receipt": "r"}, {"subscription": "0"}])
def test_in_1_2_the_message_s_id_names_the_delivery(
    server: Server, command: str, headers: dict[str, str]
) -> None:
    client = worker(server, "client-individual")
    publish(server, "abc")
    messages = client.messages()
    client.say(command, id=messages[1].headers["message-id"], **headers)
    assert not client.line.closed
    client.unsubscribe()
    client.drop()
    assert left(server) == ("ac" if command == "ACK" else "abc")


def test_the_message_s_id_names_the_latest_delivery(server: Server) -> None:
    client = worker(server, "client-individual", prefetch_count="1")
    publish(server, "ab")
    for _ in range(3):
        client.say("NACK", id=client.message().headers["message-id"])
    a = client.message()
    assert numbers(a) == ("a", "true", "3")
    client.say("ACK", id=a.headers["message-id"])
    assert client.bodies() == ["b"]


def test_the_message_s_id_may_be_acknowledged_twice(server: Server) -> None:
    client = worker(server, "client")
    publish(server, "ab")
    a, b = client.messages()
    for message in (b, b, a):
        frames = client.ask("ACK", id=message.headers["message-id"], receipt="r")
        assert [frame.command for frame in frames] == ["RECEIPT"]
    assert server.size_of(Q) == 0
    assert errors(client.ask("ACK", id="run-99")) == [f"ACK {NOT_WAITING}"]


def test_each_of_two_deliveries_of_one_message_is_acknowledged(server: Server) -> None:
    client = server.client(V12)
    client.subscribe("/topic/*", ack="client-individual", prefetch_count="2")
    server.client(V12).publish("/topic/a,/topic/b", "both")
    one, two = client.messages()
    assert one.headers["message-id"] == two.headers["message-id"]
    for message in (one, two):
        client.say("ACK", id=message.headers["message-id"])
    server.client(V12).publish("/topic/a,/topic/b", "again")
    assert client.bodies() == ["again", "again"]


def test_the_message_s_id_works_in_a_transaction(server: Server) -> None:
    client = worker(server, "client-individual")
    publish(server, "a")
    name = client.message().headers["message-id"]
    for verb, count in [("ABORT", 1), ("COMMIT", 0)]:
        client.say("BEGIN", transaction="t")
        client.say("ACK", id=name, transaction="t")
        client.say(verb, transaction="t")
        assert server.size_of(Q) == count
    assert not client.line.closed


def test_among_several_deliveries_of_a_message_the_oldest_subscription_s_counts(
    server: Server,
) -> None:
    client = server.client()
    for name, queue in [("one", "/queue/x"), ("two", "/queue/y"), ("three", "/queue/z")]:
        client.subscribe(queue, name, ack="client-individual")
    server.client().publish("/queue/z,/queue/y,/queue/x", "a")
    [name] = {message.headers["message-id"] for message in client.messages()}
    left_in = []
    for headers in ({"subscription": "two"}, {}, {}):
        client.say("ACK", id=name, **headers)
        left_in.append([queue for queue in ("x", "y", "z") if server.size_of(f"/queue/{queue}")])
    assert left_in == [["x", "z"], ["z"], []]
    frames = client.ask("ACK", id=name, subscription="four")
    assert errors(frames) == [f"ACK {NOT_WAITING}"]


def test_message_ids_in_many_acks_of_one_read(server: Server) -> None:
    client = worker(server, "client-individual")
    publish(server, "abcd")
    names = [message.headers["message-id"] for message in client.messages()]
    client.send(b"".join(frame_bytes("ACK", id=name) for name in [*names[:3], names[0]]))
    assert client.received() == []
    assert server.size_of(Q) == 1


@pytest.mark.parametrize("is_ended", [False, True])
def test_a_topic_s_message_may_be_acknowledged_by_its_id(server: Server, is_ended: bool) -> None:
    client = server.client()
    client.subscribe("/topic/t", ack="client-individual", prefetch_count="1")
    server.client().publish("/topic/t", "a")
    server.client().publish("/topic/t", "b")
    name = client.message().headers["message-id"]
    if is_ended:
        client.unsubscribe()
    client.say("ACK", id=name, receipt="r")
    assert [frame.command for frame in client.received()] == (
        ["RECEIPT"] if is_ended else ["MESSAGE", "RECEIPT"]
    )


def test_the_index_of_message_ids_is_bounded(server: Server) -> None:
    client = worker(server, "client-individual", prefetch_count="3")
    publisher = server.client()
    for _ in range(3000):
        publisher.publish(Q, "a")
        client.say("ACK", id=client.message().headers["message-id"])
    index = client.session.subscriptions._message_ids
    assert index is not None
    assert len(index._places) <= 2 * index._count <= 4000
    assert not client.line.closed


def test_message_ids_are_found_without_a_search_of_all(server: Server) -> None:
    """Backwards through 500 deliveries: each is looked at once, not at every ACK."""
    client = worker(server, "client-individual")
    publish(server, ["a"] * 500)
    names = [message.headers["message-id"] for message in client.messages()]
    [subscription] = client.session.subscriptions._by_number.values()
    looks = Counted(subscription.unacked)
    subscription.unacked = looks
    for name in reversed(names):
        client.say("ACK", id=name)
    assert server.size_of(Q) == 0
    assert looks.count <= 1000


class Counted(dict[str, Any]):
    """Counts the keys that are looked at one after the other."""

    count = 0

    def __reversed__(self) -> Iterator[str]:
        for key in super().__reversed__():
            self.count += 1
            yield key


def test_two_subscriptions_have_ids_of_their_own(server: Server) -> None:
    client = server.client()
    client.subscribe(Q, "one", ack="client")
    client.subscribe(Q, "two", ack="client")
    publish(server, "ab")
    one, two = client.messages()
    client.ack(one)
    client.ack(two)
    assert server.broker.statistics.queued_count == 0


def test_the_receipt_of_an_ack_comes_after_what_it_made_room_for(server: Server) -> None:
    client = worker(server, "client", prefetch_count="1")
    publish(server, "ab")
    frames = client.ask("ACK", **client.naming(client.message()), receipt="r")
    assert [frame.command for frame in frames] == ["MESSAGE", "RECEIPT"]


def test_a_refused_ack_names_its_receipt(server: Server) -> None:
    frames = server.client().ask("ACK", id="x", receipt="r")
    assert [frame.headers.get("receipt-id") for frame in frames] == ["r"]
    assert frames[0].command == "ERROR"


# ---------------------------------------------------------------- cumulative


@pytest.mark.parametrize("version", VERSIONS)
def test_client_acknowledges_all_that_came_before(server: Server, version: Version) -> None:
    client = worker(server, "client", version)
    publish(server, "abcd")
    messages = client.messages()
    client.ack(messages[2])
    assert server.broker.statistics.queued_count == 1
    client.drop()
    assert left(server) == "d"


def test_client_is_cumulative_within_the_subscription_only(server: Server) -> None:
    client = server.client()
    client.subscribe(Q, "one", ack="client")
    client.subscribe(Q, "two", ack="client")
    publish(server, "abcd")
    messages = client.messages()
    client.ack(messages[3])
    assert server.broker.statistics.queued_count == 2
    client.drop()
    assert left(server) == "ac"


def test_client_acknowledges_what_was_left(server: Server) -> None:
    client = worker(server, "client")
    publish(server, "abcd")
    messages = client.messages()
    client.ack(messages[1])
    client.ack(messages[3])
    assert server.broker.statistics.queued_count == 0


def test_what_was_acknowledged_with_a_later_one_is_so(server: Server) -> None:
    client = worker(server, "client")
    publish(server, "ab")
    first, second = client.messages()
    client.ack(second)
    frames = client.ask("ACK", **client.naming(first), receipt="r")
    assert [frame.command for frame in frames] == ["RECEIPT"]


def test_client_gives_back_all_that_came_before(server: Server) -> None:
    client = worker(server, "client", prefetch_count="3")
    publish(server, "abcd")
    messages = client.messages()
    client.nack(messages[1])
    assert [numbers(message) for message in client.messages()] == [
        ("a", "true", "1"),
        ("b", "true", "1"),
    ]
    client.drop()
    assert left(server) == "abcd"


@pytest.mark.parametrize("version", VERSIONS)
def test_client_individual_acknowledges_one(server: Server, version: Version) -> None:
    client = worker(server, "client-individual", version)
    publish(server, "abcd")
    messages = client.messages()
    client.ack(messages[2])
    client.ack(messages[0])
    assert server.broker.statistics.queued_count == 2
    client.drop()
    assert left(server) == "bd"


# ---------------------------------------------------------------- redelivery


@pytest.mark.parametrize("headers", [{}, {"requeue": "true"}, {"requeue": "TRUE"}])
def test_a_nack_lets_somebody_else_have_the_message(
    server: Server, headers: dict[str, str]
) -> None:
    client, other = worker(server, "client-individual"), worker(server, "client-individual")
    publish(server, "a")
    client.nack(client.message(), **headers)
    assert numbers(other.message()) == ("a", "true", "1")


def test_a_first_delivery_says_nothing_of_others(server: Server) -> None:
    client = worker(server, "client")
    publish(server, "a")
    assert numbers(client.message()) == ("a", "", "")


def test_deliveries_are_counted(server: Server) -> None:
    client = worker(server, "client-individual")
    publish(server, "a")
    counts = []
    for _ in range(4):
        message = client.message()
        counts.append(numbers(message)[1:])
        client.nack(message)
    assert counts == [("", ""), ("true", "1"), ("true", "2"), ("true", "3")]


@pytest.mark.parametrize("ack", ["auto", "client", "client-individual"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_redelivery_looks_the_same_in_every_mode_and_version(
    server: Server, ack: str, version: Version
) -> None:
    worker(server, "client").drop()
    publish(server, "a", app="x")
    lost = worker(server, "client")
    message_id = lost.message().headers["message-id"]
    lost.drop()
    client = worker(server, ack, version)
    message = client.message()
    assert numbers(message) == ("a", "true", "1")
    assert message.headers["app"] == "x"
    assert message.headers["message-id"].partition("@")[0] == message_id


@pytest.mark.parametrize("text", ["", "yes", "0", "truefalse"])
def test_requeue_is_true_or_false(server: Server, text: str) -> None:
    client = worker(server, "client")
    publish(server, "a")
    frames = client.ask("NACK", **client.naming(client.message()), requeue=text)
    assert errors(frames) == ["requeue is neither true nor false"]
    assert left(server) == "a"


@pytest.mark.parametrize("how", ["drop", "DISCONNECT", "ERROR"])
def test_what_was_not_acknowledged_comes_back_when_its_consumer_goes(
    server: Server, how: str
) -> None:
    client = worker(server, "client-individual")
    publish(server, "abc")
    client.ack(client.messages()[1])
    if how == "drop":
        client.drop()
    else:
        client.say(how)
    again = worker(server, "client")
    assert [numbers(m) for m in again.messages()] == [("a", "true", "1"), ("c", "true", "1")]


def test_what_comes_back_stands_before_newer_messages(server: Server) -> None:
    client = worker(server, "client", prefetch_count="2")
    publish(server, "abcd")
    assert client.bodies() == ["a", "b"]
    publish(server, "e")
    client.drop()
    got = [numbers(message) for message in server.drain(Q)]
    assert got == [(text, "true", "1") for text in "ab"] + [(text, "", "") for text in "cde"]


def test_what_comes_back_from_several_consumers_is_in_its_original_order(server: Server) -> None:
    clients = [worker(server, "client-individual", prefetch_count="2") for _ in range(3)]
    publish(server, "abcdefgh")
    for index in (1, 0, 2):
        clients[index].stall()
    for index in (1, 0, 2):
        clients[index].drop()
    assert left(server) == "abcdefgh"


def test_what_comes_back_goes_between_what_waits(server: Server) -> None:
    first = worker(server, "client-individual", prefetch_count="2")
    second = worker(server, "client-individual", prefetch_count="2")
    publish(server, "abcdef")
    a, _c = first.messages()
    assert second.bodies() == ["b", "d"]
    first.stall()
    second.stall()
    first.nack(a)
    second.drop()
    assert left(server) == "abdef"


def test_what_two_subscriptions_of_one_session_had_comes_back_in_order(server: Server) -> None:
    lost = server.client()
    for name in ("one", "two"):
        lost.subscribe(Q, name, ack="client-individual", prefetch_count="3")
    publish(server, "abcdef")
    waiting = worker(server, "client")
    lost.drop()
    assert waiting.bodies() == ["a", "b", "c", "d", "e", "f"]


def test_what_comes_back_keeps_its_priority(server: Server) -> None:
    client = worker(server, "client")
    for text, priority in [("a", "1"), ("b", "5"), ("c", "1"), ("d", "9"), ("e", "5")]:
        publish(server, text, priority=priority)
    client.stall()
    publish(server, "f", priority="5")
    publish(server, "g", priority="0")
    client.drop()
    assert left(server) == "dbefacg"


def test_a_message_given_back_twice_keeps_its_place(server: Server) -> None:
    client = worker(server, "client-individual", prefetch_count="1")
    publish(server, "abc")
    for _ in range(3):
        client.nack(client.message())
    client.drop()
    assert left(server) == "abc"


def test_a_redelivered_message_can_be_selected(server: Server) -> None:
    lost = worker(server, "client", prefetch_count="1")
    publish(server, "ab")
    lost.drop()
    fresh = worker(server, "client", selector="NOT JMSRedelivered")
    assert fresh.bodies() == ["b"]
    again = worker(server, "client", selector="redelivered = 'true' AND x-delivery-count = 1")
    assert again.bodies() == ["a"]


# ---------------------------------------------------------------- dead letters


def test_requeue_false_sends_to_the_dead_letters(server: Server) -> None:
    client = worker(server, "client-individual")
    publish(server, "a", app="x")
    client.nack(client.message(), requeue="false")
    assert client.messages() == []
    assert server.size_of(Q) == 0
    [dead] = server.drain(DLQ)
    assert numbers(dead) == ("a", "", "")
    assert dead.headers["destination"] == DLQ
    assert dead.headers["app"] == "x"


def test_dead_letters_go_to_their_consumer_at_once(server: Server) -> None:
    watcher = server.client()
    watcher.subscribe(DLQ)
    client = worker(server, "client")
    publish(server, "abc")
    client.nack(client.messages()[1], requeue="false")
    assert watcher.bodies() == ["a", "b"]


def test_a_client_may_watch_its_own_dead_letters(server: Server) -> None:
    client = worker(server, "client")
    client.subscribe(DLQ, "dead")
    publish(server, "a")
    frames = client.ask("NACK", **client.naming(client.message()), requeue="false", receipt="r")
    assert [frame.headers.get("subscription") for frame in frames] == ["dead", None]


def test_the_operator_hears_of_dead_letters(server: Server) -> None:
    client = worker(server, "client-individual")
    publish(server, "ab")
    for message in client.messages():
        client.nack(message, requeue="false")
    notices = [(n.kind, n.destination, n.messages) for n in server.notices]
    assert notices == [("dead letter", DLQ, 1), ("dead letter", DLQ, 2)]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_message_is_tried_so_often_and_no_more(limit: int) -> None:
    for server in clean_server():
        server.limit(max_deliveries=limit)
        client = worker(server, "client-individual")
        publish(server, "a")
        for tries in range(limit):
            message = client.message()
            assert numbers(message)[2] == (str(tries) if tries else "")
            client.nack(message)
        assert client.messages() == []
        assert left(server, DLQ) == "a"


def test_a_consumer_that_goes_has_tried_its_oldest_message(server: Server) -> None:
    for _ in range(19):
        client = worker(server, "client")
        if not server.size_of(Q):
            publish(server, "a")
        client.drop()
    assert server.size_of(Q) == 1
    worker(server, "client").drop()
    assert server.size_of(Q) == 0
    assert left(server, DLQ) == "a"


@pytest.mark.parametrize("ack", ["client", "client-individual"])
def test_lost_connections_do_not_send_healthy_jobs_to_the_dead_letters(
    server: Server, ack: str
) -> None:
    """One message ends each worker that looks at it; the 50 behind it were never looked at."""
    texts = ["poison", *map(str, range(50))]
    publish(server, texts)
    for number in range(20):
        client = worker(server, ack)
        messages = client.messages()
        assert bodies(messages) == texts
        count = str(number) if number else None
        assert {message.headers.get("x-delivery-count") for message in messages} == {count}
        client.drop()
    assert bodies(server.drain(DLQ)) == ["poison"]
    healthy = server.drain(Q)
    assert bodies(healthy) == texts[1:]
    assert {numbers(message)[1:] for message in healthy} == {("true", "20")}


def test_the_oldest_message_of_each_subscription_counts() -> None:
    for server in clean_server():
        server.limit(max_deliveries=1)
        client = server.client()
        client.subscribe(Q, "one", ack="client-individual", prefetch_count="2")
        client.subscribe("/queue/b", "two", ack="client-individual")
        client.subscribe("/queue/b", "three", ack="client-individual")
        publish(server, "abc")
        for text in "wxyz":
            server.client().publish("/queue/b", text)
        for message in client.messages():
            if message.body in b"aw":
                client.ack(message)
        client.unsubscribe("one")
        client.drop()
        assert left(server, DLQ) == "b"
        assert left(server) == "c"
        assert left(server, "/queue/DLQ.b") == "xy"
        assert left(server, "/queue/b") == "z"


def test_who_disconnects_or_unsubscribes_has_not_failed() -> None:
    for server in clean_server():
        server.limit(max_deliveries=1)
        publish(server, "ab")
        for number in range(5):
            client = worker(server, "client")
            expected = ("true", str(number)) if number else ("", "")
            assert [numbers(message)[1:] for message in client.messages()] == [expected] * 2
            if number % 2:
                client.unsubscribe()
            client.say("DISCONNECT")
        assert left(server) == "ab"


def test_what_an_open_transaction_had_may_be_the_oldest() -> None:
    for server in clean_server():
        server.limit(max_deliveries=1)
        client = worker(server, "client-individual")
        publish(server, "abc")
        client.say("BEGIN", transaction="t")
        client.ack(client.messages()[0], transaction="t")
        client.drop()
        assert left(server, DLQ) == "a"
        assert left(server) == "bc"


def test_a_rejection_counts_for_all_that_it_rejects() -> None:
    for server in clean_server():
        server.limit(max_deliveries=2)
        client = worker(server, "client", prefetch_count="3")
        publish(server, "abc")
        client.nack(client.messages()[1])
        client.nack(client.messages()[1])
        assert left(server, DLQ) == "ab"


def test_a_worker_that_acknowledges_twice_loses_nothing(server: Server) -> None:
    publish(server, map(str, range(100)))
    client = worker(server, "client-individual", prefetch_count="80")
    done: list[str] = []
    while messages := client.messages():
        for message in messages:
            done.append(message.body.decode())
            client.ack(message)
            client.ack(message)
    assert done == [str(number) for number in range(100)]
    assert server.broker.statistics.queue_count == 1
    assert server.notices == []


def test_with_0_tries_is_no_limit() -> None:
    for server in clean_server():
        server.limit(max_deliveries=0)
        client = worker(server, "client")
        publish(server, "a")
        for _ in range(50):
            client.nack(client.message())
        assert numbers(client.message()) == ("a", "true", "50")


def test_only_those_tried_too_often_go() -> None:
    """The others stand where they stood."""
    for server in clean_server():
        server.limit(max_deliveries=2)
        client = worker(server, "client", prefetch_count="2")
        publish(server, "ab")
        first, second = client.messages()
        client.ack(first)
        client.nack(second)
        publish(server, "cd")
        assert client.bodies() == ["b", "c"]
        client.drop()
        assert left(server, DLQ) == "b"
        assert left(server) == "cd"


def test_dead_letters_are_in_their_original_order() -> None:
    for server in clean_server():
        server.limit(max_deliveries=1)
        client = server.client()
        for name in ("one", "two", "three"):
            client.subscribe(Q, name, ack="client")
        publish(server, "abcd")
        client.drop()
        assert left(server, DLQ) == "abc"
        assert left(server) == "d"


def test_dead_letters_stay_however_often_they_are_tried() -> None:
    for server in clean_server():
        server.limit(max_deliveries=1)
        publisher, client = server.client(), server.client()
        publisher.publish(DLQ, "a")
        client.subscribe(DLQ, ack="client")
        for _ in range(5):
            client.nack(client.message())
        assert numbers(client.message()) == ("a", "true", "5")
        client.drop()
        assert left(server, DLQ) == "a"
        assert server.broker.statistics.queue_count == 0


def test_who_refuses_a_dead_letter_for_good_is_rid_of_it(server: Server) -> None:
    publisher, client = server.client(), server.client()
    publisher.publish(DLQ, "a")
    client.subscribe(DLQ, ack="client")
    client.nack(client.message(), requeue="false")
    client.drop()
    assert server.broker.statistics.queued_count == server.broker.statistics.queue_count == 0


def reject(server: Server, client: Client, texts: str, **headers: str) -> None:
    for text in texts:
        publish(server, text, **headers)
        client.nack(client.message(), requeue="false")
        assert not client.is_waiting


def test_a_full_queue_of_dead_letters_loses_the_oldest() -> None:
    """Rejecting a message never waits for a full queue; publishers of that queue do."""
    for server in clean_server():
        server.limit(max_queue_messages=2)
        client = worker(server, "client-individual")
        reject(server, client, "a", priority="9")
        reject(server, client, "bcd")
        assert server.size_of(DLQ) == 2
        publisher = server.client()
        publisher.publish(DLQ, "e")
        assert publisher.is_waiting
        publisher.drop()
        assert left(server, DLQ) == "cd"
        assert server.broker.dead_letters.dropped == 2


def test_dead_letters_are_limited_in_bytes_as_well() -> None:
    for server in clean_server():
        server.limit(max_queue_bytes=2000)
        client = worker(server, "client-individual")
        reject(server, client, "abcdefgh")
        assert server.broker.queues[DLQ].bytes <= 2000 + 1000
        left_over = left(server, DLQ)
        assert left_over == "abcdefgh"[-len(left_over) :]


def test_dead_letters_that_a_consumer_has_are_not_lost() -> None:
    """Then the queue holds twice as many, and from there on the new ones go."""
    for server in clean_server():
        server.limit(max_queue_messages=2)
        client, clerk = worker(server, "client-individual"), server.client()
        clerk.subscribe(DLQ, "dead", ack="client-individual", prefetch_count="10")
        reject(server, client, "abcdef")
        assert clerk.bodies() == ["a", "b", "c", "d"]
        assert server.size_of(DLQ) == 4
        assert server.broker.dead_letters.dropped == 2
        clerk.drop()
        assert left(server, DLQ) == "abcd"


def test_a_dead_letter_does_not_expire(server: Server) -> None:
    client = worker(server, "client-individual")
    publish(server, "a", expiration="1000", app="x")
    message = client.message()
    server.advance(5)
    client.nack(message, requeue="false")
    server.expire()
    [dead] = server.drain(DLQ)
    assert dead.body == b"a"
    assert "expires" not in dead.headers
    assert "expiration" not in dead.headers
    assert dead.headers["app"] == "x"


# ---------------------------------------------------------------- topics


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("ack", ["client", "client-individual"])
def test_a_topic_accepts_acknowledgements(server: Server, version: Version, ack: str) -> None:
    client = server.client(version)
    client.subscribe("/topic/t", ack=ack)
    for text in "ab":
        server.client().publish("/topic/t", text)
    first, second = client.messages()
    client.ack(first)
    client.ack(second)
    assert client.received() == []
    assert not client.line.closed


def test_acknowledgements_of_a_topic_drive_prefetch(server: Server) -> None:
    client = server.client()
    client.subscribe("/topic/t", ack="client", prefetch_count="1")
    publisher = server.client()
    for text in "abc":
        publisher.publish("/topic/t", text)
    got = []
    for _ in range(3):
        message = client.message()
        got.append(message.body)
        client.ack(message)
    assert got == [b"a", b"b", b"c"]
    assert server.waiting_bytes == 0


@pytest.mark.parametrize("requeue", ["true", "false"])
def test_a_topic_redelivers_nothing(server: Server, requeue: str) -> None:
    client = server.client()
    client.subscribe("/topic/t", ack="client", prefetch_count="1")
    publisher = server.client()
    publisher.publish("/topic/t", "a")
    publisher.publish("/topic/t", "b")
    client.nack(client.message(), requeue=requeue)
    message = client.message()
    assert numbers(message) == ("b", "", "")
    client.unsubscribe()
    client.subscribe("/topic/t", ack="client")
    assert client.messages() == []
    assert server.broker.statistics.queue_count == 0


def test_a_topic_s_message_is_acknowledged_once(server: Server) -> None:
    client = server.client()
    client.subscribe("/topic/t", ack="client")
    server.client().publish("/topic/t", "a")
    message = client.message()
    client.ack(message)
    frames = client.ask("ACK", **client.naming(message), receipt="r")
    assert [frame.command for frame in frames] == ["RECEIPT"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("command", ["ACK", "NACK"])
def test_a_topic_s_message_may_be_acknowledged_after_unsubscribe(
    server: Server, version: Version, command: str
) -> None:
    client = server.client(version)
    client.subscribe("/topic/t", ack="client-individual")
    server.client().publish("/topic/t", "a")
    message = client.message()
    client.unsubscribe()
    assert len(client.session.subscriptions._by_number) == 0, "nothing can come back"
    frames = client.ask(command, **client.naming(message), receipt="r")
    assert [frame.command for frame in frames] == ["RECEIPT"]
    wrong = {key: f"{value}9" for key, value in client.naming(message).items()}
    assert errors(client.ask(command, **wrong)) == [f"{command} {NOT_WAITING}"]


def test_a_topic_s_last_acknowledgement_may_come_with_the_end(server: Server) -> None:
    client = server.client()
    client.subscribe("/topic/t", ack="client")
    server.client().publish("/topic/t", "a")
    message = client.message()
    client.say("BEGIN", transaction="t")
    client.ack(message, transaction="t")
    client.unsubscribe()
    assert client.ask("COMMIT", transaction="t", receipt="r")[0].command == "RECEIPT"


# ---------------------------------------------------------------- many ACKs in one read


class _Counted(list[str]):
    """A list that counts the items that are copied by slices of it."""

    copied = 0

    def __getitem__(self, index: Any) -> Any:
        item = super().__getitem__(index)
        if not isinstance(index, slice):
            return item
        _Counted.copied += len(item)
        return _Counted(item)


@pytest.mark.parametrize("is_new", [True, False])
def test_the_cost_of_a_long_run_of_acks_is_linear(server: Server, is_new: bool) -> None:
    """A compressed WebSocket message can hold hundreds of thousands of them."""
    client = server.client()
    for name in "ab":
        client.subscribe(f"/queue/{name}", name, ack="client-individual", prefetch_count="0")
    for _ in range(3000):
        client.publish("/queue/a,/queue/b", "x")
    # In turn for two subscriptions, so that each stands alone.
    ids = [message.headers["ack"] for message in client.messages()]
    if not is_new:
        acknowledge_run(ids, client.session.subscriptions)
    _Counted.copied = 0
    acknowledge_run(_Counted(ids), client.session.subscriptions)
    assert _Counted.copied < 200 * len(ids)
    client.drop()
    assert left(server) == left(server, "/queue/b") == ""
