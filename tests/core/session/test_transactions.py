"""Transactions: nothing before COMMIT, everything in order then, nothing at all after ABORT."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from support.core import Client, Server, bodies, clean_server, errors, message_size
from support.stomp import frame_bytes

from rtchat.core.broker.subscription import Entry, Subscription
from rtchat.core.session.connection import CloseReason
from rtchat.core.stomp.frames import Frame, Version

Q = "/queue/a"
DLQ = "/queue/DLQ.a"


@pytest.fixture
def server() -> Iterator[Server]:
    yield from clean_server()


@pytest.fixture
def client(server: Server) -> Client:
    return begun(server.client())


def begun(client: Client, name: str = "t") -> Client:
    client.say("BEGIN", transaction=name)
    return client


def end(client: Client, command: str, name: str = "t") -> None:
    client.say(command, transaction=name)
    assert not client.line.closed, client.received()


def worker(
    server: Server, texts: str = "", ack: str = "client-individual", **headers: str
) -> Client:
    """Return a consumer to whom these messages were delivered, with a transaction begun."""
    client = begun(server.client())
    client.subscribe(Q, ack=ack, **headers)
    for text in texts:
        server.client().publish(Q, text)
    return client


def left(server: Server, queue: str = Q) -> str:
    return "".join(bodies(server.drain(queue)))


# ---------------------------------------------------------------- SEND


@pytest.mark.parametrize("version", list(Version))
def test_a_message_is_sent_at_commit(server: Server, version: Version) -> None:
    client = begun(server.client(version))
    client.publish(Q, "a", transaction="t")
    assert server.broker.statistics.queue_count == 0
    end(client, "COMMIT")
    assert left(server) == "a"


def test_nobody_sees_a_message_before_commit(server: Server, client: Client) -> None:
    listener = server.client()
    listener.subscribe(Q, "q")
    listener.subscribe("/topic/t", "t")
    client.publish(Q, "a", transaction="t")
    client.publish("/topic/t", "b", transaction="t")
    assert listener.bodies() == []
    end(client, "COMMIT")
    assert listener.bodies() == ["a", "b"]


def test_messages_are_sent_in_order_at_commit(server: Server, client: Client) -> None:
    for text in "abc":
        client.publish(Q, text, transaction="t")
    client.publish(Q, "-")
    end(client, "COMMIT")
    assert left(server) == "-abc"


def test_a_transaction_without_name_is_unknown(server: Server, client: Client) -> None:
    frames = client.ask("SEND", destination=Q, transaction="")
    assert errors(frames) == ["no such transaction"]
    assert server.broker.statistics.queue_count == 0


def test_an_aborted_message_is_never_sent(server: Server, client: Client) -> None:
    client.publish(Q, "a", transaction="t")
    end(client, "ABORT")
    assert server.broker.statistics.queue_count == 0
    assert server.broker.publishing.message_count == 0
    assert server.broker.budget.used == 0


@pytest.mark.parametrize("how", ["drop", "DISCONNECT", "NONSENSE"])
def test_what_is_not_committed_is_gone_with_the_connection(
    server: Server, client: Client, how: str
) -> None:
    begun(client, "u")
    client.publish(Q, "a", transaction="t")
    client.publish(Q, "b", transaction="u")
    if how == "drop":
        client.drop()
    else:
        client.say(how)
    assert server.broker.statistics.queue_count == 0
    assert server.broker.budget.used == 0


def test_a_message_s_headers_say_nothing_of_the_transaction(server: Server, client: Client) -> None:
    client.publish(Q, "a", transaction="t", app="x")
    end(client, "COMMIT")
    [message] = server.drain(Q)
    assert "transaction" not in message.headers
    assert message.headers["app"] == "x"


def test_a_message_that_waits_for_commit_counts_in_the_budget(
    server: Server, client: Client
) -> None:
    client.publish(Q, "12345", transaction="t")
    headers = {"destination": Q, "content-length": "5", "transaction": "t"}
    size = message_size(headers, b"12345")
    assert server.broker.budget.used == size
    end(client, "COMMIT")
    assert (server.waiting_bytes, server.broker.budget.held) == (size, 0)


def test_a_large_message_may_wait_for_commit(server: Server, client: Client) -> None:
    client.publish(Q, b"x" * 1_000_000, transaction="t")
    end(client, "COMMIT")
    [message] = server.drain(Q)
    assert message.body == b"x" * 1_000_000


@pytest.mark.parametrize(
    "destination, error",
    [
        ("/queue/", "destination without a name"),
        ("/queue/b,/queue/", "destination without a name"),
        ("/queue/b,,", "an empty destination"),
        ("/temp-queue/x", "no such temporary queue"),
        ("/pubsub/none", "no such pubsub destination"),
    ],
)
def test_a_destination_is_checked_before_commit(
    server: Server, client: Client, destination: str, error: str
) -> None:
    client.publish(Q, "a", transaction="t")
    frames = client.ask("SEND", destination=destination, transaction="t")
    assert errors(frames) == [error]
    assert server.broker.statistics.queue_count == 0


def test_the_time_to_live_is_checked_before_commit(server: Server) -> None:
    """At COMMIT it would be too late: a part of the transaction would have taken effect."""
    client = worker(server, "a")
    client.ack(client.message(), transaction="t")
    client.publish("/queue/b", "b", transaction="t")
    frames = client.ask("SEND", destination=Q, expiration="soon", transaction="t")
    assert errors(frames) == ["expiration is not a number"]
    assert server.size_of("/queue/b") == 0
    assert left(server) == "a"


def test_the_time_to_live_begins_at_commit(server: Server, client: Client) -> None:
    client.publish(Q, "a", transaction="t", expiration="1000")
    server.advance(5)
    end(client, "COMMIT")
    [message] = server.drain(Q)
    assert message.headers["expires"] == str(int((server.broker.now + 1) * 1000))


def test_a_message_may_expire_before_commit(server: Server, client: Client) -> None:
    client.publish(Q, "a", transaction="t", expires=str(int((server.broker.now + 1) * 1000)))
    server.advance(5)
    end(client, "COMMIT")
    assert server.broker.statistics.queue_count == 0


# ---------------------------------------------------------------- ACK and NACK


@pytest.mark.parametrize("version", list(Version))
def test_an_ack_takes_effect_at_commit(server: Server, version: Version) -> None:
    client = begun(server.client(version))
    client.subscribe(Q, ack="client")
    server.client().publish(Q, "a")
    client.ack(client.message(), transaction="t")
    assert server.broker.statistics.queued_count == 1
    end(client, "COMMIT")
    assert server.broker.statistics.queued_count == 0


def test_an_acknowledged_message_comes_back_to_others_when_it_is_not_committed(
    server: Server,
) -> None:
    client = worker(server, "abc")
    a, b, _c = client.messages()
    client.ack(b, transaction="t")
    client.ack(a, transaction="t")
    client.drop()
    assert [
        (message.body, message.headers["redelivered"], message.headers["x-delivery-count"])
        for message in server.drain(Q)
    ] == [(b"a", "true", "1"), (b"b", "true", "1"), (b"c", "true", "1")]


def test_what_a_lost_session_had_comes_back_in_order(server: Server) -> None:
    """In two transactions, in none, and of two subscriptions."""
    client = worker(server)
    begun(client, "u")
    client.subscribe(Q, "1", ack="client-individual")
    for text in "abcdef":
        server.client().publish(Q, text)
    messages = client.messages()
    client.ack(messages[4], transaction="t")
    client.ack(messages[1], transaction="u")
    client.nack(messages[3], transaction="t")
    waiting = server.client()
    waiting.subscribe(Q, ack="client")
    client.drop()
    assert waiting.bodies() == ["a", "b", "c", "d", "e", "f"]


def test_after_abort_a_message_still_waits_for_its_ack(server: Server) -> None:
    client = worker(server, "a")
    message = client.message()
    client.ack(message, transaction="t")
    end(client, "ABORT")
    assert client.messages() == []
    assert server.broker.statistics.queued_count == 1
    client.ack(message)
    assert server.broker.statistics.queued_count == 0


def test_after_abort_cumulative_acks_mean_the_same_as_before(server: Server) -> None:
    client = worker(server, "abcd", ack="client")
    messages = client.messages()
    client.ack(messages[1], transaction="t")
    end(client, "ABORT")
    client.ack(messages[2])
    assert server.broker.statistics.queued_count == 1
    client.drop()
    assert left(server) == "d"


def test_a_nack_takes_effect_at_commit(server: Server) -> None:
    client = worker(server, "a")
    client.nack(client.message(), transaction="t")
    assert client.messages() == []
    end(client, "COMMIT")
    assert client.message().headers["redelivered"] == "true"


def test_a_nack_without_requeue_takes_effect_at_commit(server: Server) -> None:
    client = worker(server, "a")
    client.nack(client.message(), transaction="t", requeue="false")
    assert server.size_of(DLQ) == 0
    end(client, "COMMIT")
    assert server.size_of(Q) == 0
    assert left(server, DLQ) == "a"


def test_an_aborted_nack_gives_nothing_back(server: Server) -> None:
    client = worker(server, "a")
    other = server.client()
    other.subscribe(Q)
    message = client.message()
    client.nack(message, transaction="t")
    end(client, "ABORT")
    assert other.messages() == []
    client.ack(message)
    assert server.broker.statistics.queued_count == 0


def test_sends_acks_and_nacks_take_effect_in_order(server: Server) -> None:
    client = worker(server, "ab")
    a, b = client.messages()
    watcher = server.client()
    watcher.subscribe("/queue/b", "b")
    watcher.subscribe(DLQ, "dead")
    client.publish("/queue/b", "1", transaction="t")
    client.nack(a, transaction="t", requeue="false")
    client.publish("/queue/b", "2", transaction="t")
    client.nack(b, transaction="t", requeue="false")
    end(client, "COMMIT")
    assert watcher.bodies() == ["1", "a", "2", "b"]


def test_what_is_sent_before_an_ack_cannot_use_its_credit(server: Server) -> None:
    client = worker(server, "a", prefetch_count="1")
    client.publish(Q, "b", transaction="t")
    client.ack(client.message(), transaction="t")
    end(client, "COMMIT")
    assert client.bodies() == ["b"]


@pytest.mark.parametrize("prefetch", ["1", "2"])
def test_an_ack_makes_room_for_more_at_commit_only(server: Server, prefetch: str) -> None:
    client = worker(server, "abcd", prefetch_count=prefetch)
    for message in client.messages():
        client.ack(message, transaction="t")
    assert client.messages() == []
    end(client, "COMMIT")
    assert len(client.messages()) == int(prefetch)


def test_an_aborted_ack_makes_no_room(server: Server) -> None:
    client = worker(server, "ab", prefetch_count="1")
    message = client.message()
    client.ack(message, transaction="t")
    end(client, "ABORT")
    assert client.messages() == []
    client.ack(message)
    assert client.bodies() == ["b"]


@pytest.mark.parametrize("ack", ["client", "client-individual"])
@pytest.mark.parametrize("first", ["ACK", "NACK"])
@pytest.mark.parametrize("second", ["ACK", "NACK"])
@pytest.mark.parametrize("within", [True, False])
def test_a_message_is_acknowledged_once_within_a_transaction_too(
    server: Server, ack: str, first: str, second: str, within: bool
) -> None:
    client = worker(server, "a", ack=ack)
    naming = client.naming(client.message())
    client.say(first, **naming, transaction="t")
    again = {"transaction": "t"} if within else {}
    frames = client.ask(second, **naming, **again, receipt="r")
    assert [frame.command for frame in frames] == ["RECEIPT"]
    assert left(server) == ""
    end(client, "COMMIT")
    client.unsubscribe()
    client.drop()
    assert left(server) == ("" if first == "ACK" else "a")


def test_a_message_is_acknowledged_in_one_of_two_transactions(server: Server) -> None:
    client = worker(server, "a")
    begun(client, "u")
    message = client.message()
    client.ack(message, transaction="t")
    client.nack(message, transaction="u")
    end(client, "COMMIT", "u")
    assert client.messages() == []
    end(client, "COMMIT")
    assert server.size_of(Q) == 0


def test_a_wrong_ack_ends_the_session_and_its_transaction(server: Server) -> None:
    client = worker(server, "a")
    client.publish("/queue/b", "b", transaction="t")
    client.ack(client.message(), transaction="t")
    assert len(errors(client.ask("ACK", id="x", transaction="t"))) == 1
    assert server.size_of("/queue/b") == 0
    assert left(server) == "a"


# ---------------------------------------------------------------- subscriptions that end


def test_an_ack_is_committed_after_its_subscription_has_ended(server: Server) -> None:
    client = worker(server, "ab")
    a, _b = client.messages()
    client.ack(a, transaction="t")
    client.unsubscribe()
    assert server.broker.statistics.queued_count == 2
    end(client, "COMMIT")
    assert left(server) == ""
    client.drop()
    assert left(server) == "b"


def test_an_ack_is_aborted_after_its_subscription_has_ended(server: Server) -> None:
    client = worker(server, "abc")
    a, _b, c = client.messages()
    client.ack(c, transaction="t")
    client.ack(a, transaction="t")
    client.unsubscribe()
    other = server.client()
    other.subscribe(Q)
    end(client, "ABORT")
    assert other.bodies() == []
    client.ack(c)
    assert server.size_of(Q) == 2
    client.drop()
    assert other.bodies() == ["a", "b"]


def test_an_ack_of_an_ended_subscription_is_gone_with_the_connection(server: Server) -> None:
    client = worker(server, "a")
    client.ack(client.message(), transaction="t")
    client.unsubscribe()
    client.drop()
    assert left(server) == "a"


def test_a_nack_is_committed_after_its_subscription_has_ended(server: Server) -> None:
    client = worker(server, "a")
    client.nack(client.message(), transaction="t")
    client.unsubscribe()
    end(client, "COMMIT")
    assert left(server) == "a"


def test_a_new_subscription_of_the_same_id_is_another_one(server: Server) -> None:
    client = worker(server, "a")
    message = client.message()
    client.ack(message, transaction="t")
    client.unsubscribe()
    client.subscribe(Q, ack="client-individual")
    end(client, "ABORT")
    assert client.messages() == []
    client.nack(message)
    again = client.message()
    assert again.headers["redelivered"] == "true"
    assert again.headers["ack"] != message.headers["ack"]
    client.ack(again)
    assert server.broker.statistics.queued_count == 0


def test_a_topic_s_ack_may_be_committed_and_aborted(server: Server) -> None:
    client = begun(server.client())
    begun(client, "u")
    client.subscribe("/topic/t", ack="client-individual", prefetch_count="2")
    publisher = server.client()
    for text in "abcd":
        publisher.publish("/topic/t", text)
    a, b = client.messages()
    client.ack(a, transaction="t")
    client.nack(b, transaction="u")
    end(client, "ABORT", "u")
    assert client.messages() == []
    end(client, "COMMIT")
    assert client.bodies() == ["c"]


# ---------------------------------------------------------------- names


def test_a_transaction_is_begun_once(client: Client) -> None:
    assert errors(client.ask("BEGIN", transaction="t")) == ["transaction begun twice"]


@pytest.mark.parametrize("command", ["COMMIT", "ABORT"])
def test_a_name_is_free_again_when_its_transaction_has_ended(
    server: Server, client: Client, command: str
) -> None:
    client.publish(Q, "a", transaction="t")
    end(client, command)
    begun(client)
    client.publish(Q, "b", transaction="t")
    end(client, "COMMIT")
    assert left(server) == ("ab" if command == "COMMIT" else "b")


@pytest.mark.parametrize("command", ["COMMIT", "ABORT"])
def test_only_an_open_transaction_can_end(client: Client, command: str) -> None:
    assert errors(client.ask(command, transaction="u")) == ["no such transaction"]


@pytest.mark.parametrize("command", ["COMMIT", "ABORT"])
@pytest.mark.parametrize("last", ["COMMIT", "ABORT"])
def test_a_transaction_ends_once(client: Client, command: str, last: str) -> None:
    end(client, command)
    assert errors(client.ask(last, transaction="t")) == ["no such transaction"]


@pytest.mark.parametrize("command", ["BEGIN", "COMMIT", "ABORT"])
@pytest.mark.parametrize("headers", [{}, {"transaction": ""}])
def test_a_transaction_has_a_name(client: Client, command: str, headers: dict[str, str]) -> None:
    assert errors(client.ask(command, **headers)) == [f"{command} without transaction"]


def test_a_message_in_an_unknown_transaction_is_refused(server: Server, client: Client) -> None:
    frames = client.ask("SEND", "a", destination=Q, transaction="u")
    assert errors(frames) == ["no such transaction"]
    assert server.broker.statistics.queue_count == 0


@pytest.mark.parametrize("command", ["ACK", "NACK"])
def test_an_ack_in_an_unknown_transaction_is_refused(server: Server, command: str) -> None:
    client = worker(server, "a")
    naming = client.naming(client.message())
    assert errors(client.ask(command, **naming, transaction="u")) == ["no such transaction"]
    assert left(server) == "a"


def test_two_sessions_may_use_the_same_name(server: Server) -> None:
    one, two = begun(server.client()), begun(server.client())
    one.publish(Q, "one", transaction="t")
    two.publish(Q, "two", transaction="t")
    end(two, "COMMIT")
    end(one, "ABORT")
    assert left(server) == "two"


def test_nobody_commits_for_another_session(server: Server, client: Client) -> None:
    other = server.client()
    assert errors(other.ask("COMMIT", transaction="t")) == ["no such transaction"]
    end(client, "COMMIT")


def test_transactions_may_overlap(server: Server, client: Client) -> None:
    begun(client, "u")
    for text, name in [("a", "t"), ("b", "u"), ("c", "t"), ("d", "u")]:
        client.publish(Q, text, transaction=name)
    end(client, "COMMIT", "u")
    assert left(server) == "bd"
    end(client, "COMMIT")
    assert left(server) == "ac"


def test_one_of_two_transactions_may_be_aborted(server: Server) -> None:
    client = worker(server, "abcd")
    begun(client, "u")
    for message, name in zip(client.messages(), "tutu", strict=True):
        client.ack(message, transaction=name)
    end(client, "ABORT")
    end(client, "COMMIT", "u")
    client.drop()
    assert left(server) == "ac"


def test_an_empty_transaction_can_end(client: Client) -> None:
    end(client, "COMMIT")
    begun(client)
    end(client, "ABORT")


# ---------------------------------------------------------------- receipts


def test_every_frame_of_a_transaction_gets_its_receipt(server: Server) -> None:
    client = worker(server, "a")
    message = client.message()
    client.say("BEGIN", transaction="u", receipt="begin")
    client.publish(Q, "x", transaction="u", receipt="send")
    client.ack(message, transaction="u", receipt="ack")
    assert client.receipts() == ["begin", "send", "ack"]
    client.say("COMMIT", transaction="u", receipt="commit")
    frames = client.received()
    assert [frame.command for frame in frames] == ["MESSAGE", "RECEIPT"]
    client.say("ABORT", transaction="t", receipt="abort")
    assert client.receipts() == ["abort"]


def test_the_receipt_of_a_commit_comes_after_its_effect(server: Server, client: Client) -> None:
    client.subscribe("/topic/t")
    for text in "ab":
        client.publish("/topic/t", text, transaction="t")
    assert client.received() == []
    frames = client.ask("COMMIT", transaction="t", receipt="r")
    assert [frame.command for frame in frames] == ["MESSAGE", "MESSAGE", "RECEIPT"]


def test_the_receipt_of_a_commit_names_the_commit(server: Server, client: Client) -> None:
    client.publish(Q, "a", transaction="t")
    frames = client.ask("COMMIT", transaction="t", receipt="r")
    assert frames == [Frame("RECEIPT", {"receipt-id": "r"})]


# ---------------------------------------------------------------- limits


@pytest.mark.parametrize("count, fits", [(15, True), (16, True), (17, False)])
def test_16_transactions_may_be_open(server: Server, count: int, fits: bool) -> None:
    client = server.client()
    client.send(b"".join(frame_bytes("BEGIN", transaction=str(n)) for n in range(count)))
    assert errors(client.received()) == ([] if fits else ["more than 16 transactions open"])
    assert client.close_reason is (None if fits else CloseReason.LIMIT)


def test_ended_transactions_do_not_count(server: Server) -> None:
    client = server.client(max_transactions=1)
    for command in ("COMMIT", "ABORT", "COMMIT"):
        begun(client)
        end(client, command)


@pytest.mark.parametrize("count, fits", [(1023, True), (1024, True), (1025, False)])
def test_a_transaction_may_have_1024_actions(server: Server, count: int, fits: bool) -> None:
    client = begun(server.client())
    send = frame_bytes("SEND", destination=Q, transaction="t")
    client.send(send * count + frame_bytes("COMMIT", transaction="t"))
    assert errors(client.received()) == (
        [] if fits else ["more than 1024 actions in a transaction"]
    )
    assert server.size_of(Q) == (count if fits else 0)
    assert client.close_reason is (None if fits else CloseReason.LIMIT)


@pytest.mark.parametrize("command", ["ACK", "NACK", "SEND"])
def test_every_action_counts(server: Server, command: str) -> None:
    client = begun(server.client(max_transaction_actions=2))
    client.subscribe(Q, ack="client-individual")
    for text in "abc":
        server.client().publish(Q, text)
    a, b, c = client.messages()
    client.ack(a, transaction="t")
    client.nack(b, transaction="t")
    naming = client.naming(c) if command != "SEND" else {"destination": Q}
    frames = client.ask(command, **naming, transaction="t")
    assert errors(frames) == ["more than 2 actions in a transaction"]
    assert left(server) == "abc"


def test_every_transaction_has_its_own_number_of_actions(server: Server) -> None:
    client = begun(begun(server.client(max_transaction_actions=1)), "u")
    client.publish(Q, "a", transaction="t")
    client.publish(Q, "b", transaction="u")
    end(client, "COMMIT")
    end(client, "COMMIT", "u")
    assert left(server) == "ab"


@pytest.mark.parametrize("is_abort", [True, False])
def test_what_is_undone_is_put_back_at_once(
    server: Server, monkeypatch: pytest.MonkeyPatch, is_abort: bool
) -> None:
    """Putting back sorts all that a subscription has: a thousand times would take long."""
    client = worker(server, "abcdef", prefetch_count="0")
    for job in reversed(client.messages()[1:]):
        client.ack(job, transaction="t")
    calls = []
    put_back = Subscription.put_back

    def counted(self: Subscription, deliveries: Sequence[tuple[str, Entry]]) -> None:
        calls.append(len(deliveries))
        put_back(self, deliveries)

    monkeypatch.setattr(Subscription, "put_back", counted)
    if is_abort:
        end(client, "ABORT")
    client.drop()
    assert calls == [5]
    assert left(server) == "abcdef"


def test_only_the_turn_of_a_commit_is_indivisible(server: Server, client: Client) -> None:
    client.publish(Q, "a", transaction="t")
    end(client, "COMMIT")  # no output, not even a RECEIPT
    assert not server.broker.cork.indivisible_bytes
    assert not server.broker.cork.flushed
    assert left(server) == "a"
