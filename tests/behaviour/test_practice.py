"""Customs of STOMP brokers that clients rely on, beyond the letter of STOMP 1.2.

The first paragraph of each docstring names the brokers with the custom, then the custom. When
another broker is tested, customs that are not its own are skipped. A custom of rtchat alone is a
decision of rtchat, which no other broker has to share.
"""

from __future__ import annotations

import re
import time

import pytest
from support.behaviour.brokers import Stomp
from support.behaviour.client import ABSENCE_S, Client, Frame, wire_frame
from support.sockets import WebSocketStream

pytestmark = pytest.mark.live

_PRODUCTS = ("RabbitMQ", "ActiveMQ", "rtchat")


@pytest.fixture(autouse=True)
def _custom_of_this_broker(request: pytest.FixtureRequest, product: str) -> None:
    """Skip the customs of others. Ours are all of them; an unknown broker's are not known."""
    assert isinstance(request.node, pytest.Function)
    whose = (request.node.function.__doc__ or "").partition(":")[0].split(", ")
    assert set(whose) <= set(_PRODUCTS), f"whose custom is it? {whose}"
    name = product.partition("/")[0]
    if name == "rtchat" or name in whose:
        return
    if name in _PRODUCTS or whose == ["rtchat"]:
        pytest.skip(f"a custom of {' and '.join(whose)}")


def _bodies(messages: list[Frame]) -> list[bytes]:
    return [message.body for message in messages]


def _consumer(stomp: Stomp, queue: str, **headers: str) -> Client:
    client = stomp.connect()
    client.subscribe(queue, {"ack": "client-individual", **headers})
    return client


# Queues


def test_a_queue_keeps_messages_in_order(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: a queue keeps messages, in order, while it has no consumer."""
    queue, publisher = stomp.queue(), stomp.connect()
    for number in range(50):
        publisher.publish(queue, b"%d" % number)
    publisher.ask("DISCONNECT")
    consumer = stomp.connect()
    consumer.subscribe(queue)
    assert _bodies(consumer.messages(50)) == [b"%d" % number for number in range(50)]


def test_a_queue_gives_each_message_to_one_consumer(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: consumers of a queue share its messages in turn; each goes to one."""
    queue, publisher = stomp.queue(), stomp.connect()
    consumers = [stomp.connect(), stomp.connect()]
    for consumer in consumers:
        consumer.subscribe(queue)
    for number in range(10):
        publisher.publish(queue, b"%d" % number)
    shares = [_bodies(consumer.messages(5)) for consumer in consumers]
    for consumer in consumers:
        consumer.expect_nothing(ABSENCE_S / 3)
    assert sorted(shares[0] + shares[1]) == [b"%d" % number for number in range(10)]
    assert shares == [sorted(share) for share in shares]


def test_a_topic_keeps_nothing(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: a topic copies to every subscriber there is, and keeps nothing."""
    topic, publisher = stomp.topic(), stomp.connect()
    publisher.publish(topic, b"nobody hears it")
    subscribers = [stomp.connect() for _ in range(3)]
    for subscriber in subscribers:
        subscriber.subscribe(topic)
    publisher.publish(topic, b"everybody hears it")
    for subscriber in subscribers:
        assert subscriber.message().body == b"everybody hears it"
    subscribers[0].expect_nothing()


def test_prefetch_count(stomp: Stomp) -> None:
    """RabbitMQ: prefetch-count says how many messages may be unacknowledged at once."""
    queue, publisher = stomp.queue(), stomp.connect()
    for number in range(5):
        publisher.publish(queue, b"%d" % number)
    consumer = _consumer(stomp, queue, **{"prefetch-count": "2"})
    first, second = consumer.messages(2)
    consumer.expect_nothing()
    consumer.ack(first)
    assert consumer.message().body == b"2"
    consumer.expect_nothing(ABSENCE_S / 3)
    consumer.ack(second)
    assert consumer.message().body == b"3"


def test_prefetch_size(stomp: Stomp) -> None:
    """ActiveMQ: activemq.prefetchSize says how many messages may be unacknowledged at once."""
    queue, publisher = stomp.queue(), stomp.connect()
    for number in range(3):
        publisher.publish(queue, b"%d" % number)
    consumer = _consumer(stomp, queue, **{"activemq.prefetchSize": "1"})
    first = consumer.message()
    consumer.expect_nothing()
    consumer.ack(first)
    assert consumer.message().body == b"1"


def test_prefetch_leaves_messages_to_others(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: a busy consumer with a prefetch of one does not keep others waiting."""
    queue, publisher = stomp.queue(), stomp.connect()
    one = {"prefetch-count": "1", "activemq.prefetchSize": "1"}
    busy, idle = _consumer(stomp, queue, **one), _consumer(stomp, queue, **one)
    for number in range(6):
        publisher.publish(queue, b"%d" % number)
    kept = busy.message()
    others = []
    for _ in range(5):
        message = idle.message()
        others.append(message)
        idle.ack(message)
    assert sorted(_bodies([kept, *others])) == [b"%d" % number for number in range(6)]


def test_priority(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: messages with a higher priority leave a queue first, where it is set up
    so (RabbitMQ: x-max-priority, ActiveMQ: prioritizedMessages).
    """
    queue, publisher = stomp.queue(), stomp.connect()
    set_up = {"x-max-priority": "9"}
    for priority, body in (("1", b"low"), ("9", b"high"), ("4", b"usual"), ("9", b"high, too")):
        publisher.publish(queue, body, {"priority": priority, **set_up})
    consumer = _consumer(stomp, queue, **set_up)
    assert _bodies(consumer.messages(4)) == [b"high", b"high, too", b"usual", b"low"]


def test_expires(stomp: Stomp) -> None:
    """ActiveMQ: expires is a time in ms since 1970; after it the message is not delivered."""
    queue, publisher = stomp.queue(), stomp.connect()
    now_ms = int(time.time() * 1000)
    client, topic = stomp.connect(), stomp.topic()
    client.subscribe(topic)
    client.publish(topic, b"too late already", {"expires": str(now_ms - 60_000)})
    publisher.publish(queue, b"too late", {"expires": str(now_ms + 100)})
    publisher.publish(queue, b"in time", {"expires": str(now_ms + 60_000)})
    publisher.expect_nothing(0.2)
    consumer = _consumer(stomp, queue)
    assert consumer.message().body == b"in time"
    consumer.expect_nothing(ABSENCE_S / 3)
    client.expect_nothing(ABSENCE_S / 3)


def test_expiration(stomp: Stomp) -> None:
    """RabbitMQ: expiration is the milliseconds that a message has to live."""
    queue, publisher = stomp.queue(), stomp.connect()
    publisher.publish(queue, b"too late", {"expiration": "100"})
    publisher.publish(queue, b"in time", {"expiration": "60000"})
    publisher.expect_nothing(0.2)
    consumer = _consumer(stomp, queue)
    assert consumer.message().body == b"in time"
    consumer.expect_nothing(ABSENCE_S / 3)


def test_expiration_0(stomp: Stomp) -> None:
    """rtchat: expiration:0 is for ever, as expires:0 is."""
    queue, publisher = stomp.queue(), stomp.connect()
    publisher.publish(queue, b"kept", {"expiration": "0"})
    publisher.publish(queue, b"kept too", {"expires": "0"})
    publisher.expect_nothing(0.1)
    assert _bodies(_consumer(stomp, queue).messages(2)) == [b"kept", b"kept too"]


# Acknowledgements


def test_redelivery_in_order(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: what a lost consumer had comes again, in order, with redelivered:true."""
    queue, publisher = stomp.queue(), stomp.connect()
    lost = _consumer(stomp, queue)
    for number in range(5):
        publisher.publish(queue, b"%d" % number)
    messages = lost.messages(5)
    assert all(message.get("redelivered") != "true" for message in messages)
    lost.ack(messages[1])
    lost.close()
    publisher.expect_nothing(ABSENCE_S)  # the broker has to notice
    publisher.publish(queue, b"new")
    again = _consumer(stomp, queue).messages(5)
    assert _bodies(again) == [b"0", b"2", b"3", b"4", b"new"]
    assert [message.get("redelivered") for message in again[:4]] == ["true"] * 4
    assert again[4].get("redelivered") != "true"


def test_unsubscribe_returns_nothing(stomp: Stomp) -> None:
    """RabbitMQ: deliveries stay with their connection after UNSUBSCRIBE, until it ends."""
    queue, client, other = stomp.queue(), stomp.connect(), stomp.connect()
    client.subscribe(queue, {"ack": "client-individual"}, subscription_id="a")
    client.publish(queue, b"x")
    client.message()
    client.ask("UNSUBSCRIBE", {"id": "a"})
    other.subscribe(queue, {"ack": "client-individual"})
    other.expect_nothing(ABSENCE_S / 3)
    client.close()
    assert other.message()["redelivered"] == "true"


def test_acknowledged_after_unsubscribe(stomp: Stomp) -> None:
    """rtchat: until then they may be acknowledged."""
    queue, client, other = stomp.queue(), stomp.connect(), stomp.connect()
    client.subscribe(queue, {"ack": "client-individual"}, subscription_id="a")
    client.publish(queue, b"done")
    client.publish(queue, b"left")
    messages = client.messages(2)
    client.ask("UNSUBSCRIBE", {"id": "a"})
    other.subscribe(queue, {"ack": "client-individual"})
    other.expect_nothing(ABSENCE_S / 3)
    client.ack(messages[0])
    client.ask("DISCONNECT")
    assert other.message().body == b"left"


def test_client_acks_are_cumulative(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: an ACK in the mode client is for all messages up to that one."""
    queue, client, other = stomp.queue(), stomp.connect(), stomp.connect()
    client.subscribe(queue, {"ack": "client"})
    for number in range(5):
        client.publish(queue, b"%d" % number)
    client.ack(client.messages(5)[2])
    client.close()
    other.subscribe(queue)
    assert _bodies(other.messages(2)) == [b"3", b"4"]
    other.expect_nothing(ABSENCE_S / 3)


def test_nack_requeues(stomp: Stomp) -> None:
    """RabbitMQ: a message comes again after a NACK, with redelivered:true."""
    queue, publisher = stomp.queue(), stomp.connect()
    consumer = _consumer(stomp, queue)
    publisher.publish(queue, b"once more")
    consumer.ack(consumer.message(), command="NACK")
    message = consumer.message()
    assert (message.body, message["redelivered"]) == (b"once more", "true")
    consumer.ack(message)


def test_nack_without_requeue(stomp: Stomp) -> None:
    """RabbitMQ: after a NACK with requeue:false the message does not come again."""
    queue, publisher = stomp.queue(), stomp.connect()
    consumer = _consumer(stomp, queue)
    publisher.publish(queue, b"never again")
    consumer.ack(consumer.message(), {"requeue": "false"}, command="NACK")
    publisher.publish(queue, b"next")
    assert consumer.message().body == b"next"


def test_nack_to_the_dead_letters(stomp: Stomp) -> None:
    """rtchat: after a NACK with requeue:false the message waits in /queue/DLQ.NAME."""
    name, publisher = stomp.name(), stomp.connect()
    consumer = _consumer(stomp, f"/queue/{name}")
    publisher.publish(f"/queue/{name}", b"poison", {"own": "kept"})
    consumer.ack(consumer.message(), {"requeue": "false"}, command="NACK")
    message = _consumer(stomp, f"/queue/DLQ.{name}").message()
    assert (message.body, message["own"]) == (b"poison", "kept")


def test_tries_are_counted(stomp: Stomp) -> None:
    """rtchat: after redelivery.max_count deliveries a message goes to /queue/DLQ.NAME; until then
    x-delivery-count says how often it was tried before.
    """
    name, publisher = stomp.name(), stomp.connect()
    consumer = _consumer(stomp, f"/queue/{name}")
    publisher.publish(f"/queue/{name}", b"poison")
    counts = []
    for _ in range(4):  # as the suite's own chat.ini says
        message = consumer.message()
        counts.append(message.get("x-delivery-count"))
        consumer.ack(message, command="NACK")
    assert counts == [None, "1", "2", "3"]
    consumer.expect_nothing()
    assert _consumer(stomp, f"/queue/DLQ.{name}").message().body == b"poison"


def test_acknowledged_twice(stomp: Stomp) -> None:
    """rtchat: a second ACK of the same message changes nothing, nor does a second UNSUBSCRIBE."""
    queue, client = stomp.queue(), stomp.connect()
    client.subscribe(queue, {"ack": "client-individual"}, subscription_id="a")
    client.publish(queue)
    message = client.message()
    client.ack(message)
    client.ask("ACK", {"id": message["ack"]})
    client.ask("NACK", {"id": message["ack"]})
    client.ask("UNSUBSCRIBE", {"id": "a"})
    client.ask("UNSUBSCRIBE", {"id": "a"})
    client.subscribe(queue)
    client.expect_nothing(ABSENCE_S / 3)


def test_acknowledged_what_never_was(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: an ACK of what this connection never had is an ERROR."""
    queue, client, other = stomp.queue(), stomp.connect(), stomp.connect()
    client.subscribe(queue, {"ack": "client-individual"})
    client.publish(queue)
    other.send("ACK", {"id": client.message()["ack"]})
    other.expect_error()


def test_acknowledged_by_message_id(stomp: Stomp) -> None:
    """RabbitMQ: in 1.2 the id of an ACK may be the message-id."""
    queue, client, other = stomp.queue(), stomp.connect(), stomp.connect()
    client.subscribe(queue, {"ack": "client-individual"})
    client.publish(queue)
    client.ask("ACK", {"id": client.message()["message-id"]})
    client.close()
    other.subscribe(queue)
    other.expect_nothing(ABSENCE_S / 3)


def test_acks_of_older_versions(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: ACK names message-id in 1.0, and subscription beside it in 1.1."""
    for version in ("1.0", "1.1"):
        queue, client, other = stomp.queue(), stomp.connect(version), stomp.connect()
        client.subscribe(queue, {"ack": "client"})
        client.publish(queue, b"done")
        message = client.message()
        headers = {"message-id": message["message-id"]}
        if version == "1.1":
            headers["subscription"] = message["subscription"]
        client.ask("ACK", headers)
        client.close()
        other.subscribe(queue)
        other.expect_nothing()


def test_acks_on_topics(stomp: Stomp) -> None:
    """rtchat: a topic's subscriber may acknowledge, which makes room for more (prefetch-count);
    nothing is redelivered.
    """
    topic, publisher, subscriber = stomp.topic(), stomp.connect(), stomp.connect()
    subscriber.subscribe(topic, {"ack": "client-individual", "prefetch-count": "1"})
    for number in range(3):
        publisher.publish(topic, b"%d" % number)
    message = subscriber.message()
    subscriber.expect_nothing()
    subscriber.ack(message, command="NACK")
    message = subscriber.message()
    assert message.body == b"1"
    subscriber.ack(message)
    assert subscriber.message().body == b"2"


def test_unknown_ack_modes(stomp: Stomp) -> None:
    """rtchat: an unknown ack mode or prefetch-count is an ERROR, not a guess."""
    for headers in ({"ack": "later"}, {"prefetch-count": "many"}, {"x-slow": "hurry"}):
        client = stomp.connect()
        client.send("SUBSCRIBE", {"id": "1", "destination": stomp.queue(), **headers})
        client.expect_error_and_close()


def test_receipt_before_what_waits(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: a SUBSCRIBE's RECEIPT comes before the messages that it lets loose."""
    queue, client = stomp.queue(), stomp.connect()
    for number in range(3):
        client.publish(queue, b"%d" % number)
    client.send("SUBSCRIBE", {"id": "1", "destination": queue, "receipt": "r"})
    assert client.frame()["receipt-id"] == "r"
    assert _bodies(client.messages(3)) == [b"0", b"1", b"2"]


# Transactions


def test_sends_wait_for_commit(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: SENDs of a transaction are published at its COMMIT, in order."""
    queue, client, consumer = stomp.queue(), stomp.connect(), stomp.connect()
    consumer.subscribe(queue)
    client.ask("BEGIN", {"transaction": "t"})
    for number in range(3):
        client.send("SEND", {"destination": queue, "transaction": "t"}, b"%d" % number)
    consumer.expect_nothing()
    client.ask("COMMIT", {"transaction": "t"})
    assert _bodies(consumer.messages(3)) == [b"0", b"1", b"2"]


def test_sends_are_gone_after_abort(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: SENDs of a transaction are gone after its ABORT, or without a COMMIT."""
    queue, client, consumer = stomp.queue(), stomp.connect(), stomp.connect()
    consumer.subscribe(queue)
    client.ask("BEGIN", {"transaction": "a"})
    client.send("SEND", {"destination": queue, "transaction": "a"}, b"aborted")
    client.ask("ABORT", {"transaction": "a"})
    client.ask("BEGIN", {"transaction": "b"})
    client.send("SEND", {"destination": queue, "transaction": "b"}, b"never committed")
    client.ask("DISCONNECT")
    consumer.expect_nothing()


def test_work_moves_in_one_transaction(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: taking from one queue and sending to another is one step."""
    inbox, outbox = stomp.queue(), stomp.queue()
    worker, observer = stomp.connect(), stomp.connect()
    worker.publish(inbox, b"work")
    worker.subscribe(inbox, {"ack": "client-individual"})
    message = worker.message()
    worker.ask("BEGIN", {"transaction": "t"})
    worker.send("SEND", {"destination": outbox, "transaction": "t"}, b"result")
    worker.ack(message, {"transaction": "t"})
    worker.close()
    observer.subscribe(outbox, subscription_id="outbox")
    observer.subscribe(inbox, subscription_id="inbox")
    again = observer.message()
    assert (again["subscription"], again.body) == ("inbox", b"work")
    observer.expect_nothing()


def test_several_transactions_at_once(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: transactions of one connection are independent."""
    queue, client = stomp.queue(), stomp.connect()
    for name in ("a", "b"):
        client.ask("BEGIN", {"transaction": name})
        client.send("SEND", {"destination": queue, "transaction": name}, name.encode())
    client.ask("COMMIT", {"transaction": "b"})
    client.ask("ABORT", {"transaction": "a"})
    client.subscribe(queue)
    assert client.message().body == b"b"
    client.expect_nothing(ABSENCE_S / 3)


# Destinations


def test_reply_to_without_subscribe(stomp: Stomp) -> None:
    """RabbitMQ: reply-to:/temp-queue/NAME needs no SUBSCRIBE; answers carry that subscription."""
    queue, server, client = stomp.queue(), stomp.connect(), stomp.connect()
    server.subscribe(queue)
    reply_to = {"reply-to": "/temp-queue/answers", "correlation-id": "7"}
    client.send("SEND", {"destination": queue, **reply_to}, b"question")
    request = server.message()
    assert request["correlation-id"] == "7"
    assert request["reply-to"] != "/temp-queue/answers"
    server.publish(request["reply-to"], b"answer", {"correlation-id": request["correlation-id"]})
    answer = client.message()
    assert (answer.body, answer["correlation-id"]) == (b"answer", "7")
    assert answer["subscription"] == "/temp-queue/answers"


def test_reply_to_with_subscribe(stomp: Stomp) -> None:
    """ActiveMQ: SUBSCRIBE to /temp-queue/NAME, then name it in reply-to."""
    queue, server, client = stomp.queue(), stomp.connect(), stomp.connect()
    server.subscribe(queue)
    client.subscribe("/temp-queue/answers", subscription_id="mine")
    client.send("SEND", {"destination": queue, "reply-to": "/temp-queue/answers"}, b"question")
    request = server.message()
    server.publish(request["reply-to"], b"answer")
    answer = client.message()
    assert (answer.body, answer["subscription"]) == (b"answer", "mine")


def test_reply_queues_cannot_be_guessed(stomp: Stomp) -> None:
    """rtchat: a reply-to reaches one connection only, under a name that cannot be guessed."""
    queue, server = stomp.queue(), stomp.connect()
    server.subscribe(queue)
    clients = [stomp.connect(), stomp.connect()]
    for client in clients:
        client.ask("SEND", {"destination": queue, "reply-to": "/temp-queue/same"})
    addresses = [message["reply-to"] for message in server.messages(2)]
    assert len(set(addresses)) == 2
    assert all(len(re.sub(r"\W", "", address)) >= 20 for address in addresses)
    server.publish(addresses[0], b"for the first")
    assert clients[0].message().body == b"for the first"
    clients[1].expect_nothing(ABSENCE_S / 3)
    server.send("SEND", {"destination": "/temp-queue/same"}, b"for nobody")
    server.expect_error_and_close()


def test_wildcards_of_topics(stomp: Stomp) -> None:
    """RabbitMQ: in a SUBSCRIBE to topics, * is one word and # any number of words."""
    name, client = stomp.name(), stomp.connect()
    base = f"{stomp.broker.topic_prefix}{name}"
    client.subscribe(f"{base}.*.x", subscription_id="one")
    client.subscribe(f"{base}.#", subscription_id="any")
    for words, expected in (
        (".a.x", ["any", "one"]),
        (".a.b.x", ["any"]),
        (".a", ["any"]),
        ("", ["any"]),
    ):
        client.publish(base + words)
        got = client.messages(len(expected))
        assert sorted(message["subscription"] for message in got) == expected
        assert {message["destination"] for message in got} == {base + words}
    client.expect_nothing(ABSENCE_S / 3)


def test_wildcard_greater_than(stomp: Stomp) -> None:
    """ActiveMQ: in a SUBSCRIBE to topics, * is one word and > all that follow."""
    name, client = stomp.name(), stomp.connect()
    base = f"{stomp.broker.topic_prefix}{name}"
    client.subscribe(f"{base}.*", subscription_id="one")
    client.subscribe(f"{base}.>", subscription_id="any")
    client.publish(f"{base}.a.b")
    assert client.message()["subscription"] == "any"
    client.publish(f"{base}.a")
    assert sorted(message["subscription"] for message in client.messages(2)) == ["any", "one"]


def test_slashes_separate_words(stomp: Stomp) -> None:
    """rtchat: in wildcards / separates words as . does."""
    base, client = stomp.topic(), stomp.connect()
    client.subscribe(f"{base}/*/x", subscription_id="slashes")
    client.publish(f"{base}/a/x")
    client.publish(f"{base}.a.x")
    assert [message["subscription"] for message in client.messages(2)] == ["slashes"] * 2


def test_composite_destination(stomp: Stomp) -> None:
    """ActiveMQ: a SEND to several destinations, with commas between them, goes to each."""
    topic, queue, publisher = stomp.topic(), stomp.queue(), stomp.connect()
    by_topic, by_queue = stomp.connect(), stomp.connect()
    by_topic.subscribe(topic)
    by_queue.subscribe(queue)
    publisher.publish(f"{topic},{queue}", b"to both")
    assert by_topic.message().body == b"to both"
    assert by_queue.message().body == b"to both"


def test_composite_of_queues(stomp: Stomp) -> None:
    """ActiveMQ: a composite destination that begins with a queue needs no prefix for the others."""
    _send_to_both(stomp, "/queue/")


def test_composite_of_topics(stomp: Stomp) -> None:
    """rtchat: and one that begins with a topic stands for topics."""
    _send_to_both(stomp, "/topic/")


def _send_to_both(stomp: Stomp, kind: str) -> None:
    first, second, client = stomp.name(), stomp.name(), stomp.connect()
    for name in (first, second):
        for prefix in ("/queue/", "/topic/"):
            client.subscribe(prefix + name, subscription_id=prefix + name)
    client.publish(f"{kind}{first},{second}")
    got = sorted(message["subscription"] for message in client.messages(2))
    assert got == sorted([kind + first, kind + second])
    client.expect_nothing(ABSENCE_S / 3)


def test_browser(stomp: Stomp) -> None:
    """ActiveMQ: SUBSCRIBE with browser:true reads a queue, ends with browser:end, takes nothing."""
    queue, client = stomp.queue(), stomp.connect()
    for number in range(3):
        client.publish(queue, b"%d" % number)
    client.subscribe(queue, {"browser": "true"}, subscription_id="b")
    assert _bodies(client.messages(3)) == [b"0", b"1", b"2"]
    end = client.message()
    assert (end["browser"], end["subscription"], end.body) == ("end", "b", b"")
    client.ask("UNSUBSCRIBE", {"id": "b"})
    client.subscribe(queue, subscription_id="c")
    messages = client.messages(3)
    assert _bodies(messages) == [b"0", b"1", b"2"]
    assert all(message.get("redelivered") != "true" for message in messages)


def test_unsubscribe_by_destination(stomp: Stomp) -> None:
    """ActiveMQ: in 1.0 UNSUBSCRIBE by destination ends a subscription that has an id."""
    topic, client = stomp.topic(), stomp.connect("1.0")
    client.subscribe(topic, subscription_id="a")
    client.ask("UNSUBSCRIBE", {"destination": topic})
    client.publish(topic)
    client.expect_nothing(ABSENCE_S / 3)


def test_nuls_between_frames(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: NULs between frames are skipped."""
    topic, client = stomp.topic(), stomp.connect()
    client.subscribe(topic)
    frame = wire_frame("SEND", {"destination": topic})
    client.send_bytes(frame + b"\0\n\0" + frame)
    client.messages(2)


def test_stray_carriage_returns(stomp: Stomp) -> None:
    """rtchat: in 1.2 a carriage return in a header, or alone between frames, is an ERROR."""
    for data in (
        b"SEND\ndestination:/topic/a\nown:a\rb\n\n\0",
        b"\rSEND\ndestination:/topic/a\n\n\0",
    ):
        client = stomp.connect()
        client.send_bytes(data)
        client.expect_error_and_close()


def test_pubsub_copies_to_queues(stomp: Stomp) -> None:
    """rtchat: /pubsub/NAME, as MorbidQ had it, copies to the queues that chat.ini names."""
    publisher = stomp.connect()
    publisher.publish("/pubsub/behaviour", b"to both")  # as the suite's own chat.ini says
    for name in ("a", "b"):
        consumer = stomp.connect()
        consumer.subscribe(f"/queue/behaviour-copies-{name}")
        assert consumer.message().body == b"to both"
    publisher.send("SEND", {"destination": "/pubsub/nobody-declared-it"})
    publisher.expect_error_and_close()


def test_selectors_on_topics(stomp: Stomp) -> None:
    """ActiveMQ: selector lets a subscriber of a topic see what its condition is true for."""
    topic, publisher = stomp.topic(), stomp.connect()
    conditions = {
        "equal": "colour = 'red'",
        "and or not": "NOT colour = 'red' AND (size = 'L' OR size = 'XL')",
        "in": "colour IN ('red', 'green')",
        "like": "colour LIKE 'gr_y%'",
        "null": "colour IS NULL",
    }
    subscribers = {}
    for name, condition in conditions.items():
        subscribers[name] = stomp.connect()
        # Parentheses, since ActiveMQ binds NOT more tightly than =.
        selector = condition.replace("NOT colour = 'red'", "NOT (colour = 'red')")
        subscribers[name].subscribe(topic, {"selector": selector})
    messages = {
        b"red": {"colour": "red", "size": "L"},
        b"green L": {"colour": "green", "size": "L"},
        b"grey": {"colour": "grey", "size": "S"},
        b"none": {"size": "XL"},
    }
    for body, headers in messages.items():
        publisher.publish(topic, body, headers)
    expected = {
        "equal": [b"red"],
        "and or not": [b"green L"],
        "in": [b"red", b"green L"],
        "like": [b"grey"],
        "null": [b"none"],
    }
    for name, bodies in expected.items():
        assert _bodies(subscribers[name].messages(len(bodies))) == bodies, name
        subscribers[name].expect_nothing(ABSENCE_S / 6)


def test_selectors_on_queues(stomp: Stomp) -> None:
    """ActiveMQ: consumers of a queue with a selector take what they select, and leave the rest."""
    queue, publisher = stomp.queue(), stomp.connect()
    for number, colour in enumerate(("red", "green", "red", "blue")):
        publisher.publish(queue, b"%d" % number, {"colour": colour})
    red = stomp.connect()
    red.subscribe(queue, {"selector": "colour = 'red'"})
    assert _bodies(red.messages(2)) == [b"0", b"2"]
    rest = stomp.connect()
    rest.subscribe(queue)
    assert _bodies(rest.messages(2)) == [b"1", b"3"]


def test_selectors_compare_numbers(stomp: Stomp) -> None:
    """rtchat: a header in a comparison with a number is read as a number."""
    topic, client = stomp.topic(), stomp.connect()
    client.subscribe(topic, {"selector": "weight * 2 > 5 AND weight BETWEEN 1 AND 10"})
    for weight in ("2", "3", "10", "11", "heavy"):
        client.publish(topic, headers={"weight": weight})
    assert [message["weight"] for message in client.messages(2)] == ["3", "10"]
    client.expect_nothing(ABSENCE_S / 3)


def test_a_bad_selector_is_an_error(stomp: Stomp) -> None:
    """ActiveMQ: a selector that cannot be read is an ERROR."""
    client = stomp.connect()
    headers = {"id": "1", "destination": stomp.topic(), "selector": "colour = = 'red'"}
    client.send("SUBSCRIBE", headers)
    client.expect_error()


def test_a_bad_selector_shows_the_place(stomp: Stomp) -> None:
    """rtchat: the ERROR for a selector shows the place of the mistake."""
    client = stomp.connect()
    headers = {"id": "1", "destination": stomp.topic(), "selector": "colour = = 'red'"}
    client.send("SUBSCRIBE", headers)
    lines = client.expect_error_and_close().body.decode().split("\n")
    place = next(number for number, line in enumerate(lines) if line.strip() == "^")
    selector = lines[place - 1]
    assert selector[lines[place].index("^")] == "="
    assert selector[: lines[place].index("^")].endswith("colour = ")


# Slow subscribers


def test_latest_keeps_one_message_a_key(stomp: Stomp) -> None:
    """rtchat: x-slow:latest keeps the latest message of each x-key; x-dropped tells of the rest."""
    topic, publisher, subscriber = stomp.topic(), stomp.connect(), stomp.connect()
    subscriber.subscribe(topic, {"ack": "client", "prefetch-count": "1", "x-slow": "latest"})
    publisher.publish(topic, b"first", {"x-key": "a"})
    first = subscriber.message()
    for number in range(5):
        publisher.publish(topic, b"a%d" % number, {"x-key": "a"})
    publisher.publish(topic, b"b0", {"x-key": "b"})
    subscriber.ack(first)
    message = subscriber.message()
    assert (message.body, message["x-dropped"]) == (b"a4", "4")
    subscriber.ack(message)
    message = subscriber.message()
    assert message.body == b"b0"
    assert "x-dropped" not in message


def test_drop_oldest_keeps_the_newest(stomp: Stomp) -> None:
    """rtchat: x-slow:drop-oldest loses the oldest messages beyond the backlog, and says so."""
    topic, publisher, subscriber = stomp.topic(), stomp.connect(), stomp.connect()
    subscriber.subscribe(topic, {"ack": "client", "prefetch-count": "1", "x-slow": "drop-oldest"})
    publisher.publish(topic, b"first")
    first = subscriber.message()
    sent = 24
    for number in range(sent):
        publisher.publish(topic, b"%d " % number + b"x" * 1_000_000)  # of 16 MiB in all
    subscriber.ack(first)
    message = subscriber.message()
    lost = int(message["x-dropped"])
    assert 0 < lost < sent
    assert message.body.startswith(b"%d " % lost)
    subscriber.ack(message)
    assert "x-dropped" not in subscriber.message()


# Frames


def test_every_frame_gets_its_receipt(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: every frame with a receipt header gets its RECEIPT."""
    queue, client = stomp.queue(), stomp.connect()
    client.ask("SUBSCRIBE", {"id": "1", "destination": queue, "ack": "client-individual"})
    client.ask("SEND", {"destination": queue}, b"one")
    client.ask("SEND", {"destination": queue}, b"two")
    client.ask("SUBSCRIBE", {"id": "2", "destination": stomp.topic()})
    client.ask("UNSUBSCRIBE", {"id": "2"})
    client.ask("ACK", {"id": client.message()["ack"]})
    client.ask("NACK", {"id": client.message()["ack"]})
    for end in ("COMMIT", "ABORT"):
        client.ask("BEGIN", {"transaction": end})
        client.ask(end, {"transaction": end})
    client.ask("DISCONNECT")


def test_disconnects_receipt_comes_before_the_end(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: the server closes after DISCONNECT, its RECEIPT comes out first."""
    client = stomp.connect()
    client.send("DISCONNECT", {"receipt": "bye"})
    assert client.expect("RECEIPT")["receipt-id"] == "bye"
    client.expect_close()


def test_the_receipt_of_a_subscribe_is_true(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: what is sent after a SUBSCRIBE's RECEIPT is delivered."""
    publisher = stomp.connect()
    for _ in range(10):
        topic, subscriber = stomp.topic(), stomp.connect()
        subscriber.subscribe(topic)
        publisher.send("SEND", {"destination": topic}, b"at once")
        assert subscriber.message().body == b"at once"


def test_the_shape_of_an_error(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: an ERROR has a message and content-type:text/plain."""
    client = stomp.connect()
    client.send("SEND", {}, b"where to?")
    error = client.expect_error()
    assert error["message"]
    assert error["content-type"].startswith("text/plain")


def test_an_error_explains_itself(stomp: Stomp) -> None:
    """rtchat: the body of an ERROR says what to do, and never shows the server's insides."""
    client = stomp.connect()
    client.send("SEND", {}, b"where to?")
    error = client.expect_error_and_close()
    lines = error.body.decode().splitlines()
    assert lines[0] == error["message"]
    assert "destination" in lines[1]
    assert b"Traceback" not in error.body


@pytest.mark.parametrize(
    "size", [0, 1, 125, 126, 127, 65_535, 65_536, 1_048_576, 4_194_303, 4_194_304]
)
def test_bodies_of_all_sizes(stomp: Stomp, size: int) -> None:
    """RabbitMQ, ActiveMQ: bodies from nothing to 4 MiB come out as they went in."""
    body = bytes(range(1, 251)) * (size // 250 + 1)
    body = body[:size]
    message = stomp.relay(body, {"content-type": "application/octet-stream"})
    assert len(message.body) == size
    assert message.body == body
    queue, client = stomp.queue(), stomp.connect()
    client.publish(queue, body)
    client.subscribe(queue)
    assert client.message().body == body


def test_a_body_over_the_limit(stomp: Stomp) -> None:
    """rtchat: a body over 4 MiB (frame.max_bytes) is an ERROR that names the limit."""
    client = stomp.connect()
    headers = {"destination": stomp.topic(), "content-length": str(4 * 1024 * 1024 + 1)}
    client.send_bytes(wire_frame("SEND", headers)[:-1])
    error = client.expect_error_and_close()
    assert "4194304" in error["message"]
    assert b"frame.max_bytes" in error.body


def test_every_byte_in_a_body(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: a body with content-length may hold any bytes, NULs included."""
    for body in (b"\0", b"\0" * 1000, bytes(range(256)), b"MESSAGE\n\n\0\nSEND\n\n\0"):
        assert stomp.relay(body).body == body


def test_frames_in_any_pieces(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: frames may arrive byte by byte, or many at once."""
    topic, client = stomp.topic(), stomp.connect()
    client.subscribe(topic)
    frame = wire_frame("SEND", {"destination": topic, "content-length": "3"}, b"a\0b")
    for index in range(len(frame)):
        client.send_bytes(frame[index : index + 1])
    client.send_bytes(frame * 20)
    assert _bodies(client.messages(21)) == [b"a\0b"] * 21


def test_ends_of_line_between_frames(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: any number of ends of line, of either kind, may stand between frames."""
    topic, client = stomp.topic(), stomp.connect()
    client.subscribe(topic)
    frame = wire_frame("SEND", {"destination": topic}, b"body")
    client.send_bytes(b"\n" + frame + b"\n\n\r\n" + frame + b"\r\n" + frame + b"\n\r\n\n")
    assert _bodies(client.messages(3)) == [b"body"] * 3


def test_commands_and_headers_are_case_sensitive(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: commands and header names are case sensitive, as STOMP says."""
    client = stomp.connect()
    client.send("SEND", {"Destination": stomp.topic(), "receipt": "r"})
    client.expect_error()


def test_content_length_of_an_ack(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: content-length counts on SEND only; an ACK may copy its MESSAGE's."""
    for version in ("1.0", "1.1", "1.2"):
        queue, client, other = stomp.queue(), stomp.connect(version), stomp.connect()
        client.subscribe(queue, {"ack": "client"})
        client.publish(queue, b"five!")
        message = client.message()
        names = ("message-id", "subscription", "destination", "content-length", "content-type")
        headers = {name: message[name] for name in names if message.get(name)}
        if version == "1.2":
            headers["id"] = message["ack"]
        client.ask("ACK", headers)
        client.close()
        other.subscribe(queue)
        other.expect_nothing(ABSENCE_S / 3)


def test_content_length_that_lies(stomp: Stomp) -> None:
    """rtchat: a content-length that does not end at a NUL is an ERROR, not a guess."""
    client = stomp.connect()
    client.send("SEND", {"destination": stomp.topic(), "content-length": "3"}, b"four")
    client.expect_error_and_close()


# Connections


def test_many_subscriptions(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: one connection may have hundreds of subscriptions."""
    client, name = stomp.connect(), stomp.topic()
    count = 500
    for number in range(count):
        headers = {"id": str(number), "destination": f"{name}.{number}"}
        client.send("SUBSCRIBE", headers)
    client.subscribe(name, subscription_id="last")
    for number in range(count):
        client.send("SEND", {"destination": f"{name}.{number}"})
    got = {message["subscription"]: message["destination"] for message in client.messages(count)}
    assert got == {str(number): f"{name}.{number}" for number in range(count)}


def test_order_of_many_messages(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: one publisher's messages reach a subscriber in order."""
    topic, publisher, subscriber = stomp.topic(), stomp.connect(), stomp.connect()
    subscriber.subscribe(topic)
    frames = [wire_frame("SEND", {"destination": topic}, b"%d" % number) for number in range(2000)]
    publisher.send_bytes(b"".join(frames))
    assert _bodies(subscriber.messages(2000)) == [b"%d" % number for number in range(2000)]


def test_versions_talk_to_each_other(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: clients of all three versions understand each other."""
    topic = stomp.topic()
    clients = {version: stomp.connect(version) for version in ("1.0", "1.1", "1.2")}
    for client in clients.values():
        client.subscribe(topic)
    for version in clients:
        clients[version].publish(topic, f"from {version}".encode(), {"own": "value"})
        for client in clients.values():
            message = client.message()
            assert message.body == f"from {version}".encode()
            assert message["own"] == "value"


def test_1_0_needs_no_subscription_id(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: a 1.0 client may subscribe and unsubscribe by destination alone."""
    topic, client = stomp.topic(), stomp.connect("1.0")
    client.ask("SUBSCRIBE", {"destination": topic})
    client.publish(topic, b"one")
    assert client.message().body == b"one"
    client.ask("UNSUBSCRIBE", {"destination": topic})
    client.publish(topic, b"two")
    client.expect_nothing(ABSENCE_S / 3)


def test_heart_beats_from_the_server(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: a server that offered heart-beats sends them while nothing else goes."""
    client = stomp.connect(heart_beat="0,1000")
    assert client.connected is not None
    offered_ms = int(client.connected["heart-beat"].split(",")[0])
    assert offered_ms > 0
    client.eols = 0
    client.expect_nothing(max(1000, offered_ms) / 1000 * 2)
    assert client.eols >= 1


def test_silent_clients_are_cut(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: a client that promised heart-beats and sends nothing is cut."""
    client = stomp.connect(heart_beat="500,0")
    assert client.connected is not None
    wanted_ms = int(client.connected["heart-beat"].split(",")[1])
    assert wanted_ms > 0
    begin_s = time.monotonic()
    interval_s = max(500, wanted_ms) / 1000
    try:
        assert client.frame(interval_s * 5 + 1).command == "ERROR"
        client.expect_close()
    except EOFError:
        pass
    assert time.monotonic() - begin_s >= interval_s


def test_any_data_is_a_heart_beat(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: a client that sends frames in time needs no ends of line between them."""
    client = stomp.connect(heart_beat="500,0")
    assert client.connected is not None
    interval_s = max(500, int(client.connected["heart-beat"].split(",")[1])) / 1000
    for _ in range(6):
        client.expect_nothing(interval_s * 0.6)
        client.send("SEND", {"destination": stomp.topic()})
    client.ask("SEND", {"destination": stomp.topic()})


def test_correlation_headers_are_passed_on(stomp: Stomp) -> None:
    """RabbitMQ, ActiveMQ: correlation-id, reply-to and type reach the receiver."""
    headers = {"correlation-id": "7", "reply-to": stomp.queue(), "type": "order"}
    message = stomp.relay(headers=headers)
    assert {name: message.get(name) for name in headers} == headers


def test_server_headers_cannot_be_forged(stomp: Stomp) -> None:
    """rtchat: headers that the server sets cannot be set by a publisher."""
    names = ("subscription", "message-id", "ack", "redelivered", "x-delivery-count", "x-dropped")
    message = stomp.relay(headers=dict.fromkeys(names, "forged"))
    assert "forged" not in [value for _, value in message.pairs]


def test_websocket_subprotocol_and_close_codes(stomp: Stomp) -> None:
    """rtchat: a WebSocket speaks the sub-protocol v12.stomp, and its close code says why it ends:
    1000 after DISCONNECT, 1007 after an ERROR, 1009 over a limit.
    """
    limit = {"destination": stomp.topic(), "content-length": str(5 * 1024 * 1024)}
    for data, code in (
        (wire_frame("DISCONNECT"), 1000),
        (wire_frame("SEND"), 1007),
        (wire_frame("SEND", limit), 1009),
    ):
        client = stomp.connect()
        if not isinstance(client.stream, WebSocketStream):
            pytest.skip("TCP has neither")
        assert client.stream.subprotocol == "v12.stomp"
        client.send_bytes(data)
        if code != 1000:
            client.expect_error()
        client.expect_close()
        assert client.stream.close_code == code


def test_a_publisher_waits_for_a_full_queue(stomp: Stomp) -> None:
    """rtchat: the publisher to a full queue (10,000 messages) is not read until there is room;
    nothing is lost, and no other client has to wait.
    """
    queue, publisher, other = stomp.queue(), stomp.connect(), stomp.connect()
    frame = wire_frame("SEND", {"destination": queue})
    publisher.send_bytes(frame * 10_000)
    publisher.send("SEND", {"destination": queue, "receipt": "one too many"})
    publisher.expect_nothing()
    assert stomp.relay(b"others go on").body == b"others go on"
    other.subscribe(queue)
    other.messages(10_001)
    assert publisher.expect("RECEIPT")["receipt-id"] == "one too many"
