"""Queues: who gets a message, in which order, and when a queue comes and goes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.core import Client, Server, bodies, clean_server, errors, message_size
from support.stomp import frame_bytes

from rtchat.core.broker.selection import selects
from rtchat.core.selector.selector import Selector
from rtchat.core.stomp.frames import Version

Q = "/queue/a"


@pytest.fixture
def server() -> Iterator[Server]:
    yield from clean_server()


def consumers(server: Server, count: int, **headers: str) -> list[Client]:
    clients = [server.client() for _ in range(count)]
    for client in clients:
        client.subscribe(Q, **headers)
    return clients


def publish(server: Server, *texts: str, **headers: str) -> None:
    publisher = server.client()
    for text in texts:
        publisher.publish(Q, text, **headers)
    publisher.drop()


# ---------------------------------------------------------------- one receiver


def test_a_message_goes_to_one_consumer_only(server: Server) -> None:
    workers = consumers(server, 3)
    publish(server, "job")
    assert sorted(worker.bodies() for worker in workers) == [[], [], ["job"]]


def test_consumers_take_turns(server: Server) -> None:
    workers = consumers(server, 3)
    publish(server, *"abcdef")
    assert [worker.bodies() for worker in workers] == [["a", "d"], ["b", "e"], ["c", "f"]]


def test_subscriptions_of_one_session_take_turns_as_well(server: Server) -> None:
    worker = server.client()
    worker.subscribe(Q, "one")
    worker.subscribe(Q, "two")
    publish(server, *"abcd")
    got = [(frame.headers["subscription"], frame.body) for frame in worker.messages()]
    assert got == [("one", b"a"), ("two", b"b"), ("one", b"c"), ("two", b"d")]


def test_turns_go_on_where_they_stopped(server: Server) -> None:
    first, second = consumers(server, 2)
    publish(server, "a")
    publish(server, "b")
    assert (first.bodies(), second.bodies()) == (["a"], ["b"])


def test_what_waits_is_shared_out_in_turns(server: Server) -> None:
    workers = consumers(server, 3)
    publish(server, "x")
    workers[0].messages()
    for worker in workers:
        worker.stall()
    publish(server, *"abcdef")
    for worker in workers:
        worker.outbound.waiting_bytes = 0
    workers[0].read_on()
    assert [worker.bodies() for worker in workers] == [["c", "f"], ["a", "d"], ["b", "e"]]


def test_a_publisher_may_be_its_own_consumer(server: Server) -> None:
    client = server.client()
    client.subscribe(Q)
    client.publish(Q, "mine")
    assert client.bodies() == ["mine"]


def test_queues_do_not_mix(server: Server) -> None:
    other = server.client()
    other.subscribe("/queue/ab")
    publish(server, "job")
    assert other.bodies() == []


def test_a_message_says_where_it_was_sent(server: Server) -> None:
    [worker] = consumers(server, 1)
    publish(server, "job", content_type="text/plain", app="x")
    assert worker.message().headers == {
        "subscription": "0",
        "message-id": "run-1",
        "destination": Q,
        "content-length": "3",
        "content-type": "text/plain",
        "app": "x",
    }


@pytest.mark.parametrize("name", ["/queue/", "/topic/x,/queue/"])
def test_a_queue_needs_a_name_to_be_sent_to(server: Server, name: str) -> None:
    frames = server.client().ask("SEND", destination=name)
    assert errors(frames) == ["destination without a name"]


def test_a_queue_needs_a_name_to_be_subscribed_to(server: Server) -> None:
    frames = server.client().ask("SUBSCRIBE", id="0", destination="/queue/")
    assert errors(frames) == ["destination without a name"]


def test_wildcards_in_a_queue_s_name_are_letters(server: Server) -> None:
    worker = server.client()
    worker.subscribe("/queue/*")
    publish(server, "job")
    assert worker.bodies() == []
    server.client().publish("/queue/*", "star")
    assert worker.bodies() == ["star"]


# ---------------------------------------------------------------- without consumers


def test_messages_wait_for_the_first_consumer_in_order(server: Server) -> None:
    publish(server, *"abc")
    [worker] = consumers(server, 1)
    assert worker.bodies() == ["a", "b", "c"]


def test_messages_of_several_publishers_wait_in_the_order_they_came(server: Server) -> None:
    one, two = server.client(), server.client()
    for text in "ab":
        one.publish(Q, f"one {text}")
        two.publish(Q, f"two {text}")
    assert bodies(server.drain(Q)) == ["one a", "two a", "one b", "two b"]


def test_hundreds_of_waiting_messages_keep_their_order(server: Server) -> None:
    texts = [str(number) for number in range(300)]
    publish(server, *texts)
    worker = server.client()
    worker.subscribe(Q, ack="client-individual", prefetch_count="1")
    for text in texts:
        message = worker.message()
        assert message.body == text.encode()
        worker.ack(message)
    assert worker.bodies() == []


@pytest.mark.parametrize("ack", ["auto", "client", "client-individual"])
@pytest.mark.parametrize("version", list(Version))
def test_a_subscription_s_receipt_comes_before_what_the_queue_held(
    server: Server, version: Version, ack: str
) -> None:
    publish(server, *"ab")
    frames = server.client(version).ask(
        "SUBSCRIBE", id="0", destination=Q, receipt="r", ack=ack, selector="TRUE"
    )
    assert [frame.command for frame in frames] == ["RECEIPT", "MESSAGE", "MESSAGE"]


def test_a_subscription_s_receipt_is_in_order_with_all_of_one_read(server: Server) -> None:
    client = server.client()
    client.subscribe("/topic/t", "t")
    send = frame_bytes("SEND", b"x", destination="/topic/t", content_length="1")
    client.send(
        send * 3
        + frame_bytes("SEND", b"y", destination=Q)
        + frame_bytes("SUBSCRIBE", id="0", destination=Q, receipt="r")
        + send
    )
    got = [(frame.command, frame.body) for frame in client.received()]
    topic = ("MESSAGE", b"x")
    assert got == [topic, topic, topic, ("RECEIPT", b""), ("MESSAGE", b"y"), topic]


def test_a_refused_subscription_has_no_receipt(server: Server) -> None:
    publish(server, "a")
    client = server.client()
    client.subscribe(Q, ack="client")
    client.messages()
    frames = client.ask("SUBSCRIBE", id="0", destination=Q, receipt="r")
    assert [(frame.command, frame.headers["receipt-id"]) for frame in frames] == [("ERROR", "r")]


def test_what_was_taken_is_not_held_any_longer(server: Server) -> None:
    """Neither counted nor in memory: the budget would be no limit otherwise."""
    publish(server, *"abcdef")
    worker = server.client()
    worker.subscribe(Q, ack="client-individual", prefetch_count="1")
    for _ in range(4):
        worker.ack(worker.message())
    queue = server.broker.queues[Q]
    [level] = queue._ready._levels
    held = {entry.message.body for entry in level.entries} - {b""}
    assert held == {b"f"}
    assert len(queue) == 2


# ---------------------------------------------------------------- prefetch


@pytest.mark.parametrize("header", ["prefetch_count", "activemq.prefetchSize"])
@pytest.mark.parametrize("ack", ["client", "client-individual"])
def test_no_more_messages_than_prefetch_are_unacknowledged(
    server: Server, header: str, ack: str
) -> None:
    [worker] = consumers(server, 1, **{header: "2"}, ack=ack)
    publish(server, *"abc")
    first, _second = worker.messages()
    worker.ack(first)
    assert worker.bodies() == ["c"]


def test_prefetch_count_is_asked_before_its_alias(server: Server) -> None:
    [worker] = consumers(
        server, 1, **{"activemq.prefetchSize": "3"}, prefetch_count="1", ack="client"
    )
    publish(server, *"abc")
    assert worker.bodies() == ["a"]


def test_prefetch_does_not_bind_auto(server: Server) -> None:
    [worker] = consumers(server, 1, prefetch_count="1")
    publish(server, *"abc")
    assert worker.bodies() == ["a", "b", "c"]


def test_prefetch_0_is_no_limit(server: Server) -> None:
    worker = server.client(prefetch=1)
    worker.subscribe(Q, ack="client", prefetch_count="0")
    publish(server, *"abc")
    assert worker.bodies() == ["a", "b", "c"]


def test_the_server_has_a_prefetch_for_those_who_say_nothing(server: Server) -> None:
    worker = server.client(prefetch=2)
    worker.subscribe(Q, ack="client")
    publish(server, *"abc")
    assert worker.bodies() == ["a", "b"]


def test_every_subscription_has_a_prefetch_of_its_own(server: Server) -> None:
    worker = server.client()
    worker.subscribe(Q, "one", ack="client", prefetch_count="1")
    worker.subscribe(Q, "two", ack="client", prefetch_count="2")
    publish(server, *"abcd")
    got = [frame.headers["subscription"] for frame in worker.messages()]
    assert sorted(got) == ["one", "two", "two"]


def test_who_has_enough_is_passed_over(server: Server) -> None:
    first, second = consumers(server, 2, ack="client", prefetch_count="1")
    third = server.client()
    third.subscribe(Q)
    publish(server, *"abcde")
    assert (first.bodies(), second.bodies(), third.bodies()) == (["a"], ["b"], ["c", "d", "e"])


def test_an_acknowledgement_gives_the_next_message_to_who_sent_it(server: Server) -> None:
    first, second = consumers(server, 2, ack="client", prefetch_count="1")
    publish(server, *"abcd")
    first.messages()
    second.ack(second.message())
    assert (first.bodies(), second.bodies()) == ([], ["c"])


@pytest.mark.parametrize("text", ["-1", "x", "", "1.5", "65536", "9" * 30, "٣"])
@pytest.mark.parametrize("header", ["prefetch-count", "activemq.prefetchSize"])
def test_a_prefetch_that_is_no_number_is_refused(server: Server, header: str, text: str) -> None:
    frames = server.client().ask("SUBSCRIBE", id="0", destination=Q, **{header: text})
    assert errors(frames) == [f"{header} is not a number from 0 to 65535"]


def test_the_largest_prefetch_is_accepted(server: Server) -> None:
    consumers(server, 1, ack="client", prefetch_count="65535")


# ---------------------------------------------------------------- priority


def test_higher_priorities_come_first(server: Server) -> None:
    for priority in "0918":
        publish(server, priority, priority=priority)
    assert bodies(server.drain(Q)) == ["9", "8", "1", "0"]


def test_messages_of_one_priority_keep_their_order(server: Server) -> None:
    for text, priority in [("a", "5"), ("b", "9"), ("c", "5"), ("d", "9"), ("e", "5")]:
        publish(server, text, priority=priority)
    assert bodies(server.drain(Q)) == ["b", "d", "a", "c", "e"]


@pytest.mark.parametrize("priority", ["", "x", "-1", "4.5", "4", "1" * 10, "٣"])
def test_a_priority_that_says_nothing_is_4(server: Server, priority: str) -> None:
    publish(server, "3", priority="3")
    publish(server, "first 4")
    publish(server, "odd", priority=priority)
    publish(server, "last 4", priority="4")
    publish(server, "5", priority="5")
    assert bodies(server.drain(Q)) == ["5", "first 4", "odd", "last 4", "3"]


def test_a_priority_over_9_is_9(server: Server) -> None:
    publish(server, "12", priority="12")
    publish(server, "9", priority="9")
    publish(server, "8", priority="8")
    assert bodies(server.drain(Q)) == ["12", "9", "8"]


def test_the_priority_is_passed_on(server: Server) -> None:
    publish(server, "a", priority="7")
    [message] = server.drain(Q)
    assert message.headers["priority"] == "7"


def test_priority_decides_among_waiting_messages_only(server: Server) -> None:
    [worker] = consumers(server, 1, ack="client", prefetch_count="1")
    publish(server, "low", priority="0")
    publish(server, "middle")
    publish(server, "high", priority="9")
    low = worker.message()
    assert low.body == b"low"
    worker.ack(low)
    assert worker.bodies() == ["high"]


# ---------------------------------------------------------------- room on the connection


def test_a_connection_without_room_gets_no_message(server: Server) -> None:
    [worker] = consumers(server, 1)
    worker.stall()
    publish(server, *"abc")
    assert worker.bodies() == []
    assert server.size_of(Q) == 3


def test_messages_follow_when_there_is_room_again(server: Server) -> None:
    [worker] = consumers(server, 1)
    worker.stall()
    publish(server, *"abc")
    worker.read_on()
    assert worker.bodies() == ["a", "b", "c"]


def test_others_get_what_a_connection_has_no_room_for(server: Server) -> None:
    stalled, healthy = consumers(server, 2)
    stalled.stall()
    publish(server, *"abc")
    assert (stalled.bodies(), healthy.bodies()) == ([], ["a", "b", "c"])


def test_a_turn_fills_a_connection_s_room_and_not_more(server: Server) -> None:
    publisher = server.client()
    for _ in range(8):
        publisher.publish(Q, b"x" * 20_000)
    worker = server.client()
    worker.session.receive(f"SUBSCRIBE\nid:0\ndestination:{Q}\n\n\0".encode())
    assert len(worker.outbound.pending) == 4  # 64 KiB and the message that fills them
    server.end_turn()
    assert len(worker.messages()) == 8


def test_what_has_no_room_stays_in_the_queue_for_others(server: Server) -> None:
    [worker] = consumers(server, 1)
    worker.stall()
    publish(server, "a")
    other = server.client()
    other.subscribe(Q)
    worker.read_on()
    assert (worker.bodies(), other.bodies()) == ([], ["a"])


def test_two_full_queues_share_the_room_of_a_connection(server: Server) -> None:
    """A consumer that was not served is served first the next time."""
    worker, publisher = server.client(), server.client()
    worker.stall()
    for queue in ("/queue/one", "/queue/two"):
        worker.subscribe(queue, queue)
        for _ in range(3):
            publisher.publish(queue, b"x" * 70_000)
    turns = []
    for _ in range(6):
        worker.outbound.waiting_bytes = 0
        worker.outbound.on_drain()
        worker.outbound.flush()
        turns += [message.headers["destination"] for message in worker.messages()]
    assert turns == ["/queue/one", "/queue/two"] * 3


def test_a_gone_consumer_s_room_disturbs_nobody(server: Server) -> None:
    [worker] = consumers(server, 1)
    worker.stall()
    publish(server, "a")
    worker.unsubscribe()
    worker.read_on()
    assert worker.bodies() == []
    assert bodies(server.drain(Q)) == ["a"]
    assert server.broker.statistics.queue_count == 0


# ---------------------------------------------------------------- selectors


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the text of a selector each time that it is evaluated."""
    looks: list[str] = []

    def noted(selector: Selector, *more: Any) -> bool:
        looks.append(selector.text)
        return selects(selector, *more)

    monkeypatch.setattr("rtchat.core.broker.subscription.selects", noted)
    return looks


def crowd(server: Server, count: int, waiting: int) -> tuple[Client, list[Client]]:
    """Return a worker that wants all, and consumers that want nothing of what waits."""
    worker = server.client()
    worker.subscribe(Q, ack="client-individual", prefetch_count="3")
    choosy = [server.client() for _ in range(count)]
    for number, client in enumerate(choosy):
        client.subscribe(Q, ack="client", selector=f"colour = '{number}'")
    publish(server, *["x"] * waiting, colour="none")
    return worker, choosy


def test_a_nack_lets_selectors_look_at_the_returned_message_only(
    server: Server, looks: list[str]
) -> None:
    worker, choosy = crowd(server, 5, 300)
    message = worker.messages()[0]
    for _ in range(10):
        looks.clear()
        worker.nack(message)
        assert len(looks) == len(choosy)
        message = worker.message()


def test_an_end_lets_selectors_look_at_what_came_back_only(
    server: Server, looks: list[str]
) -> None:
    worker, choosy = crowd(server, 5, 300)
    other = server.client()
    other.subscribe(Q, ack="client-individual", prefetch_count="7")
    looks.clear()
    other.unsubscribe()
    assert looks == []
    other.drop()
    assert len(looks) == 7 * len(choosy)
    assert [client.messages() for client in choosy] == [[]] * 5
    assert len(worker.messages()) == 3


def test_a_selector_sees_that_a_message_was_returned(server: Server, looks: list[str]) -> None:
    """It has passed the message before, and its x-delivery-count is another one now."""
    worker, _ = crowd(server, 2, 300)
    again = server.client()
    again.subscribe(Q, ack="client-individual", selector="x-delivery-count = 2")
    taken = worker.messages()
    looks.clear()
    worker.nack(taken[1])
    assert worker.message().headers["x-delivery-count"] == "1"
    worker.stall()
    worker.drop()
    message = again.message()
    assert message.headers["x-delivery-count"] == "2"
    assert len(looks) <= 3 * (1 + 3)


def test_returned_messages_come_before_those_that_a_selector_has_not_seen(server: Server) -> None:
    first = server.client()
    first.subscribe(Q, ack="client-individual", prefetch_count="2", selector="n < 10")
    for number in (1, 2, 20, 3, 4, 21, 5):
        publish(server, str(number), n=str(number))
    second = server.client()
    second.subscribe(Q, ack="client-individual", prefetch_count="1", selector="n > 2 AND n < 20")
    assert (first.bodies(), second.message().body) == (["1", "2"], b"3")
    first.drop()
    third = server.client()
    third.subscribe(Q, ack="client-individual", selector="n < 20")
    assert third.bodies() == ["1", "2", "4", "5"]
    second.drop()
    assert third.bodies() == ["3"]
    third.drop()
    assert bodies(server.drain(Q)) == ["1", "2", "20", "3", "4", "21", "5"]


def test_what_a_selector_has_to_look_at_again_is_bounded(server: Server, looks: list[str]) -> None:
    """More than the queue holds is never kept: then it looks at the whole queue, once."""
    busy = server.client()
    busy.subscribe(Q, ack="client-individual", prefetch_count="1", selector="n >= 0")
    publish(server, "held", n="0")
    held = busy.message()
    worker = server.client()
    worker.subscribe(Q, ack="client-individual", prefetch_count="1")
    publish(server, *"abc", n="-1")
    publish(server, "last", n="1")
    [consumer] = [one for one in server.broker.queues[Q]._consumers if one.options.selector]
    for _ in range(15):
        worker.nack(worker.message())
    assert sum(map(len, consumer.returned.values())) <= server.size_of(Q)
    looks.clear()
    busy.ack(held)
    assert busy.bodies() == ["last"]
    assert len(looks) <= 2 * server.size_of(Q)


# ---------------------------------------------------------------- coming and going


def test_a_queue_disappears_with_its_last_message_when_nobody_listens(server: Server) -> None:
    publish(server, "a")
    assert server.broker.statistics.queue_count == 1
    server.drain(Q)
    assert server.broker.statistics.queue_count == 0


def test_a_queue_disappears_with_its_last_consumer_when_it_is_empty(server: Server) -> None:
    first, second = consumers(server, 2)
    first.unsubscribe()
    assert server.broker.statistics.queue_count == 1
    second.unsubscribe()
    assert server.broker.statistics.queue_count == 0


@pytest.mark.parametrize("is_polite", [True, False])
def test_a_queue_disappears_with_the_last_connection(server: Server, is_polite: bool) -> None:
    first, second = consumers(server, 2)
    for client in (first, second):
        if is_polite:
            client.say("DISCONNECT")
        else:
            client.drop()
    assert server.broker.statistics.queue_count == server.broker.statistics.subscription_count == 0


def test_a_queue_with_unacknowledged_messages_stays(server: Server) -> None:
    [worker] = consumers(server, 1, ack="client")
    publish(server, "a")
    message = worker.message()
    assert server.broker.statistics.queued_count == 1
    worker.say("BEGIN", transaction="t")
    worker.ack(message, transaction="t")
    worker.unsubscribe()
    assert server.broker.statistics.queue_count == 1
    worker.say("COMMIT", transaction="t")
    assert server.broker.statistics.queue_count == server.broker.statistics.queued_count == 0


def test_a_queue_that_disappeared_may_come_again(server: Server) -> None:
    publish(server, "a")
    server.drain(Q)
    publish(server, "b")
    assert bodies(server.drain(Q)) == ["b"]


def test_the_broker_counts_queues_messages_and_subscriptions(server: Server) -> None:
    publish(server, *"abc")
    client = server.client()
    client.subscribe("/queue/b", "q")
    client.subscribe("/topic/t", "t")
    client.subscribe("/topic/#", "p")
    client.subscribe("/temp-queue/r", "r")
    broker = server.broker
    assert broker.statistics.queue_count == 2
    assert broker.statistics.queued_count == 3
    assert broker.statistics.topic_count == 2
    assert broker.statistics.subscription_count == 4
    assert broker.publishing.message_count == 3


def test_a_queue_s_bytes_are_held_until_it_is_done_with_them(server: Server) -> None:
    [worker] = consumers(server, 1, ack="client")
    used = server.broker.budget.used
    publish(server, "12345")
    headers = {"destination": Q, "content-length": "5"}
    size = message_size(headers, b"12345")
    assert server.broker.budget.used == used + size
    worker.ack(worker.message())
    assert server.broker.budget.used == used


# ---------------------------------------------------------------- sessions that end


def test_a_dying_session_is_not_given_its_own_messages(server: Server) -> None:
    worker = server.client()
    for name in "one", "two", "three":
        worker.subscribe(Q, name, ack="client-individual")
    publish(server, *"abcdef")
    assert len(worker.messages()) == 6
    worker.drop()
    assert worker.bodies() == []
    assert bodies(server.drain(Q)) == ["a", "b", "c", "d", "e", "f"]


def test_nothing_follows_a_dying_session_s_error(server: Server) -> None:
    worker = server.client()
    worker.subscribe(Q, "one", ack="client", prefetch_count="1")
    worker.subscribe(Q, "two")
    publish(server, *"abc")
    worker.received()
    frames = worker.ask("NONSENSE")
    assert [frame.command for frame in frames] == ["ERROR"]


def test_others_get_at_once_what_a_lost_consumer_had(server: Server) -> None:
    lost, other = consumers(server, 2, ack="client", prefetch_count="2")
    publish(server, *"abcd")
    for message in other.messages():
        other.ack(message)
    lost.drop()
    assert other.bodies() == ["a", "c"]


@pytest.mark.parametrize("version", list(Version))
def test_every_version_can_consume(server: Server, version: Version) -> None:
    worker = server.client(version)
    worker.subscribe(Q, ack="client")
    publish(server, "job")
    worker.ack(worker.message())
    assert server.broker.statistics.queued_count == 0
