"""STOMP on a plain transport: timers, the ways a connection ends, and what is logged."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.core import Listener
from support.logs import Logs, captured_logs
from support.net import FakeSite, FakeSocket
from support.stomp import CONNECT, Frame, StompReader, frame_bytes, message_bytes
from support.websocket import BINARY
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from rtchat.core.access.addresses import AddressList
from rtchat.core.broker.authenticator import Authenticator, Identified, Visitor
from rtchat.core.broker.broker import Broker
from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.broker.principal import Principal
from rtchat.core.broker.questions import Question
from rtchat.core.broker.rights import Rights
from rtchat.core.session.connection import CloseReason
from rtchat.core.stomp.limits import Limits
from rtchat.net.connection.transport import address_name, as_stream
from rtchat.net.connection.writer import ConnectionWriter
from rtchat.net.stomp.close_codes import CLOSE_CODES
from rtchat.net.stomp.server import StompFactory, StompProtocol

GRACE_S = 5


@pytest.fixture
def logs() -> Iterator[Logs]:
    with captured_logs() as logs:
        yield logs


class Broke:
    """A broker's factory with a clock, and clients on fake sockets."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.clock = Clock()
        self.broker = Broker("test")
        self.factory = StompFactory(self.broker, limits or Limits(), self.clock)

    def client(self, room: int = 1 << 60) -> Client:
        return Client(self, room)

    def advance(self, seconds: float) -> None:
        """Let time pass in steps as a reactor would."""
        for _ in range(round(seconds * 20)):
            self.clock.advance(0.05)


class Client:
    """A client on a fake socket."""

    def __init__(self, server: Broke, room: int = 1 << 60) -> None:
        self.socket = FakeSocket(room)
        protocol = server.factory.buildProtocol(None)
        self.protocol: StompProtocol = protocol
        self.socket.connect(protocol)
        self.reader = StompReader("1.2")

    def send(self, data: bytes) -> None:
        self.socket.receive(data)

    def log_in(self, **headers: str) -> Client:
        self.send(frame_bytes("CONNECT", b"", accept_version="1.2", host="localhost", **headers))
        self.expect("CONNECTED")
        return self

    def frames(self) -> list[Frame]:
        return self.reader.read(self.socket.taken())

    def expect(self, command: str) -> Frame:
        frames = self.frames()
        assert [frame.command for frame in frames] == [command]
        return frames[0]

    def heartbeats(self) -> int:
        before = self.reader.eols
        assert self.frames() == []
        return self.reader.eols - before


@pytest.fixture
def server() -> Broke:
    return Broke()


# ---------------------------------------------------------------- where clients come from


@pytest.mark.parametrize(
    "address, source",
    [
        (IPv4Address("TCP", "192.0.2.1", 5), "192.0.2.1"),
        (IPv6Address("TCP", "2001:db8::7", 5), "2001:db8::/64"),
        (IPv4Address("TCP", "10.1.2.3", 5), ""),
        (UNIXAddress(""), ""),
        (None, ""),
    ],
)
def test_a_front_proxy_is_no_source(address: IAddress | None, source: str) -> None:
    fronts = AddressList.parse(["10.0.0.0/8"])
    factory = StompFactory(Broker("test"), Limits(), Clock(), fronts=fronts)
    assert factory.source_of(address) == source


# ---------------------------------------------------------------- login


def test_who_does_not_log_in_gets_an_error_and_is_closed(server: Broke) -> None:
    client = server.client()
    server.advance(9.9)
    assert client.frames() == []
    server.advance(0.2)
    assert client.expect("ERROR").headers["message"] == "no CONNECT within 10 seconds"
    assert client.socket.is_half_closed


def test_a_log_in_that_is_being_looked_at_has_all_the_time_it_takes(server: Broke) -> None:
    question: Question[Identified] = Question()

    class Slow(Authenticator):
        def identify(self, principal: Principal, visitor: Visitor) -> Question[Identified]:
            return question

        def left(self, principal: Principal) -> None:
            """Do nothing."""

    server.broker.authenticator = Slow()
    client = server.client()
    client.send(frame_bytes("CONNECT", b"", accept_version="1.2", host="localhost"))
    server.advance(25)
    assert client.frames() == []
    with server.broker.turn:
        question.answer(Identified("ada", Rights(lambda _: True, lambda _: True)))
    client.expect("CONNECTED")
    server.advance(25)
    assert client.frames() == []


def test_bytes_that_are_no_complete_connect_do_not_stop_the_login_time_out(server: Broke) -> None:
    client = server.client()
    for _ in range(11):
        client.send(b"\n")
        server.advance(1)
    assert client.expect("ERROR").headers["message"] == "no CONNECT within 10 seconds"


def test_who_is_logged_in_is_not_timed_out(server: Broke) -> None:
    client = server.client().log_in()
    server.advance(60)
    assert client.frames() == []
    assert not client.socket.is_half_closed


def test_small_frames_do_not_wait_for_each_other_on_the_network(server: Broke) -> None:
    assert server.client().socket.no_delay


def test_a_unix_socket_is_not_asked_for_what_only_tcp_has(server: Broke) -> None:
    socket = FakeSocket(peer=UNIXAddress(None))
    socket.connect(server.factory.buildProtocol(None))
    assert not socket.no_delay


def test_the_system_watches_every_client(server: Broke) -> None:
    assert server.client().socket.is_kept_alive
    assert server.client().log_in().socket.is_kept_alive
    assert server.client().log_in(heart_beat="1000,0").socket.is_kept_alive
    socket = FakeSocket(peer=UNIXAddress(None))
    socket.connect(server.factory.buildProtocol(None))
    socket.receive(CONNECT)
    assert not socket.is_kept_alive


# ---------------------------------------------------------------- turns

FLOOD = b"".join(
    frame_bytes("SUBSCRIBE", id=str(number), destination=f"/topic/{number}.#")
    for number in range(1000)
)
LAST = frame_bytes("UNSUBSCRIBE", id="999", receipt="last")


def test_clients_with_much_to_do_take_turns(server: Broke) -> None:
    turns = server.broker.turn.turns
    clients = [server.client().log_in() for _ in range(3)]
    for client in clients:
        client.send(FLOOD)
        assert not client.socket.is_reading
    done = [len(client.protocol.session.subscriptions) for client in clients]
    # After much work in one round, a turn is short.
    assert 10 < done[0] < 200
    assert done[1] == done[0]
    assert done[2] < 10
    for client in clients * 2:
        before = [len(client.protocol.session.subscriptions) for client in clients]
        turns.begin_round()
        after = [len(client.protocol.session.subscriptions) for client in clients]
        grown = [one > other for one, other in zip(after, before, strict=True)]
        assert grown == [one is client for one in clients]
    server.clock.advance(0)
    for client in clients:
        assert len(client.protocol.session.subscriptions) == 1000
        assert client.socket.is_reading
        client.send(LAST)
        client.expect("RECEIPT")


def test_one_that_asks_little_is_served_between_them(server: Broke) -> None:
    busy, other = server.client().log_in(), server.client().log_in()
    busy.send(FLOOD)
    other.send(frame_bytes("SUBSCRIBE", id="0", destination="/topic/a"))
    other.send(message_bytes("/topic/a", b"x"))
    assert other.expect("MESSAGE").body == b"x"
    assert not busy.socket.is_reading


def test_who_waits_for_its_turn_may_go(server: Broke) -> None:
    client = server.client().log_in()
    client.send(FLOOD)
    client.socket.end(ConnectionLost())
    server.clock.advance(0)
    assert server.broker.statistics.subscription_count == 0
    assert not server.broker.turn.turns


def test_who_waits_for_its_turn_is_told_of_a_shutdown(server: Broke) -> None:
    client = server.client().log_in()
    client.send(FLOOD)
    server.factory.shut_down()
    assert client.frames() == []
    assert client.socket.is_half_closed or client.socket.is_closed
    assert server.broker.statistics.subscription_count == 0
    assert not server.broker.turn.turns


def test_who_waits_for_its_turn_is_not_silent(server: Broke) -> None:
    client = server.client().log_in(heart_beat="1000,0")
    later: list[Callable[[], None]] = []
    server.broker.turn.turns.call_soon = later.append
    client.send(FLOOD)
    server.advance(10)
    assert client.frames() == []
    while later:
        later.pop()()
    assert client.socket.is_reading
    server.advance(1.5)
    assert client.frames() == []
    server.advance(1)
    assert client.expect("ERROR").headers["message"].startswith("nothing received for 2 seconds")


def test_who_closes_while_it_waits_for_its_turn_has_sent_what_it_has_sent(server: Broke) -> None:
    client = server.client().log_in()
    client.send(FLOOD + LAST)
    client.protocol.gone(False)
    server.clock.advance(0)
    assert client.expect("RECEIPT").headers["receipt-id"] == "last"
    assert client.socket.is_reading


def test_a_turn_without_a_reading_client_is_not_logged(server: Broke, logs: Logs) -> None:
    client = server.client().log_in()
    before = len(logs.lines())
    client.send(FLOOD)
    server.clock.advance(0)
    assert logs.lines()[before:] == []


# ---------------------------------------------------------------- heart-beats


def test_a_heart_beat_of_more_than_a_day_is_one_of_a_day(server: Broke) -> None:
    client = server.client().log_in(heart_beat="999999999999,999999999999999")
    assert client.protocol._heartbeat == (86_400_000, 86_400_000)
    server.clock.advance(86_400 * 0.8)
    assert client.heartbeats() == 1
    server.clock.advance(86_400 * 1.3)
    assert client.expect("ERROR").headers["message"] == "nothing received for 172800 seconds"


def test_heart_beats_are_sent_at_eight_tenths_of_what_was_agreed(server: Broke) -> None:
    client = server.client().log_in(heart_beat="0,10000")
    server.advance(7.9)
    assert client.heartbeats() == 0
    server.advance(0.2)
    assert client.heartbeats() == 1
    server.advance(8.2 * 5)
    assert client.heartbeats() == 5


def test_heart_beats_that_were_not_agreed_are_not_sent(server: Broke) -> None:
    client = server.client().log_in(heart_beat="0,0")
    server.advance(60)
    assert client.heartbeats() == 0


def test_a_silent_client_is_cut_after_twice_what_was_agreed(server: Broke) -> None:
    client = server.client().log_in(heart_beat="5000,0")
    server.advance(9.9)
    assert client.frames() == []
    server.advance(0.2)
    assert client.expect("ERROR").headers["message"] == "nothing received for 10 seconds"
    assert client.socket.is_half_closed


def test_any_byte_is_life(server: Broke) -> None:
    client = server.client().log_in(heart_beat="5000,0")
    # Not a heart-beat: the middle of a frame that never ends.
    client.send(b"SEND\ndestination:/topic/a\n\n")
    for _ in range(10):
        server.advance(9)
        client.send(b"x")
    server.advance(9.8)
    assert client.frames() == []
    server.advance(0.3)
    assert client.expect("ERROR").headers["message"] == "nothing received for 10 seconds"


def test_a_client_that_promised_nothing_may_be_silent(server: Broke) -> None:
    client = server.client().log_in(heart_beat="0,0")
    server.advance(600)
    assert client.frames() == []


def test_after_the_end_there_are_no_more_heart_beats(server: Broke) -> None:
    client = server.client().log_in(heart_beat="5000,5000")
    client.socket.end()
    assert server.clock.getDelayedCalls() == []


# ---------------------------------------------------------------- how a connection ends


def test_an_error_is_followed_by_a_close_that_lets_the_client_read_it(server: Broke) -> None:
    client = server.client()
    client.send(b"NONSENSE\n\n\0")
    client.expect("ERROR")
    # A full close with bytes unread would reset the connection and lose the ERROR.
    assert client.socket.is_half_closed
    assert client.socket.is_reading
    assert not client.socket.is_closed


def test_what_comes_after_the_close_is_read_and_ignored(server: Broke) -> None:
    client = server.client()
    client.send(b"NONSENSE\n\n\0")
    client.expect("ERROR")
    client.send(CONNECT * 100)
    assert client.frames() == []


def test_a_client_that_does_not_close_is_cut_after_the_grace_time(server: Broke) -> None:
    client = server.client()
    client.send(b"NONSENSE\n\n\0")
    server.advance(GRACE_S - 0.1)
    assert not client.socket.is_closed
    server.advance(0.2)
    assert client.socket.was_cut


def test_a_client_that_does_not_read_its_error_is_cut_after_the_grace_time(server: Broke) -> None:
    client = server.client(room=0)
    client.send(b"NONSENSE\n\n\0")
    server.advance(GRACE_S + 0.1)
    assert client.socket.was_cut
    assert client.socket.sent == b""


def test_a_client_that_reads_on_gets_its_last_frames_however_long_that_takes(
    server: Broke,
) -> None:
    client = server.client().log_in()
    client.send(frame_bytes("SUBSCRIBE", id="1", destination="/topic/a"))
    client.socket.room = 0
    server.client().log_in().send(frame_bytes("SEND", b"x" * 20_000, destination="/topic/a"))
    client.send(b"NONSENSE\n\n\0")
    for _ in range(10):
        server.advance(GRACE_S - 1)
        client.socket.give_room(2_000)
        assert not client.socket.is_closed
    client.socket.give_room()
    assert [frame.command for frame in client.frames()] == ["MESSAGE", "ERROR"]
    server.advance(GRACE_S + 1)
    assert client.socket.was_cut


def test_a_client_that_closes_in_time_is_not_cut(server: Broke) -> None:
    client = server.client()
    client.send(b"NONSENSE\n\n\0")
    client.socket.end()
    server.advance(60)
    assert not client.socket.was_cut
    assert server.clock.getDelayedCalls() == []


def test_disconnect_is_answered_and_then_closed_whole(server: Broke) -> None:
    client = server.client().log_in()
    client.send(frame_bytes("DISCONNECT", receipt="bye"))
    assert client.expect("RECEIPT").headers == {"receipt-id": "bye"}
    assert client.socket.is_closed
    assert not client.socket.was_cut


def test_disconnect_closes_after_everything_that_waits_is_sent(server: Broke) -> None:
    client = server.client().log_in()
    client.send(frame_bytes("SUBSCRIBE", id="0", destination="/topic/a"))
    client.socket.room = 10
    server.client().log_in().send(frame_bytes("SEND", b"x" * 1000, destination="/topic/a"))
    client.send(frame_bytes("DISCONNECT", receipt="bye"))
    assert not client.socket.is_closed
    client.socket.give_room()
    assert [frame.command for frame in client.frames()] == ["MESSAGE", "RECEIPT"]
    assert client.socket.is_closed


def test_a_lost_client_leaves_no_subscription_and_no_protocol(server: Broke) -> None:
    client = server.client().log_in()
    client.send(frame_bytes("SUBSCRIBE", id="0", destination="/topic/a"))
    assert server.broker.statistics.subscription_count == 1
    client.socket.end(ConnectionLost())
    assert server.broker.statistics.subscription_count == 0
    assert server.factory.protocols == set()


# ---------------------------------------------------------------- slow readers


def slow_reader(server: Broke, room: int = 100, **headers: str) -> Client:
    client = server.client().log_in(**headers)
    client.send(frame_bytes("SUBSCRIBE", id="0", destination="/topic/a", receipt="r"))
    client.expect("RECEIPT")
    client.socket.room = room
    return client


def flood(server: Broke, publisher: Client, body_bytes: int, times: int) -> None:
    message = frame_bytes("SEND", b"x" * body_bytes, destination="/topic/a")
    for _ in range(times):
        publisher.send(message)


def test_a_reader_that_falls_behind_the_limit_is_told_so_and_closed() -> None:
    server = Broke(Limits(max_backlog_bytes=10_000))
    client, publisher = slow_reader(server), server.client().log_in()
    flood(server, publisher, 1000, 20)
    client.socket.give_room()
    error = client.frames()[-1]
    assert error.command == "ERROR"
    assert error.headers["message"] == "too slow: more than 10000 bytes wait to be read"
    assert client.socket.is_half_closed


def test_the_backlog_of_a_reader_that_is_too_slow_is_dropped_between_frames() -> None:
    server = Broke(Limits(max_backlog_bytes=10_000))
    client, publisher = slow_reader(server), server.client().log_in()
    flood(server, publisher, 1000, 20)
    client.socket.give_room()
    frames = client.frames()
    # The one that was on its way is whole, then comes the ERROR.
    assert [frame.command for frame in frames] == ["MESSAGE", "ERROR"]
    assert frames[0].body == b"x" * 1000


def test_a_reader_that_is_too_slow_has_no_subscription_left_and_is_cut() -> None:
    server = Broke(Limits(max_backlog_bytes=10_000))
    client, publisher = slow_reader(server), server.client().log_in()
    flood(server, publisher, 1000, 20)
    assert server.broker.statistics.subscription_count == 0
    server.advance(GRACE_S + 0.1)
    assert client.socket.was_cut


def test_what_a_slow_reader_held_counts_no_longer_once_it_is_cut() -> None:
    server = Broke(Limits(max_backlog_bytes=10_000))
    client, publisher = slow_reader(server), server.client().log_in()
    flood(server, publisher, 1000, 20)
    assert server.broker.budget.used > 0
    server.advance(GRACE_S + 0.1)
    assert client.socket.was_cut
    client.socket.end()
    assert server.broker.budget.used == 0


def test_a_heart_beat_that_is_too_much_is_the_last() -> None:
    server = Broke(Limits(max_backlog_bytes=10_000))
    client, publisher = slow_reader(server, 0, heart_beat="0,10000"), server.client().log_in()
    flood(server, publisher, 1000, 2)
    writer = client.socket.producer
    assert isinstance(writer, ConnectionWriter)
    writer.max_backlog_bytes = writer.waiting_bytes
    server.advance(8.1)
    assert server.broker.statistics.subscription_count == 0
    assert server.broker.cork.outbounds == {}
    assert len(server.clock.getDelayedCalls()) == 1  # the cut; no further heart-beat
    server.advance(GRACE_S + 0.1)
    assert client.socket.was_cut
    client.socket.end()
    assert server.clock.getDelayedCalls() == []


def test_a_reader_that_is_too_slow_does_not_disturb_the_others() -> None:
    server = Broke(Limits(max_backlog_bytes=10_000))
    slow_reader(server)
    healthy, publisher = slow_reader(server, 1 << 60), server.client().log_in()
    flood(server, publisher, 1000, 50)
    assert len(healthy.frames()) == 50
    assert publisher.frames() == []


def test_the_log_says_why_a_slow_reader_was_closed(logs: Logs) -> None:
    server = Broke(Limits(max_backlog_bytes=10_000))
    slow_reader(server)
    flood(server, server.client().log_in(), 1000, 20)
    assert logs.lines("warn") == [
        "192.0.2.1:54321: session test-1 closed by the server: too slow "
        "(too slow: more than 10000 bytes wait to be read)"
    ]


def test_a_reader_on_a_transport_that_is_no_socket_is_cut_alike() -> None:
    server = Broke(Limits(max_backlog_bytes=100_000))
    transport = StringTransport()
    protocol = server.factory.buildProtocol(None)
    protocol.makeConnection(transport)
    protocol.dataReceived(CONNECT + frame_bytes("SUBSCRIBE", id="0", destination="/topic/a"))
    producer = transport.producer
    assert isinstance(producer, ConnectionWriter)
    producer.pauseProducing()
    flood(server, server.client().log_in(), 1000, 200)
    assert transport.value().endswith(b"\0\n")
    assert b"too slow" in transport.value()
    assert transport.disconnecting


# ---------------------------------------------------------------- shutdown


def test_a_shutdown_closes_and_says_nothing(server: Broke) -> None:
    new, known = server.client(), server.client().log_in()
    server.factory.shut_down()
    for client in (new, known):
        assert client.frames() == []
        assert client.socket.is_half_closed


def test_a_shutdown_is_over_when_the_last_client_hasgone(server: Broke) -> None:
    clients = [server.client(), server.client().log_in()]
    done: list[None] = []
    server.factory.shut_down().addCallback(done.append)
    clients[0].socket.end()
    assert done == []
    clients[1].socket.end()
    assert done == [None]


def test_a_shutdown_without_clients_is_over_at_once(server: Broke) -> None:
    done: list[None] = []
    server.factory.shut_down().addCallback(done.append)
    assert done == [None]


def test_a_shutdown_lets_queued_bytes_out(server: Broke) -> None:
    client = slow_reader(server, room=0)
    flood(server, server.client().log_in(), 1000, 5)
    server.factory.shut_down()
    client.socket.give_room()
    assert [frame.command for frame in client.frames()] == ["MESSAGE"] * 5
    assert client.socket.is_half_closed


def test_a_shutdown_lets_a_message_reach_all_subscribers(server: Broke) -> None:
    clients = [server.client().log_in() for _ in range(200)]
    for number, client in enumerate(clients):
        for place in range(16):
            id_ = f"{number}-{place}"
            client.send(frame_bytes("SUBSCRIBE", destination="/topic/all", id=id_))
    server.advance(0)
    server.broker.turn.turns.call_soon = lambda call: None  # the server stops meanwhile
    server.client().log_in().send(message_bytes("/topic/all", b"x"))
    assert server.broker.parts.topics
    server.factory.shut_down()
    for client in clients:
        assert [frame.body for frame in client.frames()] == [b"x"] * 16
        assert client.socket.is_half_closed


def test_a_shutdown_waits_no_longer_than_the_grace_time(server: Broke) -> None:
    client = slow_reader(server, room=0)
    done: list[None] = []
    server.factory.shut_down().addCallback(done.append)
    server.advance(GRACE_S + 0.1)
    assert client.socket.was_cut
    assert done == [None]


def test_a_shutdown_gives_a_client_that_is_closing_already_no_more_time(server: Broke) -> None:
    client = slow_reader(server, room=0)
    flood(server, server.client().log_in(), 1000, 5)
    client.send(b"NONSENSE\n\n\0")
    done: list[None] = []
    server.factory.shut_down().addCallback(done.append)
    for _ in range(6):
        server.advance(GRACE_S / 5)
        client.socket.give_room(100)
    assert client.socket.was_cut
    assert done == [None]


# ---------------------------------------------------------------- gone while it waits


@pytest.mark.parametrize("is_broken", [False, True])
def test_a_client_that_goes_while_it_waits_returns_what_it_held_at_once(
    server: Broke, logs: Logs, is_broken: bool
) -> None:
    server.broker.limits = BrokerLimits(max_queue_messages=1)
    worker = server.client().log_in()
    worker.send(frame_bytes("SUBSCRIBE", id="1", destination="/queue/a", ack="client"))
    worker.send(frame_bytes("SEND", b"job", destination="/queue/a"))
    worker.expect("MESSAGE")
    worker.send(frame_bytes("SEND", b"1", destination="/queue/b"))
    worker.send(frame_bytes("SEND", b"2", destination="/queue/b"))
    assert not worker.socket.is_reading
    worker.protocol.gone(is_broken)
    other = server.client().log_in()
    other.send(frame_bytes("SUBSCRIBE", id="1", destination="/queue/a"))
    assert other.expect("MESSAGE").body == b"job"
    # What still comes is read and dropped; the end is awaited.
    assert worker.socket.is_reading
    error = worker.expect("ERROR")
    assert error["message"].endswith("while frames waited")
    (line,) = logs.lines("warn")
    assert "while frames waited" in line


def test_a_client_that_waits_long_and_wants_no_heart_beats_gets_a_line_end(server: Broke) -> None:
    server.broker.limits = BrokerLimits(max_queue_messages=1)
    worker = server.client().log_in(heart_beat="10000,0")
    worker.send(message_bytes("/queue/b", b"1") * 2)
    assert not worker.socket.is_reading
    worker.protocol.probe()
    assert worker.heartbeats() == 1


# ---------------------------------------------------------------- bugs and logs


class _Bug(Exception):
    pass


def with_a_bug(server: Broke) -> Client:
    client = server.client().log_in()

    def observe(message: object) -> None:
        raise _Bug("a secret of the server's")

    server.broker.events.add(Listener(observe))
    client.send(frame_bytes("SEND", b"hello", destination="/topic/a"))
    return client


def test_a_bug_is_logged_with_its_traceback(server: Broke, logs: Logs) -> None:
    with_a_bug(server)
    assert [failure.type for failure in logs.failures()] == [_Bug]
    assert "192.0.2.1:54321: bug while serving a STOMP client" in logs.text("critical")


def test_of_a_bug_the_client_learns_only_that_there_is_one(server: Broke) -> None:
    error = with_a_bug(server).expect("ERROR")
    assert error.headers["message"] == "internal error"
    assert b"secret" not in error.body
    assert b"Traceback" not in error.body


def test_the_end_of_a_session_within_a_turn_counts_as_work_of_that_turn(server: Broke) -> None:
    other = server.client().log_in()
    with server.broker.turn as turn:
        turn.work += 4000
        other.protocol.connectionLost()
        assert turn.work >= 4000
    with server.broker.turn as turn:
        assert turn.work == 0


def test_after_a_bug_the_client_is_closed_and_the_others_are_served(server: Broke) -> None:
    client = with_a_bug(server)
    assert client.socket.is_half_closed
    server.broker.events.published.clear()
    other = server.client().log_in()
    other.send(frame_bytes("SUBSCRIBE", id="0", destination="/topic/a", receipt="r"))
    other.expect("RECEIPT")


def test_opening_and_closing_are_logged(server: Broke, logs: Logs) -> None:
    client = server.client().log_in()
    client.send(frame_bytes("DISCONNECT"))
    assert logs.lines("info") == [
        "192.0.2.1:54321: session test-1 opened, STOMP 1.2",
        "192.0.2.1:54321: session test-1 disconnected",
    ]


def test_a_client_that_vanishes_is_logged_with_the_reason(server: Broke, logs: Logs) -> None:
    server.client().socket.end()
    server.client().socket.end(ConnectionLost("cable pulled"))
    lines = logs.lines("info")
    assert lines[0] == "192.0.2.1:54321: gone without DISCONNECT (closed)"
    assert lines[1].startswith("192.0.2.1:54321: gone without DISCONNECT (Connection to the other")


def test_a_refused_client_is_a_warning_with_the_reason(server: Broke, logs: Logs) -> None:
    server.client().send(b"NONSENSE\n\n\0")
    assert logs.lines("warn") == [
        "192.0.2.1:54321: session test-1 closed by the server: protocol error (unknown command)"
    ]


def test_neither_passcode_nor_body_is_logged(server: Broke, logs: Logs) -> None:
    client = server.client()
    client.send(frame_bytes("CONNECT", accept_version="1.2", login="u", passcode="hunter2"))
    client.send(frame_bytes("SEND", b"my private words", destination="/topic/a"))
    client.send(b"SEND\nmy private words\n\n\0")
    assert "hunter2" not in logs.text()
    assert "private" not in logs.text()


def test_every_reason_to_close_has_its_websocket_code() -> None:
    assert set(CLOSE_CODES) == set(CloseReason)


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    "address, name",
    [
        (IPv4Address("TCP", "192.0.2.7", 80), "192.0.2.7:80"),
        (IPv6Address("TCP", "2001:db8::7", 80), "[2001:db8::7]:80"),
        (IPv6Address("TCP", "::ffff:192.0.2.7", 80), "192.0.2.7:80"),
        (UNIXAddress(b"/run/chat.sock"), "unix:/run/chat.sock"),
        (UNIXAddress(None), "unix socket"),
    ],
)
def test_an_address_is_shown_as_people_write_it(address: IAddress, name: str) -> None:
    assert address_name(address) == name


def test_a_protocol_without_a_connection_has_no_transport() -> None:
    with pytest.raises(ValueError, match="not connected"):
        as_stream(None)


# ---------------------------------------------------------------- gone while it waits


@pytest.mark.parametrize("held", ["", "/queue/jobs", "/topic/jobs"])
def test_who_says_disconnect_keeps_its_place_unless_it_holds_deliveries(held: str) -> None:
    server = Broke()
    server.broker.limits = BrokerLimits(max_queue_messages=1)
    filler = server.client().log_in()
    filler.send(message_bytes("/queue/full", b"1"))
    client = server.client().log_in()
    if held:
        client.send(frame_bytes("SUBSCRIBE", id="0", destination=held, ack="client"))
        filler.send(message_bytes(held, b"job"))
        client.expect("MESSAGE")
    client.send(message_bytes("/queue/full", b"2") + frame_bytes("DISCONNECT"))
    assert client.protocol.session.is_waiting
    client.protocol.gone(False)
    # Others are waiting for what it held.
    assert client.protocol.session.is_closed is bool(held)
    for one in (client, filler):
        one.socket.end()


def test_credentials_of_the_request_are_forgotten_once_the_session_is_open() -> None:
    site = FakeSite()
    site.websockets.wants_credentials = True
    browser = site.browser().open(Cookie="rtchat_session=" + "x" * 4000)
    [protocol] = site.stomp.protocols
    assert len(protocol.request_headers["cookie"]) > 4000
    browser.send(BINARY, CONNECT)
    assert not protocol.session.is_closed
    assert protocol.request_headers == {}
