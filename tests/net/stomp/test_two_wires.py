"""One behaviour, two wires: what STOMP clients may rely on over TCP and over a WebSocket alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Protocol

import pytest
from support.logs import captured_logs
from support.net import FakeBrowser, FakeSite, FakeSocket
from support.stomp import CONNECT, Frame, StompReader, frame_bytes
from support.websocket import BINARY, CLOSE, TEXT

from rtchat.core.chat.limits import ChatPolicy
from rtchat.core.stomp.limits import Limits


class Wire(Protocol):
    """A client, whatever its bytes travel in."""

    socket: FakeSocket

    def send(self, data: bytes) -> None:
        """Send bytes in one read of the server's."""

    def received(self) -> list[Frame]:
        """Return the frames that came."""

    @property
    def heartbeats(self) -> int:
        """How many heart-beats came."""

    @property
    def was_told_to_close(self) -> bool:
        """Whether the server said that nothing follows."""


class TcpWire:
    """STOMP as it is."""

    def __init__(self, site: FakeSite) -> None:
        self.socket = FakeSocket()
        self._reader = StompReader("1.2")
        self.socket.connect(site.stomp.buildProtocol(None))

    def send(self, data: bytes) -> None:
        self.socket.receive(data)

    def received(self) -> list[Frame]:
        return self._reader.read(self.socket.taken())

    @property
    def heartbeats(self) -> int:
        return self._reader.eols

    @property
    def was_told_to_close(self) -> bool:
        return self.socket.is_half_closed or self.socket.is_closed


class WebSocketWire:
    """STOMP in WebSocket messages, several of them in one read."""

    def __init__(self, site: FakeSite, opcode: int) -> None:
        self._browser = FakeBrowser(site.site).open(subprotocols="v12.stomp")
        self.socket = self._browser.socket
        self._reader = StompReader("1.2")
        self._opcode = opcode
        self._was_told = False

    def send(self, data: bytes) -> None:
        self._browser.send(self._opcode, data)

    def received(self) -> list[Frame]:
        frames: list[Frame] = []
        for message in self._browser.received():
            if message.opcode == CLOSE:
                self._was_told = True
            else:
                assert message.opcode in (TEXT, BINARY)
                # A frame's line feed comes with it; on its own it would be a heart-beat.
                assert message.payload == b"\n" or message.payload.endswith(b"\0\n")
                frames += self._reader.read(message.payload)
        return frames

    @property
    def heartbeats(self) -> int:
        return self._reader.eols

    @property
    def was_told_to_close(self) -> bool:
        return self._was_told


class Room:
    """A server and its clients, all on the same kind of wire."""

    def __init__(self, connect: Callable[[FakeSite], Wire]) -> None:
        self._connect = connect
        self.limits = Limits()
        self.chat = ChatPolicy()
        self._site: FakeSite | None = None

    @property
    def site(self) -> FakeSite:
        if self._site is None:
            self._site = FakeSite(limits=self.limits, chat=self.chat)
        return self._site

    def connect(self) -> Wire:
        return self._connect(self.site)

    def logged_in(self, **headers: str) -> Wire:
        client = self.connect()
        client.send(frame_bytes("CONNECT", b"", accept_version="1.2", **headers))
        expect(client, "CONNECTED")
        return client

    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.site.clock.advance(0.1)

    def advance_with_the_servers_timer(self, seconds: int) -> None:
        for _ in range(seconds):
            self.advance(1)
            broker = self.site.broker
            broker.now = self.site.clock.seconds()
            broker.expire()
            broker.cork.flush()


WIRES: dict[str, Callable[[FakeSite], Wire]] = {
    "tcp": TcpWire,
    "websocket-text": lambda site: WebSocketWire(site, TEXT),
    "websocket-binary": lambda site: WebSocketWire(site, BINARY),
}


@pytest.fixture(params=list(WIRES))
def room(request: pytest.FixtureRequest) -> Room:
    return Room(WIRES[request.param])


def expect(client: Wire, *commands: str) -> Frame:
    """Return the last of the frames that came, which have to be these."""
    frames = client.received()
    assert [frame.command for frame in frames] == list(commands)
    return frames[-1]


def subscribe(client: Wire, destination: str) -> None:
    client.send(frame_bytes("SUBSCRIBE", id="sub-0", destination=destination, receipt="r"))
    expect(client, "RECEIPT")


# ---------------------------------------------------------------- conversations


def test_connect_is_answered_with_the_version_the_session_and_the_server(room: Room) -> None:
    client = room.connect()
    client.send(CONNECT)
    headers = expect(client, "CONNECTED").headers
    assert headers["version"] == "1.2"
    assert headers["heart-beat"] == "10000,10000"
    assert headers["session"]
    assert headers["server"].startswith("rtchat/")


def test_a_message_reaches_every_subscriber_the_publisher_too(room: Room) -> None:
    clients = [room.logged_in() for _ in range(3)]
    for client in clients:
        subscribe(client, "/topic/chat")
    clients[0].send(frame_bytes("SEND", "Grüße".encode(), destination="/topic/chat", nick="a"))
    for client in clients:
        message = expect(client, "MESSAGE")
        assert message.body.decode() == "Grüße"
        assert message.headers["nick"] == "a"
        assert message.headers["subscription"] == "sub-0"
        assert message.headers["destination"] == "/topic/chat"


# A text message carries UTF-8 only.
@pytest.mark.parametrize("kind", ["tcp", "websocket-binary"])
def test_a_body_may_be_any_bytes(kind: str) -> None:
    body = bytes(range(256)) * 300
    client = Room(WIRES[kind]).logged_in()
    subscribe(client, "/topic/a")
    client.send(frame_bytes("SEND", body, destination="/topic/a", content_length=str(len(body))))
    assert expect(client, "MESSAGE").body == body


def test_a_frame_may_come_a_byte_at_a_time(room: Room) -> None:
    client = room.connect()
    for byte in CONNECT:
        client.send(bytes([byte]))
    expect(client, "CONNECTED")


def test_a_read_may_hold_a_whole_conversation(room: Room) -> None:
    client = room.connect()
    client.send(
        CONNECT
        + frame_bytes("SUBSCRIBE", id="sub-0", destination="/topic/a")
        + frame_bytes("SEND", b"1", destination="/topic/a")
        + frame_bytes("SEND", b"2", destination="/topic/a")
        + frame_bytes("DISCONNECT", receipt="bye")
    )
    expect(client, "CONNECTED", "MESSAGE", "MESSAGE", "RECEIPT")
    assert client.was_told_to_close


def test_a_message_published_after_the_receipt_of_a_subscribe_is_delivered(room: Room) -> None:
    subscriber, publisher = room.logged_in(), room.logged_in()
    subscribe(subscriber, "/topic/a")
    publisher.send(frame_bytes("SEND", b"x", destination="/topic/a"))
    expect(subscriber, "MESSAGE")


def test_after_unsubscribe_nothing_is_delivered(room: Room) -> None:
    client = room.logged_in()
    subscribe(client, "/topic/a")
    client.send(frame_bytes("UNSUBSCRIBE", id="sub-0", receipt="u"))
    client.send(frame_bytes("SEND", b"x", destination="/topic/a", receipt="s"))
    expect(client, "RECEIPT", "RECEIPT")


def test_messages_keep_their_order(room: Room) -> None:
    subscriber, publisher = room.logged_in(), room.logged_in()
    subscribe(subscriber, "/topic/a")
    for number in range(200):
        publisher.send(frame_bytes("SEND", b"%d" % number, destination="/topic/a"))
    bodies = [int(frame.body) for frame in subscriber.received()]
    assert bodies == list(range(200))


# ---------------------------------------------------------------- time


def test_who_does_not_log_in_is_told_so_and_closed(room: Room) -> None:
    client = room.connect()
    room.advance(10.1)
    assert "no CONNECT" in expect(client, "ERROR").headers["message"]
    assert client.was_told_to_close


def test_heart_beats_are_single_line_feeds_on_time(room: Room) -> None:
    client = room.logged_in(heart_beat="0,5000")
    room.advance(3.9)
    assert client.received() == []
    assert client.heartbeats == 0
    room.advance(0.2)
    assert client.received() == []
    assert client.heartbeats == 1


def test_a_heart_beat_is_life(room: Room) -> None:
    client = room.logged_in(heart_beat="5000,0")
    for _ in range(5):
        room.advance(9)
        client.send(b"\n")
    assert client.received() == []


def test_silence_ends_the_session(room: Room) -> None:
    client = room.logged_in(heart_beat="5000,0")
    room.advance(10.2)
    assert "nothing received" in expect(client, "ERROR").headers["message"]
    assert client.was_told_to_close


# ---------------------------------------------------------------- ends


def test_a_protocol_error_is_answered_and_closes(room: Room) -> None:
    client = room.logged_in()
    client.send(frame_bytes("SEND", receipt="r-7"))
    error = expect(client, "ERROR")
    assert error.headers["message"] == "SEND without destination"
    assert error.headers["receipt-id"] == "r-7"
    assert client.was_told_to_close


def test_disconnect_gets_its_receipt_before_the_close(room: Room) -> None:
    client = room.logged_in()
    client.send(frame_bytes("DISCONNECT", receipt="bye"))
    expect(client, "RECEIPT")
    assert client.was_told_to_close


def test_a_shutdown_is_no_error(room: Room) -> None:
    client = room.logged_in()
    room.site.stomp.shut_down()
    assert client.received() == []
    assert client.was_told_to_close


def test_who_does_not_answer_the_close_is_cut_after_five_seconds(room: Room) -> None:
    client = room.logged_in()
    client.send(b"NONSENSE\n\n\0")
    room.advance(4.8)
    assert not client.socket.is_closed
    room.advance(0.4)
    assert client.socket.was_cut


def test_a_client_that_vanishes_leaves_nothing_behind(room: Room) -> None:
    client = room.logged_in(heart_beat="5000,5000")
    subscribe(client, "/topic/a")
    client.socket.end()
    site = room.site
    assert site.broker.statistics.subscription_count == 0
    assert site.stomp.protocols == set()
    assert not site.websockets.protocols
    assert site.clock.getDelayedCalls() == []


def test_a_reader_that_is_too_slow_is_closed_and_the_others_get_everything(room: Room) -> None:
    room.limits = Limits(max_backlog_bytes=10_000)
    slow, healthy, publisher = room.logged_in(), room.logged_in(), room.logged_in()
    subscribe(slow, "/topic/a")
    subscribe(healthy, "/topic/a")
    slow.socket.room = 50
    message = frame_bytes("SEND", b"x" * 1000, destination="/topic/a")
    for _ in range(30):
        publisher.send(message)
    assert len(healthy.received()) == 30
    slow.socket.give_room()
    error = slow.received()[-1]
    assert error.headers["message"] == "too slow: more than 10000 bytes wait to be read"
    assert slow.was_told_to_close
    assert room.site.broker.statistics.subscription_count == 1


# ---------------------------------------------------------------- people


def events(client: Wire) -> list[str]:
    """Return what a watcher of a room was told, as short words."""
    told = []
    for frame in client.received():
        value = json.loads(frame.body)
        assert frame.headers["x-presence"] == value["event"]
        people = value["people"] if value["event"] == "here" else [value["person"]]
        told.append(" ".join([value["event"], *(one["nick"] for one in people)]))
    return told


def watcher(room: Room) -> Wire:
    client = room.logged_in()
    client.send(frame_bytes("SUBSCRIBE", id="p", destination="/presence/topic/chat"))
    return client


def test_who_comes_and_goes_is_told(room: Room) -> None:
    client = watcher(room)
    anna = room.logged_in(nick="Jörg", x_presence_token="t1")
    subscribe(anna, "/topic/chat")
    anna.socket.end()
    room.advance_with_the_servers_timer(4)
    assert events(client) == ["here", "join Jörg"]
    room.advance_with_the_servers_timer(2)
    assert events(client) == ["leave Jörg"]


def test_who_comes_back_with_the_token_was_never_away(room: Room) -> None:
    client = watcher(room)
    for _ in range(3):
        anna = room.logged_in(nick="anna", x_presence_token="t1")
        subscribe(anna, "/topic/chat")
        anna.socket.end()
        room.advance_with_the_servers_timer(4)
    assert events(client) == ["here", "join anna"]


def test_a_half_dead_connection_leaves_after_its_heart_beats_and_the_grace(room: Room) -> None:
    client = watcher(room)
    anna = room.logged_in(nick="anna", heart_beat="1000,1000")
    subscribe(anna, "/topic/chat")
    anna.socket.room = 0  # it neither reads nor writes, and its connection does not end
    room.advance_with_the_servers_timer(6)
    assert events(client) == ["here", "join anna"]
    room.advance_with_the_servers_timer(3)
    assert events(client) == ["leave anna"]


def test_a_newer_connection_replaces_the_older(room: Room) -> None:
    old = room.logged_in(nick="anna", x_presence_token="t1")
    room.logged_in(nick="anna", x_presence_token="t1")
    assert expect(old, "ERROR").headers["message"] == "replaced by a newer connection"
    assert old.was_told_to_close


def test_a_nick_that_somebody_has_is_refused(room: Room) -> None:
    room.logged_in(nick="anna", x_presence_token="t1")
    other = room.connect()
    other.send(frame_bytes("CONNECT", accept_version="1.2", nick="anna", x_presence_token="t2"))
    assert expect(other, "ERROR").headers["message"] == "nick in use"
    assert other.was_told_to_close


def test_a_private_message_goes_to_one(room: Room) -> None:
    people = {nick: room.logged_in(nick=nick) for nick in ("anna", "bob", "eve")}
    for client in people.values():
        subscribe(client, "/user/queue/private")
    people["anna"].send(frame_bytes("SEND", b"psst", destination="/user/bob/queue/private"))
    assert expect(people["bob"], "MESSAGE").headers["x-sender"] == "anna"
    assert people["anna"].received() == people["eve"].received() == []


def test_whoever_sends_too_fast_is_not_read_and_loses_nothing(room: Room) -> None:
    room.chat = ChatPolicy(messages_per_second=10, burst=5)
    listener, sender = room.logged_in(), room.logged_in()
    subscribe(listener, "/topic/a")
    with captured_logs() as logs:
        sender.send(
            b"".join(frame_bytes("SEND", b"%d" % n, destination="/topic/a") for n in range(30))
        )
        assert not sender.socket.is_reading
        came = listener.received()
        assert len(came) == 5
        room.advance(1)
        came += listener.received()
        assert 14 <= len(came) <= 15
        room.advance(1.6)
        came += listener.received()
    assert [frame.body for frame in came] == [b"%d" % n for n in range(30)]
    assert sender.socket.is_reading
    lines = [line for line in logs.lines("info") if "faster than [rate] allows" in line]
    assert len(lines) == 1
    sender.send(frame_bytes("SEND", b"x", destination="/topic/a", receipt="r"))
    room.advance(0.2)
    expect(sender, "RECEIPT")


def test_a_client_that_is_not_read_for_its_rate_is_not_silent(room: Room) -> None:
    room.chat = ChatPolicy(messages_per_second=0.1, burst=1)
    sender = room.logged_in(heart_beat="1000,0")
    sender.send(frame_bytes("SEND", destination="/topic/a") * 2)
    room.advance(9)
    assert sender.received() == []
    room.advance(4)
    assert expect(sender, "ERROR").headers["message"] == "nothing received for 2 seconds"


def test_a_client_that_goes_while_it_waits_leaves_no_timer(room: Room) -> None:
    room.chat = ChatPolicy(messages_per_second=1, burst=1)
    sender = room.logged_in()
    sender.send(frame_bytes("SEND", destination="/topic/a") * 5)
    sender.socket.end()
    assert room.site.clock.getDelayedCalls() == []
