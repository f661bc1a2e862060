"""Topics and their subscribers, and what a message looks like to each of them."""

from __future__ import annotations

import pytest
from support.core import Listener, RecordingOutbound, connected, publish, read_one
from support.stomp import frame_bytes

from rtchat.core.broker.broker import Broker
from rtchat.core.broker.encoder import StompEncoder, passed_on_headers
from rtchat.core.broker.message import Message
from rtchat.core.broker.subscription import Subscription
from rtchat.core.stomp.frames import Frame, Version
from rtchat.errors import ProtocolError

MIB = 1024 * 1024
V10, V11, V12 = Version.V10, Version.V11, Version.V12


@pytest.fixture
def broker() -> Broker:
    return Broker("epoch")


def subscription(
    broker: Broker, destination: str, subscription_id: str = "0", version: Version = V12
) -> tuple[Subscription, RecordingOutbound]:
    outbound = RecordingOutbound(broker.cork)
    made = Subscription(subscription_id, 1, destination, version, outbound)
    broker.subscribe(made, MIB)
    return made, outbound


def send(body: bytes = b"", **headers: str) -> Frame:
    return Frame("SEND", {name.replace("_", "-"): value for name, value in headers.items()}, body)


# ---------------------------------------------------------------- topics


def test_every_subscriber_of_a_topic_gets_a_message(broker: Broker) -> None:
    outbounds = [subscription(broker, "/topic/a", str(number))[1] for number in range(3)]
    publish(broker, "/topic/a", send(b"hello"))
    broker.cork.flush()
    received = [read_one(outbound.data) for outbound in outbounds]
    assert [frame.body for frame in received] == [b"hello"] * 3
    assert [frame.headers["subscription"] for frame in received] == ["0", "1", "2"]


def test_a_subscription_is_known_by_its_id_and_destination(broker: Broker) -> None:
    made, outbound = subscription(broker, "/topic/a", "7", V11)
    assert (made.id, made.destination, made.version) == ("7", "/topic/a", V11)
    assert made.outbound is outbound


def test_nobody_else_gets_it(broker: Broker) -> None:
    _, other = subscription(broker, "/topic/ab")
    publish(broker, "/topic/a", send())
    broker.cork.flush()
    assert other.data == b""


def test_nothing_is_kept_for_those_who_come_later(broker: Broker) -> None:
    publish(broker, "/topic/a", send())
    _, late = subscription(broker, "/topic/a")
    broker.cork.flush()
    assert late.data == b""


def test_a_subscription_gets_nothing_after_its_end(broker: Broker) -> None:
    ended, outbound = subscription(broker, "/topic/a")
    broker.detach([ended])
    publish(broker, "/topic/a", send())
    broker.cork.flush()
    assert outbound.data == b""


@pytest.mark.parametrize("name", ["a", "/topic/", "/exchange/x", "/topic/ä:b\\c\nd", "queue/a"])
def test_a_destination_with_another_prefix_is_a_topic(broker: Broker, name: str) -> None:
    _, outbound = subscription(broker, name)
    publish(broker, name, send())
    broker.cork.flush()
    assert read_one(outbound.data).headers["destination"] == name


def test_a_topic_disappears_with_its_last_subscriber(broker: Broker) -> None:
    first, _ = subscription(broker, "/topic/a", "1")
    second, _ = subscription(broker, "/topic/a", "2")
    assert (broker.statistics.topic_count, broker.statistics.subscription_count) == (1, 2)
    broker.detach([first])
    assert (broker.statistics.topic_count, broker.statistics.subscription_count) == (1, 1)
    broker.detach([second])
    assert (broker.statistics.topic_count, broker.statistics.subscription_count) == (0, 0)


def test_publishing_makes_no_topic(broker: Broker) -> None:
    publish(broker, "/topic/a", send())
    assert broker.statistics.topic_count == 0


def test_messages_are_counted_whether_or_not_anyone_listens(broker: Broker) -> None:
    publish(broker, "/topic/a", send())
    subscription(broker, "/topic/a")
    publish(broker, "/topic/a", send())
    assert broker.publishing.message_count == 2


def test_message_ids_are_unique(broker: Broker) -> None:
    outbounds = [subscription(broker, f"/topic/{name}")[1] for name in "ab"]
    for name in "abba":
        publish(broker, f"/topic/{name}", send())
        broker.cork.flush()
    ids = {
        read_one(write).headers["message-id"] for outbound in outbounds for write in outbound.writes
    }
    assert len(ids) == 4


def test_message_ids_of_two_runs_differ() -> None:
    ids = set()
    for epoch in ("one", "two"):
        broker = Broker(epoch)
        _, outbound = subscription(broker, "/topic/a")
        publish(broker, "/topic/a", send())
        broker.cork.flush()
        ids.add(read_one(outbound.data).headers["message-id"])
    assert len(ids) == 2


def test_session_ids_are_unique(broker: Broker) -> None:
    assert len({broker.next_session_id() for _ in range(10)}) == 10


# ---------------------------------------------------------------- observers


def test_observers_see_every_message_before_it_is_delivered(broker: Broker) -> None:
    subscription(broker, "/topic/a")
    seen: list[tuple[str, bytes, dict[str, str], int]] = []

    def observe(message: Message) -> None:
        gathered = len(broker.cork.batch)
        seen.append((message.destination, message.body, passed_on_headers(message), gathered))

    broker.events.add(Listener(observe))
    publish(broker, "/topic/a", send(b"1", x="y", receipt="r"))
    publish(broker, "/topic/b", send(b"2"))
    assert seen == [("/topic/a", b"1", {"x": "y"}, 0), ("/topic/b", b"2", {}, 1)]


def test_an_observed_message_has_the_id_that_subscribers_see(broker: Broker) -> None:
    _, outbound = subscription(broker, "/topic/a")
    ids: list[str] = []
    broker.events.add(Listener(lambda message: ids.append(message.id)))
    publish(broker, "/topic/a", send())
    broker.cork.flush()
    assert ids == [read_one(outbound.data).headers["message-id"]]


def test_refused_messages_are_not_observed(broker: Broker) -> None:
    seen: list[Message] = []
    broker.events.add(Listener(seen.append))
    with pytest.raises(ProtocolError):
        publish(broker, "/topic/a,/temp-queue/a", send())
    assert seen == []


# ---------------------------------------------------------------- what a MESSAGE looks like


def test_a_message_s_bytes_are_those_of_the_specification(broker: Broker) -> None:
    _, outbound = subscription(broker, "/topic/a", "sub:1")
    publish(broker, "/topic/a", send(b"hello", destination="/topic/a", content_type="text/plain"))
    broker.cork.flush()
    assert outbound.data == (
        b"MESSAGE\nsubscription:sub\\c1\nmessage-id:epoch-1\ndestination:/topic/a\n"
        b"content-length:5\ncontent-type:text/plain\n\nhello\0\n"
    )


def test_a_1_0_subscriber_without_id_gets_no_subscription_header() -> None:
    assert StompEncoder("", V10).prefix == b"MESSAGE\n"


@pytest.mark.parametrize(
    "version, destination, header",
    [
        (V10, "/topic/a\\b:c d", "x y:1\\ 2:"),
        (V11, "/topic/a\\\\b\\cc\\nd", "x\\cy:1\\\\\\n2\\c"),
        (V12, "/topic/a\\\\b\\cc\\nd", "x\\cy:1\\\\\\n2\\c"),
    ],
)
def test_each_version_gets_its_own_escapes(
    broker: Broker, version: Version, destination: str, header: str
) -> None:
    name = "/topic/a\\b:c\nd"
    _, outbound = subscription(broker, name, "0", version)
    subscription(broker, name, "0", V10)
    subscription(broker, name, "0", V12)
    publish(broker, name, send(b"", **{"x:y": "1\\\n2:"}))
    broker.cork.flush()
    assert (
        outbound.data
        == (
            f"MESSAGE\nsubscription:0\nmessage-id:epoch-1\ndestination:{destination}\n"
            f"content-length:0\n{header}\n\n\0\n"
        ).encode()
    )


def test_headers_meant_for_the_server_are_not_passed_on() -> None:
    frame = send(b"", destination="/a", receipt="r", transaction="t", content_length="9", x="y")
    assert passed_on_headers(Message("1", "/a", frame)) == {"x": "y"}


SERVER_SET = ["message-id", "subscription", "ack", "redelivered", "content-length", "destination"]


@pytest.mark.parametrize("name", SERVER_SET)
@pytest.mark.parametrize("version", list(Version))
def test_headers_set_by_the_server_cannot_be_forged(
    broker: Broker, name: str, version: Version
) -> None:
    _, outbound = subscription(broker, "/topic/a", "0", version)
    publish(broker, "/topic/a", Frame("SEND", {name: "forged"}, b"body"))
    broker.cork.flush()
    assert b"forged" not in outbound.data


@pytest.mark.parametrize("name", SERVER_SET)
@pytest.mark.parametrize("disguise", ["{} ", " {}", "\t{}", "{}\r", "{}\n", "{}:", "\n{}:\r "])
def test_headers_set_by_the_server_cannot_be_forged_for_clients_that_trim(
    broker: Broker, name: str, disguise: str
) -> None:
    """STOMP 1.0 has no escapes and its clients trim; some of 1.1 and 1.2 trim as well."""
    _, outbound = subscription(broker, "/topic/a", "0", V10)
    publish(broker, "/topic/a", Frame("SEND", {disguise.format(name): "forged"}, b"body"))
    broker.cork.flush()
    assert b"forged" not in outbound.data


@pytest.mark.parametrize("name", ["\n", ":", " ", "\r\n "])
def test_a_name_that_1_0_cannot_write_is_not_passed_on(broker: Broker, name: str) -> None:
    _, outbound = subscription(broker, "/topic/a", "0", V10)
    publish(broker, "/topic/a", Frame("SEND", {name: "x", "y": "z"}))
    broker.cork.flush()
    assert outbound.data.endswith(b"content-length:0\ny:z\n\n\0\n")


def test_names_that_only_look_like_the_server_s_are_passed_on() -> None:
    headers = {"my-message-id": "1", "ACK": "2", "message id": "3", "subscription:x": "4"}
    assert passed_on_headers(Message("1", "/a", Frame("SEND", headers))) == headers


def test_no_subscriber_can_change_what_another_one_gets(broker: Broker) -> None:
    first, _ = subscription(broker, "/topic/a", "1")
    _, second = subscription(broker, "/topic/a", "2")
    publish(broker, "/topic/a", send(b"x"))
    broker.detach([first])
    broker.cork.flush()
    assert read_one(second.data).headers["subscription"] == "2"


# ---------------------------------------------------------------- encode once


class Counting:
    """A wire that counts what it packs."""

    def __init__(self) -> None:
        self.packed = 0

    def wrap(self, data: bytes) -> bytes:
        self.packed += 1
        return data

    def header_of_all(self, length: int, parts: list[bytes]) -> bytes | None:
        return None

    def header_of(self, parts: list[bytes], *, may_compress: bool) -> bytes | None:
        return None


def test_subscribers_that_call_it_the_same_share_one_packed_message(broker: Broker) -> None:
    framing = Counting()
    for subscription_id in ["0"] * 50 + ["1"] * 50:
        outbound = RecordingOutbound(broker.cork, framing)
        broker.subscribe(Subscription(subscription_id, 1, "/topic/a", V12, outbound), MIB)
    publish(broker, "/topic/a", send(b"x"))
    assert framing.packed == 2


def test_nothing_is_packed_for_subscribers_that_are_gone(broker: Broker) -> None:
    framing = Counting()
    made = [
        Subscription(str(number), 1, "/topic/a", V12, RecordingOutbound(broker.cork, framing))
        for number in range(50)
    ]
    for one in made:
        broker.subscribe(one, MIB)
    for one in made[1:]:
        broker.detach([one])
    publish(broker, "/topic/a", send(b"x"))
    assert framing.packed == 1


def test_all_subscribers_of_a_version_share_what_follows_the_prefix() -> None:
    message = Message("1", "/topic/a", send(b"x", note="a:b"))
    named, nameless = StompEncoder("a", V12), StompEncoder("", V12)
    assert named.encode(message).removeprefix(named.prefix) == nameless.encode(
        message
    ).removeprefix(nameless.prefix)
    assert nameless.encode(message) != StompEncoder("", V10).encode(message)


def test_subscribers_on_different_wires_get_their_own_packing(broker: Broker) -> None:
    framings = [Counting(), Counting()]
    for framing in framings:
        broker.subscribe(
            Subscription("0", 1, "/topic/a", V12, RecordingOutbound(broker.cork, framing)), MIB
        )
    publish(broker, "/topic/a", send(b"x"))
    assert [framing.packed for framing in framings] == [1, 1]


def test_a_repeated_header_block_is_written_anew_for_no_message(broker: Broker) -> None:
    publisher, _ = connected(broker, V12, V12)
    _, reader = subscription(broker, "/topic/a")
    frames: list[Frame] = []
    broker.events.add(Listener(lambda message: frames.append(message.frame)))
    headers = {"destination": "/topic/a", "x": "y", "content-length": "1"}
    for body in (b"1", b"2"):
        publisher.send(frame_bytes("SEND", body, **headers))
    assert frames[0].head is frames[1].head is not None
    head = b"\ndestination:/topic/a\ncontent-length:1\nx:y\n\n"
    assert frames[1].head.encoded[V12] == ("/topic/a", head)
    assert [read_one(write).body for write in reader.writes] == [b"1", b"2"]


def test_a_head_without_its_length_is_not_remembered_for_another_body(broker: Broker) -> None:
    publisher, _ = connected(broker, V12, V12)
    _, reader = subscription(broker, "/topic/a")
    for body in (b"1", b"two"):
        publisher.send(frame_bytes("SEND", body, destination="/topic/a"))
    lengths = [read_one(write).headers["content-length"] for write in reader.writes]
    assert lengths == ["1", "3"]


def test_one_turn_is_one_write_for_a_subscriber(broker: Broker) -> None:
    publisher, reader = connected(broker, V12, V12)
    reader.subscribe("/topic/a", "1")
    reader.subscribe("/topic/b", "2")
    writes = len(reader.outbound.writes)
    sends = [frame_bytes("SEND", destination=f"/topic/{name}") for name in "abab"]
    publisher.send(b"".join(sends))
    assert len(reader.outbound.writes) == writes + 1
    received = [frame.headers["subscription"] for frame in reader.received()]
    assert received == ["1", "2", "1", "2"]


def test_a_subscriber_lost_in_a_flush_disturbs_nobody(broker: Broker) -> None:
    publisher, *readers = connected(broker, V12, V12, V12, V12)
    for reader in readers:
        reader.subscribe("/topic/a")
    readers[0].outbound.on_flush = lambda: readers[1].session.lost()
    publisher.publish("/topic/a", b"1")
    publisher.publish("/topic/a", b"2")
    assert [[frame.body for frame in reader.received()] for reader in readers] == [
        [b"1", b"2"],
        [b"1"],
        [b"1", b"2"],
    ]
    assert broker.statistics.subscription_count == 2
