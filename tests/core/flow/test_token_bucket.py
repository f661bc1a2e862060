"""How fast a session may send: nothing is lost, nothing refused, all in order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.chat import Party
from support.core import Client
from support.stomp import frame_bytes

from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.flow.token_bucket import TokenBucket, TokenBuckets


def send_bytes(text: str, destination: str = "/topic/a", **headers: str) -> bytes:
    return frame_bytes("SEND", text.encode(), destination=destination, **headers)


def run_to_the_end(party: Party, client: Client) -> float:
    """Let time pass as the connection would; give how long it took."""
    begun = party.broker.now
    while client.session.is_waiting:
        party.broker.now += client.line.delays_s[-1]
        client.session.resume()
        party.broker.cork.flush()
    return party.broker.now - begun


def test_a_bucket_begins_full_and_fills_at_its_rate() -> None:
    bucket = TokenBucket(10, 3, 0.0)
    assert [bucket.reserve(0.0) for _ in range(3)] == [0, 0, 0]
    assert bucket.reserve(0.0) == pytest.approx(0.1)
    assert bucket.reserve(0.06) == pytest.approx(0.14)
    assert bucket.reserve(0.3) == 0
    assert [bucket.reserve(1000.0) for _ in range(3)] == [0, 0, 0]
    assert bucket.reserve(1000.0) == pytest.approx(0.1)


def test_those_who_wait_have_their_turns_one_after_the_other() -> None:
    bucket = TokenBucket(2, 1, 0.0)
    assert [bucket.reserve(0.0) for _ in range(4)] == pytest.approx([0, 0.5, 1, 1.5])


def test_a_token_that_was_not_used_goes_back() -> None:
    bucket = TokenBucket(1, 1, 0.0)
    bucket.reserve(0.0)
    assert bucket.reserve(0.0) == pytest.approx(1)
    bucket.give_back()
    assert bucket.reserve(0.0) == pytest.approx(1)


def test_a_clock_that_is_set_back_costs_no_token_and_gives_none() -> None:
    bucket = TokenBucket(1, 1, 100.0)
    assert bucket.reserve(50.0) == 0
    assert bucket.reserve(40.0) == pytest.approx(1)
    assert bucket.reserve(40.5) == pytest.approx(1.5)


@given(
    st.floats(0.1, 1000),
    st.integers(1, 20),
    st.lists(st.floats(0, 10), min_size=1, max_size=50),
)
def test_nobody_is_faster_than_the_rate_and_nobody_slower_than_need_be(
    per_second: float, size: int, pauses: list[float]
) -> None:
    bucket, now = TokenBucket(per_second, size, 0.0), 0.0
    for sent, pause in enumerate(pauses, start=1):
        now += pause
        wait = bucket.reserve(now)
        assert wait <= 1 / per_second + 1e-6
        now += wait
        assert sent <= size + now * per_second + 1e-3


def test_sessions_of_one_source_share_a_bucket_and_others_have_their_own() -> None:
    buckets = TokenBuckets(1, 2)
    one, two, other = (buckets.rate_of(key, 0.0) for key in ("a", "a", "b"))
    assert [one.reserve(0.0), two.reserve(0.0), other.reserve(0.0)] == [0, 0, 0]
    assert two.reserve(0.0) == pytest.approx(1)
    two.give_back()
    assert one.reserve(0.0) == pytest.approx(1)
    unknown = [buckets.rate_of("", 0.0) for _ in range(2)]
    assert [rate.reserve(0.0) for rate in unknown for _ in range(2)] == [0] * 4


def test_full_buckets_are_forgotten_and_others_are_not() -> None:
    buckets = TokenBuckets(1, 2)
    for number in range(100):
        buckets.reserve(str(number), 0.0)
    assert len(buckets) == 100
    for number in range(200, 300):
        buckets.reserve(str(number), 5.0)
    assert len(buckets) <= 101
    assert [buckets.reserve("299", 5.0) for _ in range(2)] == pytest.approx([0, 1])


def test_a_flood_of_sources_takes_no_more_than_so_many_buckets() -> None:
    buckets = TokenBuckets(1, 2, max_count=10)
    for number in range(1000):
        buckets.reserve(str(number), 0.0)
    assert len(buckets) == 10


def test_whoever_is_faster_waits_and_nothing_is_lost() -> None:
    party = Party(messages_per_second=10.0, burst=5)
    listener, sender = party.client(), party.client()
    listener.subscribe("/topic/a")
    texts = [str(number) for number in range(40)]
    sender.send(b"".join(map(send_bytes, texts)))
    assert len(listener.received()) == 5
    assert sender.line.is_paused
    took = run_to_the_end(party, sender)
    assert [frame.body.decode() for frame in listener.received()] == texts[5:]
    assert took == pytest.approx(3.5)
    assert not sender.line.is_paused


def test_other_frames_wait_behind_the_message_in_their_order() -> None:
    party = Party(messages_per_second=1.0, burst=1)
    client = party.client()
    client.send(
        send_bytes("1", receipt="r1")
        + send_bytes("2", receipt="r2")
        + frame_bytes("SUBSCRIBE", id="0", destination="/topic/a", receipt="r3")
    )
    assert [frame.headers["receipt-id"] for frame in client.received()] == ["r1"]
    run_to_the_end(party, client)
    assert [frame.headers["receipt-id"] for frame in client.received()] == ["r2", "r3"]


def test_a_message_to_several_destinations_takes_a_token_for_each() -> None:
    party = Party(messages_per_second=10.0, burst=20)
    listener, sender = party.client(), party.client()
    for number in range(16):
        listener.subscribe(f"/topic/{number}", str(number))
    names = ",".join(f"/topic/{number}" for number in range(16))
    sender.send(send_bytes("x", names) * 3)
    assert len(listener.received()) == 16
    took = run_to_the_end(party, sender)
    assert len(listener.received()) == 32
    assert took == pytest.approx(2.8)


def test_messages_of_a_transaction_take_a_token_for_each_destination() -> None:
    party = Party(messages_per_second=10.0, burst=20)
    sender = party.client()
    names = ",".join(f"/queue/{number}" for number in range(10))
    sender.say("BEGIN", transaction="t")
    commit = frame_bytes("COMMIT", transaction="t", receipt="r")
    sender.send(send_bytes("x", names, transaction="t") * 3 + commit)
    assert sender.received() == []
    assert run_to_the_end(party, sender) == pytest.approx(1.0)
    assert sender.receipts() == ["r"]


def test_one_that_leaves_gives_back_all_tokens_of_the_message_that_waits() -> None:
    party = Party(messages_per_second=1.0, burst=5)
    client = from_source(party, "192.0.2.1")
    client.send(send_bytes("x", "/topic/a,/topic/b,/topic/c,/topic/d") * 2)
    assert client.line.delays_s == pytest.approx([3])
    client.drop()
    other = from_source(party, "192.0.2.1")
    other.send(send_bytes("x") * 2)
    assert other.line.delays_s == pytest.approx([1])


def test_one_with_more_names_than_are_allowed_waits_for_no_more_than_those() -> None:
    party = Party(messages_per_second=1.0, burst=1)
    client = party.client()
    client.send(send_bytes("x", ",".join(["/topic/a"] * 100)))
    assert client.line.delays_s == pytest.approx([15])


def test_frames_that_publish_nothing_are_free() -> None:
    party = Party(messages_per_second=1.0, burst=1)
    client = party.client()
    for number in range(20):
        client.subscribe(f"/topic/{number}", str(number))
    assert not client.session.is_waiting


def from_source(party: Party, source: str) -> Client:
    """Connect a client that comes from an address."""
    client = Client(party.server, None)
    client.line.source = source
    assert client.connect().command == "CONNECTED"
    return client


def test_sessions_of_unknown_sources_do_not_share_their_tokens() -> None:
    party = Party(messages_per_second=1.0, burst=2)
    one, other = party.client(), party.client()
    one.send(send_bytes("x") * 3)
    other.send(send_bytes("x") * 2)
    assert one.session.is_waiting
    assert not other.session.is_waiting


def test_a_rate_holds_over_reconnects() -> None:
    party = Party(messages_per_second=1.0, burst=2)
    listener = party.client()
    listener.subscribe("/topic/a")
    for _ in range(50):
        client = from_source(party, "192.0.2.1")
        client.send(send_bytes("x") * 5)
        client.drop()
    assert len(listener.received()) == 2
    # A frame that never got its turn has cost nothing.
    party.broker.now += 1
    from_source(party, "192.0.2.1").send(send_bytes("x") * 5)
    assert len(listener.received()) == 1
    from_source(party, "192.0.2.2").send(send_bytes("x") * 2)
    assert len(listener.received()) == 2


def test_many_sessions_of_one_source_are_no_faster_than_one() -> None:
    party = Party(messages_per_second=10.0, burst=5)
    listener = party.client()
    listener.subscribe("/topic/a")
    clients = [from_source(party, "192.0.2.1") for _ in range(10)]
    for client in clients:
        client.send(send_bytes("x") * 2)
    assert len(listener.received()) == 5
    waiting = [client for client in clients if client.session.is_waiting]
    assert len({round(client.line.delays_s[-1], 6) for client in waiting}) == len(waiting)


def test_joins_and_leaves_have_a_rate_that_no_client_notices() -> None:
    party = Party()
    client = from_source(party, "192.0.2.1")
    for number in range(1000):
        client.subscribe(f"/topic/{number}", str(number))
    assert not client.session.is_waiting
    churn = frame_bytes("SUBSCRIBE", id="x", destination="/topic/x") + frame_bytes(
        "UNSUBSCRIBE", id="x"
    )
    other = from_source(party, "192.0.2.1")
    other.send(churn * 20_000)
    assert other.session.is_waiting
    assert client.line.delays_s == []
    begun, slow = party.broker.now, from_source(party, "192.0.2.1")
    slow.say("SUBSCRIBE", id="0", destination="/topic/a", receipt="r")
    assert slow.session.is_waiting
    party.broker.now += slow.line.delays_s[-1]
    slow.session.resume()
    party.broker.cork.flush()
    assert slow.receipts() == ["r"]
    assert party.broker.now - begun < 1
    assert not from_source(party, "192.0.2.9").session.is_waiting


def test_a_message_that_waits_for_a_queue_pays_once() -> None:
    limits = BrokerLimits(max_queue_messages=1)
    party = Party(limits=limits, messages_per_second=1.0, burst=3)
    sender, taker = party.client(), party.client()
    sender.line.session = sender.session
    sender.send(send_bytes("1", "/queue/a") + send_bytes("2", "/queue/a"))
    assert sender.session.is_waiting
    assert sender.line.delays_s == []
    taker.say("SUBSCRIBE", id="0", destination="/queue/a")
    assert [frame.body for frame in taker.received()] == [b"1", b"2"]
    sender.send(send_bytes("3"))
    assert not sender.session.is_waiting
    sender.send(send_bytes("4"))
    assert len(sender.line.delays_s) == 1


def test_a_message_to_several_destinations_that_waits_for_a_queue_pays_once() -> None:
    limits = BrokerLimits(max_queue_messages=1)
    party = Party(limits=limits, messages_per_second=1.0, burst=5)
    sender, taker = party.client(), party.client()
    sender.line.session = sender.session
    sender.send(send_bytes("1", "/queue/a,/queue/b") * 2)
    assert sender.session.is_waiting
    assert sender.line.delays_s == []
    taker.say("SUBSCRIBE", id="0", destination="/queue/a")
    taker.say("SUBSCRIBE", id="1", destination="/queue/b")
    assert not sender.session.is_waiting
    sender.send(send_bytes("3"))
    assert not sender.session.is_waiting
    sender.send(send_bytes("4"))
    assert sender.line.delays_s == pytest.approx([1])


def test_a_session_that_ends_while_it_waits_sends_nothing_more() -> None:
    party = Party(messages_per_second=1.0, burst=1)
    listener, sender = party.client(), party.client()
    listener.subscribe("/topic/a")
    sender.send(send_bytes("1") + send_bytes("2"))
    party.lose(sender)
    party.broker.now += 5
    sender.session.resume()
    party.broker.cork.flush()
    assert [frame.body for frame in listener.received()] == [b"1"]


def test_without_a_rate_nobody_waits() -> None:
    party = Party()
    sender = party.client()
    sender.send(send_bytes("x") * 5000)
    assert not sender.session.is_waiting
    assert sender.line.delays_s == []
