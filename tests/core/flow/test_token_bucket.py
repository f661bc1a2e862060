"""How fast a session may send: nothing is lost, nothing refused, all in order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.chat import Party
from support.core import Client
from support.stomp import frame_bytes

from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.flow.token_bucket import TokenBucket


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
    for _ in range(3):
        assert bucket.wait_s(0.0) == 0
        bucket.take()
    assert bucket.wait_s(0.0) == pytest.approx(0.1)
    assert bucket.wait_s(0.06) == pytest.approx(0.04)
    assert bucket.wait_s(0.1) == 0
    bucket.take()
    assert bucket.wait_s(1000.0) == 0
    for _ in range(3):
        bucket.take()
    assert bucket.wait_s(1000.0) == pytest.approx(0.1)


def test_a_clock_that_is_set_back_costs_no_token_and_gives_none() -> None:
    bucket = TokenBucket(1, 1, 100.0)
    assert bucket.wait_s(50.0) == 0
    bucket.take()
    assert bucket.wait_s(40.0) == pytest.approx(1)
    assert bucket.wait_s(40.5) == pytest.approx(0.5)


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
        wait = bucket.wait_s(now)
        assert wait <= 1 / per_second + 1e-6
        now += wait
        assert bucket.wait_s(now) == 0, "a wait that was given is enough"
        bucket.take()
        assert sent <= size + now * per_second + 1e-3


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


def test_frames_that_publish_nothing_are_free() -> None:
    party = Party(messages_per_second=1.0, burst=1)
    client = party.client()
    for number in range(20):
        client.subscribe(f"/topic/{number}", str(number))
    assert not client.session.is_waiting


def test_sessions_do_not_share_their_tokens() -> None:
    party = Party(messages_per_second=1.0, burst=2)
    one, other = party.client(), party.client()
    one.send(send_bytes("x") * 3)
    other.send(send_bytes("x") * 2)
    assert one.session.is_waiting
    assert not other.session.is_waiting


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
