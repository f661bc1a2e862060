"""ACK and NACK in every mode and version: what they name, and what that ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.core import Server, clean_server, errors
from support.workers import (
    NOT_WAITING,
    V10,
    V11,
    V12,
    VERSIONS,
    Q,
    left,
    numbers,
    publish,
    worker,
)

from rtchat.core.session.acks import acknowledge_run
from rtchat.core.stomp.frames import Version


@pytest.fixture
def server() -> Iterator[Server]:
    yield from clean_server()


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
