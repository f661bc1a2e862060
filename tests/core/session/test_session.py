"""One client's conversation, frame by frame, without sockets and clocks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.core import Client, Listener, connected, cut, read_one
from support.stomp import frame_bytes

from rtchat import __version__
from rtchat.core.broker.broker import Broker
from rtchat.core.broker.encoder import passed_on_headers
from rtchat.core.broker.message import Message
from rtchat.core.session.connection import CloseReason, HeartBeat
from rtchat.core.session.state import State
from rtchat.core.stomp.frames import Frame, Version
from rtchat.core.stomp.limits import Limits
from rtchat.errors import LimitExceeded, ProtocolError

V10, V11, V12 = Version.V10, Version.V11, Version.V12
EVERY_VERSION = pytest.mark.parametrize("version", list(Version))


@pytest.fixture
def broker() -> Broker:
    return Broker("epoch")


@pytest.fixture
def stranger(broker: Broker) -> Client:
    return Client(broker, None)


@pytest.fixture
def client(broker: Broker) -> Client:
    return Client(broker)


def error_of(client: Client) -> Frame:
    """Return the one ERROR that the client received, and see that its session is over."""
    received = client.received()
    assert [frame.command for frame in received] == ["ERROR"]
    assert client.session.is_closed
    assert len(client.line.closed) == 1
    return received[0]


# ---------------------------------------------------------------- login


@pytest.mark.parametrize("command", ["CONNECT", "STOMP"])
def test_a_client_logs_in(stranger: Client, command: str) -> None:
    [answer] = stranger.ask(command, accept_version="1.2", host="localhost")
    assert answer.command == "CONNECTED"
    assert stranger.session.state is State.OPEN


def test_connected_carries_version_heart_beat_session_and_server(stranger: Client) -> None:
    assert stranger.connect(V12).headers == {
        "version": "1.2",
        "heart-beat": "10000,10000",
        "session": stranger.session.id,
        "server": f"rtchat/{__version__}",
    }


def test_the_server_header_can_be_turned_off(broker: Broker) -> None:
    client = Client(broker, None, Limits(show_server=False))
    assert "server" not in client.connect(V12).headers


def test_every_session_has_an_id_of_its_own(broker: Broker) -> None:
    assert len({client.session.id for client in connected(broker, *[V12] * 5)}) == 5


@pytest.mark.parametrize(
    "accepted, version",
    [
        ("1.2", "1.2"),
        ("1.1", "1.1"),
        ("1.0", "1.0"),
        ("1.0,1.1,1.2", "1.2"),
        ("1.2,1.0", "1.2"),
        ("1.0,1.1", "1.1"),
        ("1.0, 1.1 ", "1.1"),
        ("1.1,2.0", "1.1"),
        ("9.9,1.2,x", "1.2"),
    ],
)
def test_the_highest_common_version_wins(stranger: Client, accepted: str, version: str) -> None:
    [answer] = stranger.ask("CONNECT", accept_version=accepted)
    assert answer.headers["version"] == version
    assert stranger.session.version.value == version


def test_a_client_that_names_no_version_speaks_1_0(stranger: Client) -> None:
    [answer] = stranger.ask("CONNECT")
    assert answer.headers["version"] == "1.0"


@pytest.mark.parametrize("accepted", ["2.0", "1.3,0.9", "", "1", "1.2.0", "v1.2"])
def test_without_a_common_version_the_error_names_ours(stranger: Client, accepted: str) -> None:
    stranger.say("CONNECT", accept_version=accepted)
    error = error_of(stranger)
    assert error.headers["message"] == "no common version"
    assert error.headers["version"] == "1.0,1.1,1.2"
    assert stranger.line.opened == []
    assert stranger.close_reason is CloseReason.PROTOCOL


def test_other_errors_name_no_versions(client: Client) -> None:
    client.say("NONSENSE")
    assert "version" not in error_of(client).headers


def test_the_login_is_known_afterwards(stranger: Client) -> None:
    stranger.ask("CONNECT", accept_version="1.2", login=" ada\\c ", passcode="x")
    assert stranger.session.login == " ada\\c "


def test_the_login_of_a_1_0_client_is_trimmed(stranger: Client) -> None:
    stranger.ask("CONNECT", login=" ada ", passcode=" x")
    assert stranger.session.login == "ada"


def test_a_client_without_login_has_an_empty_one(stranger: Client) -> None:
    assert stranger.session.login == ""
    stranger.connect(V12)
    assert stranger.session.login == ""


def test_a_session_opens_once(stranger: Client) -> None:
    stranger.connect(V12)
    stranger.say("SEND", destination="/topic/a")
    assert len(stranger.line.opened) == 1


def test_connect_gets_no_receipt(stranger: Client) -> None:
    received = stranger.ask("CONNECT", accept_version="1.2", receipt="r")
    assert [frame.command for frame in received] == ["CONNECTED"]


# ---------------------------------------------------------------- heart-beats


@pytest.mark.parametrize(
    "asked, offered, terms",
    [
        ("0,0", "10000,10000", HeartBeat(0, 0)),
        ("10000,10000", "10000,10000", HeartBeat(10000, 10000)),
        ("20000,30000", "10000,10000", HeartBeat(30000, 20000)),
        ("4000,5000", "5000,4000", HeartBeat(5000, 4000)),
        ("1000,1000", "1000,1000", HeartBeat(1000, 1000)),
        ("999,999", "1000,1000", HeartBeat(1000, 1000)),
        ("1,1", "1000,1000", HeartBeat(1000, 1000)),
        ("0,5000", "5000,10000", HeartBeat(5000, 0)),
        ("5000,0", "10000,5000", HeartBeat(0, 5000)),
        (" 4000 , 5000 ", "5000,4000", HeartBeat(5000, 4000)),
        ("86399999,86400001", "10000,10000", HeartBeat(86_400_000, 86_399_999)),
        ("9" * 18 + ",0", "10000,10000", HeartBeat(0, 86_400_000)),
        ("0," + "9" * 18, "10000,10000", HeartBeat(86_400_000, 0)),
    ],
)
def test_both_sides_agree_on_heart_beats(
    stranger: Client, asked: str, offered: str, terms: HeartBeat
) -> None:
    [answer] = stranger.ask("CONNECT", accept_version="1.2", heart_beat=asked)
    assert answer.headers["heart-beat"] == offered
    assert stranger.line.opened == [terms]


def test_a_client_that_says_nothing_of_heart_beats_wants_none(stranger: Client) -> None:
    answer = stranger.connect(V12)
    assert answer.headers["heart-beat"] == "10000,10000"
    assert stranger.line.opened == [HeartBeat(0, 0)]


@pytest.mark.parametrize(
    "send_ms, receive_ms, offered, terms",
    [
        (0, 0, "0,0", HeartBeat(0, 0)),
        (0, 10000, "0,4000", HeartBeat(0, 4000)),
        (10000, 0, "5000,0", HeartBeat(5000, 0)),
        (500, 500, "500,500", HeartBeat(5000, 4000)),
        (4500, 30000, "4500,4000", HeartBeat(5000, 4000)),
    ],
)
def test_the_server_s_own_intervals_can_be_set(
    broker: Broker, send_ms: int, receive_ms: int, offered: str, terms: HeartBeat
) -> None:
    limits = Limits(heartbeat_send_ms=send_ms, heartbeat_receive_ms=receive_ms)
    client = Client(broker, None, limits)
    answer = client.connect(V12, heart_beat="4000,5000")
    assert answer.headers["heart-beat"] == offered
    assert client.line.opened == [terms]


def test_a_server_that_beats_faster_than_its_minimum_stays_as_fast(broker: Broker) -> None:
    limits = Limits(heartbeat_send_ms=500, heartbeat_receive_ms=500, min_heartbeat_ms=1000)
    client = Client(broker, None, limits)
    assert client.connect(V12, heart_beat="100,100").headers["heart-beat"] == "500,500"


@pytest.mark.parametrize(
    "text", ["", "1", "1,2,3", "a,b", "-1,0", "1.5,0", ",", "1000;1000", "9" * 19 + ",0", "²,0"]
)
def test_heart_beats_that_are_not_two_numbers_are_refused(stranger: Client, text: str) -> None:
    stranger.say("CONNECT", accept_version="1.2", heart_beat=text)
    assert error_of(stranger).headers["message"] == "heart-beat is not two numbers"
    assert stranger.line.opened == []


def test_a_client_s_heart_beats_are_answered_with_nothing(client: Client) -> None:
    client.received()
    client.send(b"\n\r\n\n")
    assert client.received_bytes() == b""
    assert not client.session.is_closed


# ---------------------------------------------------------------- what may come when


@pytest.mark.parametrize("command", ["SEND", "SUBSCRIBE", "UNSUBSCRIBE", "DISCONNECT"])
def test_nothing_may_come_before_connect(stranger: Client, command: str) -> None:
    stranger.say(command, destination="/topic/a", id="1")
    assert error_of(stranger).headers["message"] == f"{command} before CONNECT"


def test_a_stranger_s_message_reaches_nobody(broker: Broker) -> None:
    reader, stranger = Client(broker), Client(broker, None)
    reader.subscribe("/topic/a")
    stranger.say("SEND", destination="/topic/a")
    assert reader.received() == []


@pytest.mark.parametrize("command", ["CONNECT", "STOMP"])
def test_a_session_is_connected_once(client: Client, command: str) -> None:
    client.received()
    client.say(command, accept_version="1.2")
    assert error_of(client).headers["message"] == f"a second {command}"


@pytest.mark.parametrize(
    "command",
    ["NONSENSE", "send", "MESSAGE", "CONNECTED", "ERROR", "RECEIPT", "SEND ", " ", "\x7f"],
)
@pytest.mark.parametrize("is_stranger", [True, False])
def test_an_unknown_command_is_refused(broker: Broker, command: str, is_stranger: bool) -> None:
    client = Client(broker, None if is_stranger else V12)
    client.received()
    client.send(command.encode() + b"\na:b\n\n\0")
    assert error_of(client).headers["message"] == "unknown command"


def test_an_unknown_command_is_not_repeated_to_the_client(client: Client) -> None:
    client.received()
    client.say("<script>")
    assert b"script" not in client.received_bytes()


@pytest.mark.parametrize(
    "command, headers",
    [
        ("SUBSCRIBE", {"id": "9", "destination": "/topic/a"}),
        ("UNSUBSCRIBE", {"id": "0"}),
        ("DISCONNECT", {}),
    ],
)
class TestBodies:
    """Only SEND, MESSAGE and ERROR may have a body."""

    def test_a_body_where_none_may_be_is_refused(
        self, client: Client, command: str, headers: dict[str, str]
    ) -> None:
        client.subscribe("/topic/x")
        client.say(command, b"body", **headers)
        assert error_of(client).headers["message"] == f"{command} with a body"

    def test_a_frame_with_a_forbidden_body_has_no_effect(
        self, broker: Broker, client: Client, command: str, headers: dict[str, str]
    ) -> None:
        client.subscribe("/topic/x")
        client.say(command, b"body", receipt="r", **headers)
        assert "RECEIPT" not in [frame.command for frame in client.received()]
        assert broker.statistics.topic_count == 0

    def test_line_ends_are_no_body(
        self, client: Client, command: str, headers: dict[str, str]
    ) -> None:
        client.subscribe("/topic/x")
        assert client.ask(command, b"\r\n\n", receipt="r", **headers) == [
            Frame("RECEIPT", {"receipt-id": "r"})
        ]

    @pytest.mark.parametrize("version", list(Version))
    @pytest.mark.parametrize("length", ["0", "5", "99999999", "none"])
    def test_a_content_length_is_no_body(
        self, broker: Broker, version: Version, length: str, command: str, headers: dict[str, str]
    ) -> None:
        [client] = connected(broker, version)
        client.received()
        client.subscribe("/topic/x")
        assert client.ask(command, content_length=length, receipt="r", **headers) == [
            Frame("RECEIPT", {"receipt-id": "r"})
        ]

    def test_in_1_0_a_body_is_ignored(
        self, broker: Broker, command: str, headers: dict[str, str]
    ) -> None:
        """STOMP 1.0: "the body of the SUBSCRIBE command is ignored"."""
        [client] = connected(broker, Version.V10)
        client.received()
        client.subscribe("/topic/x")
        assert client.ask(command, b"body", receipt="r", **headers) == [
            Frame("RECEIPT", {"receipt-id": "r"})
        ]


def test_connect_may_have_no_body(stranger: Client) -> None:
    stranger.say("CONNECT", b"body", accept_version="1.2")
    assert error_of(stranger).headers["message"] == "CONNECT with a body"


def test_in_1_0_the_body_of_connect_is_ignored(stranger: Client) -> None:
    [answer] = stranger.ask("CONNECT", b"body")
    assert (answer.command, answer.headers["version"]) == ("CONNECTED", "1.0")


# ---------------------------------------------------------------- receipts


@pytest.mark.parametrize(
    "command, headers",
    [
        ("SEND", {"destination": "/topic/a"}),
        ("SUBSCRIBE", {"id": "9", "destination": "/topic/a"}),
        ("UNSUBSCRIBE", {"id": "0"}),
        ("DISCONNECT", {}),
    ],
)
@EVERY_VERSION
def test_every_frame_but_connect_gets_its_receipt(
    broker: Broker, version: Version, command: str, headers: dict[str, str]
) -> None:
    client = Client(broker, version)
    client.subscribe("/topic/x")
    assert client.ask(command, receipt="r-1", **headers) == [
        Frame("RECEIPT", {"receipt-id": "r-1"})
    ]


@pytest.mark.parametrize(
    "command, headers",
    [
        ("SEND", {"destination": "/topic/a"}),
        ("SUBSCRIBE", {"id": "9", "destination": "/topic/a"}),
        ("UNSUBSCRIBE", {"id": "0"}),
        ("DISCONNECT", {}),
    ],
)
def test_who_asks_for_no_receipt_gets_none(
    client: Client, command: str, headers: dict[str, str]
) -> None:
    client.subscribe("/topic/x")
    assert client.ask(command, **headers) == []


@pytest.mark.parametrize("version, wire", [(V10, "a\\cb"), (V11, "a\\cb"), (V12, "a\\cb\\r")])
def test_a_receipt_id_comes_back_as_it_went(broker: Broker, version: Version, wire: str) -> None:
    client = Client(broker, version)
    client.received()
    client.send(f"SEND\ndestination:/topic/a\nreceipt:{wire}\n\n\0".encode())
    assert client.received_bytes() == f"RECEIPT\nreceipt-id:{wire}\n\n\0\n".encode()


def test_a_message_published_after_a_subscription_s_receipt_is_delivered(broker: Broker) -> None:
    reader, publisher = connected(broker, V12, V12)
    reader.received()
    answer = reader.ask("SUBSCRIBE", id="1", destination="/topic/a", receipt="r")
    assert [frame.command for frame in answer] == ["RECEIPT"]
    publisher.publish("/topic/a", b"x")
    assert [frame.body for frame in reader.received()] == [b"x"]


def test_a_receipt_follows_the_effect(client: Client) -> None:
    client.subscribe("/topic/a")
    received = client.ask("SEND", b"x", destination="/topic/a", receipt="r")
    assert [frame.command for frame in received] == ["MESSAGE", "RECEIPT"]


def test_receipts_and_messages_of_one_session_keep_their_order(client: Client) -> None:
    client.received()
    client.send(
        frame_bytes("SUBSCRIBE", id="1", destination="/topic/a", receipt="1")
        + frame_bytes("SEND", b"a", destination="/topic/a", receipt="2")
        + frame_bytes("UNSUBSCRIBE", id="1", receipt="3")
        + frame_bytes("SEND", b"b", destination="/topic/a", receipt="4")
        + frame_bytes("SUBSCRIBE", id="1", destination="/topic/a", receipt="5")
        + frame_bytes("SEND", b"c", destination="/topic/a", receipt="6")
    )
    assert [frame.headers.get("receipt-id", frame.body) for frame in client.received()] == [
        *("1", b"a", "2", "3", "4", "5", b"c", "6")
    ]
    assert len(client.outbound.writes) == 2


def test_a_failed_frame_gets_an_error_and_no_receipt(client: Client) -> None:
    client.received()
    client.say("UNSUBSCRIBE", id="none", receipt="r")
    assert error_of(client).headers["receipt-id"] == "r"


# ---------------------------------------------------------------- errors


def test_an_error_is_short_plain_text_with_its_length(client: Client) -> None:
    client.received()
    client.say("UNSUBSCRIBE", id="none")
    error = error_of(client)
    assert error.headers == {
        "message": "no such subscription",
        "content-type": "text/plain",
        "content-length": str(len(error.body)),
    }
    assert error.body.startswith(b"no such subscription\n")


@pytest.mark.parametrize("version, wire", [(V10, "a\\cb"), (V11, "a\\cb"), (V12, "a\\r\\cb")])
def test_an_error_names_the_receipt_of_its_cause(
    broker: Broker, version: Version, wire: str
) -> None:
    client = Client(broker, version)
    client.received()
    client.send(f"NONSENSE\nreceipt:{wire}\n\n\0".encode())
    assert f"\nreceipt-id:{wire}\n".encode() in client.received_bytes()


def test_an_error_of_the_parser_names_no_earlier_receipt(client: Client) -> None:
    client.received()
    client.send(frame_bytes("SEND", destination="/topic/a", receipt="r") + b"SEND\nbroken\n\n\0")
    receipt, error = client.received()
    assert receipt.command == "RECEIPT"
    assert "receipt-id" not in error.headers


@pytest.mark.parametrize(
    "data, expected",
    [
        (b"SEND\na:\\t\n\n\0", "undefined escape in a header"),
        (b"SEND\na:\xff\n\n\0", "headers are not UTF-8"),
        (b"SEND\0", "a NUL byte inside the headers"),
        (b"SEND\ncontent-length:x\n\n\0", "content-length is not a number"),
        (b"SEND\ncontent-length:1\n\nab\0", "content-length does not fit the body"),
    ],
)
def test_what_the_parser_refuses_becomes_an_error(
    client: Client, data: bytes, expected: str
) -> None:
    client.received()
    client.send(data)
    assert error_of(client).headers["message"] == expected
    assert client.line.closed == [(CloseReason.PROTOCOL, expected)]


def test_nothing_is_processed_after_an_error(broker: Broker) -> None:
    reader, client = connected(broker, V12, V12)
    reader.subscribe("/topic/a")
    client.received()
    send = frame_bytes("SEND", destination="/topic/a")
    client.send(send + frame_bytes("NONSENSE") + send + frame_bytes("NONSENSE"))
    client.send(send)
    assert error_of(client).headers["message"] == "unknown command"
    assert len(reader.received()) == 1


def test_an_error_ends_all_subscriptions(broker: Broker, client: Client) -> None:
    client.subscribe("/topic/a")
    client.say("NONSENSE")
    assert broker.statistics.subscription_count == 0


def test_an_error_without_detail_is_its_message(client: Client) -> None:
    client.received()
    client.session.fail(ProtocolError("too bad"))
    client.broker.cork.flush()
    assert error_of(client).body == b"too bad\n"


@pytest.mark.parametrize(
    "error, reason",
    [
        (ProtocolError("x"), CloseReason.PROTOCOL),
        (LimitExceeded("x"), CloseReason.LIMIT),
    ],
)
def test_the_reason_of_the_close_follows_from_the_error(
    client: Client, error: ProtocolError, reason: CloseReason
) -> None:
    client.session.fail(error)
    assert client.line.closed == [(reason, "x")]


def test_the_connection_may_know_the_reason_better(client: Client) -> None:
    client.session.fail(LimitExceeded("x"), reason=CloseReason.SLOW)
    assert client.close_reason is CloseReason.SLOW


def test_a_session_fails_once(client: Client) -> None:
    client.received()
    client.session.fail(ProtocolError("first"))
    client.session.fail(ProtocolError("second"))
    client.session.shut_down()
    client.broker.cork.flush()
    assert error_of(client).headers["message"] == "first"


def test_an_error_in_1_0_cannot_carry_forged_headers(broker: Broker) -> None:
    client = Client(broker, V10)
    client.received()
    client.session.fail(ProtocolError("a\nforged:b"))
    broker.cork.flush()
    assert error_of(client).headers["message"] == "a forged:b"


@pytest.mark.parametrize("is_stranger", [True, False])
def test_a_server_that_stops_just_closes(broker: Broker, is_stranger: bool) -> None:
    client = Client(broker, None if is_stranger else V12)
    client.received()
    client.session.shut_down()
    broker.cork.flush()
    assert client.received() == []
    assert client.close_reason is CloseReason.SHUTDOWN


# ---------------------------------------------------------------- subscriptions


def test_a_session_may_have_many_subscriptions(broker: Broker) -> None:
    reader, publisher = connected(broker, V12, V12)
    for number in range(50):
        reader.subscribe(f"/topic/{number % 25}", f"sub-{number}")
    assert len(reader.session.subscriptions) == broker.statistics.subscription_count == 50
    publisher.publish("/topic/7")
    assert [frame.headers["subscription"] for frame in reader.received()] == ["sub-7", "sub-32"]


def test_many_subscriptions_to_one_topic_each_get_the_message(client: Client) -> None:
    for name in "abc":
        client.subscribe("/topic/a", name)
    client.publish("/topic/a")
    assert [frame.headers["subscription"] for frame in client.received()] == ["a", "b", "c"]


@EVERY_VERSION
@pytest.mark.parametrize("destination", ["/topic/a", "/topic/b"])
def test_a_subscription_s_id_is_unique_in_its_session(
    broker: Broker, version: Version, destination: str
) -> None:
    client = Client(broker, version)
    client.subscribe("/topic/a", "1")
    client.say("SUBSCRIBE", id="1", destination=destination)
    assert error_of(client).headers["message"] == "subscription id in use"


def test_two_sessions_may_use_the_same_id(broker: Broker) -> None:
    readers = connected(broker, V12, V12)
    for reader in readers:
        reader.subscribe("/topic/a", "1")
    readers[0].publish("/topic/a")
    assert [len(reader.received()) for reader in readers] == [1, 1]


def test_an_id_is_free_again_after_unsubscribe(client: Client) -> None:
    client.subscribe("/topic/a", "1")
    client.say("UNSUBSCRIBE", id="1")
    client.subscribe("/topic/b", "1")
    client.publish("/topic/b")
    assert [frame.headers["destination"] for frame in client.received()] == ["/topic/b"]


@EVERY_VERSION
def test_nothing_comes_after_unsubscribe(broker: Broker, version: Version) -> None:
    client = Client(broker, version)
    client.subscribe("/topic/a", "1")
    client.subscribe("/topic/a", "2")
    client.say("UNSUBSCRIBE", id="1")
    client.publish("/topic/a")
    assert [frame.headers["subscription"] for frame in client.received()] == ["2"]


@pytest.mark.parametrize("headers", [{"id": "2"}, {"id": "/topic/a"}, {"id": "destination:"}])
@EVERY_VERSION
def test_only_an_open_subscription_can_be_ended(
    broker: Broker, version: Version, headers: dict[str, str]
) -> None:
    client = Client(broker, version)
    client.subscribe("/topic/a", "1")
    client.say("UNSUBSCRIBE", **headers)
    assert error_of(client).headers["message"] == "no such subscription"


def test_nobody_can_end_another_session_s_subscription(broker: Broker) -> None:
    victim, attacker = connected(broker, V12, V12)
    victim.subscribe("/topic/a", "1")
    attacker.say("UNSUBSCRIBE", id="1")
    attacker.session.lost()
    assert broker.statistics.subscription_count == 1


@pytest.mark.parametrize("version", [V11, V12])
@pytest.mark.parametrize("command", ["SUBSCRIBE", "UNSUBSCRIBE"])
@pytest.mark.parametrize("headers", [{}, {"id": ""}])
def test_an_id_is_required_from_1_1_on(
    broker: Broker, version: Version, command: str, headers: dict[str, str]
) -> None:
    client = Client(broker, version)
    client.received()
    client.say(command, destination="/topic/a", **headers)
    assert error_of(client).headers["message"] == f"{command} without id"


@pytest.mark.parametrize("command", ["SEND", "SUBSCRIBE"])
@pytest.mark.parametrize("headers", [{}, {"destination": ""}])
@EVERY_VERSION
def test_a_destination_is_required(
    broker: Broker, version: Version, command: str, headers: dict[str, str]
) -> None:
    client = Client(broker, version)
    client.received()
    client.say(command, id="1", **headers)
    assert error_of(client).headers["message"] == f"{command} without destination"


@pytest.mark.parametrize("destination", ["/topic/a", "/queue/a", "/temp-queue/a"])
def test_1_0_ends_a_subscription_with_an_id_by_its_destination(
    broker: Broker, destination: str
) -> None:
    client = Client(broker, V10)
    client.subscribe(destination, "one")
    for receipt in "ab":
        frames = client.ask("UNSUBSCRIBE", destination=destination, receipt=receipt)
        assert [frame.headers.get("receipt-id") for frame in frames[-1:]] == [receipt]
        assert broker.statistics.subscription_count == 0
    client.say("UNSUBSCRIBE", destination="/topic/other")
    assert error_of(client).headers["message"] == "no such subscription"


def test_1_0_ends_one_subscription_at_a_time(broker: Broker) -> None:
    """That without an id first, then the oldest one."""
    client = Client(broker, V10)
    client.received()
    for name in ("one", "two"):
        client.subscribe("/topic/a", name)
    client.say("SUBSCRIBE", destination="/topic/a")
    left = []
    for _ in range(3):
        client.say("UNSUBSCRIBE", destination="/topic/a")
        client.publish("/topic/a", b"x")
        left.append([frame.headers["subscription"] for frame in client.received()])
    assert left == [["one", "two"], ["two"], []]
    client.say("UNSUBSCRIBE", id="two", receipt="r")
    assert client.received()[0].command == "RECEIPT"


class TestWithoutId:
    """A 1.0 client may subscribe by destination alone."""

    @pytest.fixture
    def client(self, broker: Broker) -> Client:
        client = Client(broker, V10)
        client.say("SUBSCRIBE", destination="/topic/a")
        client.received()
        return client

    def test_its_messages_have_no_subscription_header(self, client: Client) -> None:
        client.publish("/topic/a", b"x")
        [received] = client.received()
        assert (received.body, "subscription" in received.headers) == (b"x", False)

    def test_it_unsubscribes_by_destination(self, broker: Broker, client: Client) -> None:
        client.say("UNSUBSCRIBE", destination="/topic/a")
        assert not client.session.is_closed
        assert broker.statistics.subscription_count == 0

    def test_it_may_subscribe_to_several_destinations(self, client: Client) -> None:
        client.say("SUBSCRIBE", destination="/topic/b")
        client.publish("/topic/a")
        client.publish("/topic/b")
        assert len(client.received()) == 2

    def test_it_subscribes_once_to_each(self, client: Client) -> None:
        client.say("SUBSCRIBE", destination="/topic/a")
        assert error_of(client).headers["message"] == "subscription id in use"

    def test_it_may_subscribe_to_the_same_with_an_id_as_well(self, client: Client) -> None:
        client.say("SUBSCRIBE", destination="/topic/a", id="/topic/a")
        client.publish("/topic/a")
        received = client.received()
        assert [frame.headers.get("subscription") for frame in received] == [None, "/topic/a"]

    def test_an_id_does_not_end_it(self, client: Client) -> None:
        client.say("UNSUBSCRIBE", id="/topic/a")
        assert error_of(client).headers["message"] == "no such subscription"

    def test_twice_is_no_error(self, client: Client) -> None:
        for receipt in "ab":
            [answer] = client.ask("UNSUBSCRIBE", destination="/topic/a", receipt=receipt)
            assert answer.headers == {"receipt-id": receipt}

    def test_unsubscribe_needs_one_of_both(self, client: Client) -> None:
        client.say("UNSUBSCRIBE")
        assert error_of(client).headers["message"] == "UNSUBSCRIBE without destination"


def test_ids_that_1_0_cannot_tell_apart_are_one(broker: Broker) -> None:
    """They would begin the same MESSAGE frames, so the client could not tell them apart."""
    client = Client(broker, V10)
    client.subscribe("/topic/a", "a\rb")
    client.say("SUBSCRIBE", id="a b", destination="/topic/a")
    assert error_of(client).headers["message"] == "subscription id in use"
    assert broker.statistics.subscription_count == 0


@pytest.mark.parametrize("ack", ["", "Auto", "none", "client "])
def test_an_unknown_ack_mode_is_refused_and_not_repeated(client: Client, ack: str) -> None:
    client.received()
    client.say("SUBSCRIBE", id="1", destination="/topic/a", ack=ack)
    assert error_of(client).headers["message"] == "unknown ack mode"


def test_ack_auto_may_be_said(client: Client) -> None:
    client.received()
    answer = client.ask("SUBSCRIBE", id="1", destination="/topic/a", ack="auto", receipt="r")
    assert [frame.command for frame in answer] == ["RECEIPT"]


# ---------------------------------------------------------------- limits

FEW = Limits(max_subscriptions=3, max_frame_bytes=50, max_headers=5, max_header_bytes=40)


def test_a_session_may_have_as_many_subscriptions_as_its_limit(broker: Broker) -> None:
    client = Client(broker, V12, FEW)
    for number in range(3):
        client.subscribe("/topic/a", str(number))
    assert len(client.session.subscriptions) == 3


def test_a_subscription_over_the_limit_is_refused(broker: Broker) -> None:
    client = Client(broker, V12, FEW)
    for number in range(3):
        client.subscribe("/topic/a", str(number))
    client.say("SUBSCRIBE", id="3", destination="/topic/a")
    error = error_of(client)
    assert error.headers["message"] == "more than 3 subscriptions"
    assert b"subscription.max_count" in error.body
    assert client.close_reason is CloseReason.LIMIT
    assert broker.statistics.subscription_count == 0


def test_ended_subscriptions_do_not_count(broker: Broker) -> None:
    client = Client(broker, V12, FEW)
    for number in range(10):
        client.subscribe("/topic/a", str(number))
        client.say("UNSUBSCRIBE", id=str(number))
    assert not client.session.is_closed


def test_refused_subscriptions_leave_nothing_behind(broker: Broker) -> None:
    client = Client(broker)
    client.subscribe("/topic/a", "1")
    client.say("SUBSCRIBE", id="2", destination="/reply-queue/a")
    assert (broker.statistics.topic_count, broker.statistics.subscription_count) == (0, 0)
    assert len(client.session.subscriptions) == 0


@pytest.mark.parametrize(
    "data, expected",
    [
        (b"SEND\n\n" + b"x" * 51, "frame over the limit of 50 bytes"),
        (b"SEND\ncontent-length:51\n\n", "frame over the limit of 50 bytes"),
        (b"SEND\n" + b"a:b\n" * 6 + b"\n\0", "more than 5 headers"),
        (b"SEND\na:" + b"x" * 40, "header over the limit of 40 bytes"),
    ],
)
def test_a_frame_over_a_limit_is_refused_with_the_limit_s_name(
    broker: Broker, data: bytes, expected: str
) -> None:
    client = Client(broker, V12, FEW)
    client.received()
    client.send(data)
    assert error_of(client).headers["message"] == expected
    assert client.line.closed == [(CloseReason.LIMIT, expected)]


def test_a_stranger_gets_the_room_of_a_login_only(broker: Broker) -> None:
    client = Client(broker, None, replace(FEW, max_login_bytes=60))
    client.send(b"CONNECT\n\n" + b"x" * 100)
    assert error_of(client).headers["message"] == "frame over the limit of 60 bytes before login"
    assert client.close_reason is CloseReason.LIMIT


# ---------------------------------------------------------------- the end


@EVERY_VERSION
def test_disconnect_s_receipt_goes_out_before_the_close(broker: Broker, version: Version) -> None:
    client = Client(broker, version)
    client.received()
    client.session.receive(frame_bytes("DISCONNECT", receipt="bye"))
    assert client.outbound.pending == [b"RECEIPT\nreceipt-id:bye\n\n\0\n"]
    assert client.line.closed == [(CloseReason.DONE, "")]


def test_disconnect_without_receipt_just_closes(client: Client) -> None:
    client.received()
    assert client.ask("DISCONNECT") == []
    assert client.line.closed == [(CloseReason.DONE, "")]


def test_disconnect_ends_all_subscriptions(broker: Broker, client: Client) -> None:
    client.subscribe("/topic/a", "1")
    client.subscribe("/topic/b", "2")
    client.say("DISCONNECT")
    assert (broker.statistics.topic_count, broker.statistics.subscription_count) == (0, 0)
    assert len(client.session.subscriptions) == 0


def test_nothing_is_processed_after_disconnect(broker: Broker) -> None:
    reader, client = connected(broker, V12, V12)
    reader.subscribe("/topic/a")
    client.received()
    client.send(
        frame_bytes("DISCONNECT", receipt="r") + frame_bytes("SEND", destination="/topic/a")
    )
    client.say("SEND", destination="/topic/a")
    assert [frame.command for frame in client.received()] == ["RECEIPT"]
    assert reader.received() == []


def test_a_lost_connection_leaves_nothing_behind(broker: Broker, client: Client) -> None:
    client.subscribe("/topic/a", "1")
    client.subscribe("/topic/a", "2")
    client.subscribe("/topic/b", "3")
    client.session.lost()
    assert (broker.statistics.topic_count, broker.statistics.subscription_count) == (0, 0)
    assert client.session.state is State.CLOSED


def test_a_lost_connection_is_not_closed_again(client: Client) -> None:
    client.session.lost()
    client.session.fail(ProtocolError("too late"))
    client.session.shut_down()
    assert client.line.closed == []


def test_a_connection_may_be_lost_after_its_session_is_closed(
    broker: Broker, client: Client
) -> None:
    client.subscribe("/topic/a")
    client.say("DISCONNECT")
    client.session.lost()
    assert broker.statistics.subscription_count == 0
    assert len(client.line.closed) == 1


def test_bytes_that_come_after_the_end_are_ignored(client: Client) -> None:
    client.received()
    client.session.lost()
    client.send(frame_bytes("SEND", destination="/topic/a") + b"\xff\0")
    assert client.received_bytes() == b""
    assert client.broker.publishing.message_count == 0


# ---------------------------------------------------------------- messages


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        "grüße, 世界 ☃".encode(),
        bytes(range(256)),
        b"\0" * 10,
        b"\n\nSEND\ndestination:/x\n\n\0",
        b"\r\n",
    ],
)
@pytest.mark.parametrize("sender", list(Version))
@pytest.mark.parametrize("receiver", list(Version))
def test_a_body_arrives_as_it_was_sent(
    broker: Broker, sender: Version, receiver: Version, body: bytes
) -> None:
    publisher, reader = connected(broker, sender, receiver)
    reader.subscribe("/topic/a")
    publisher.publish("/topic/a", body)
    [received] = reader.received()
    assert received.body == body
    assert received.headers["content-length"] == str(len(body))


def test_a_body_without_content_length_gets_one(broker: Broker) -> None:
    publisher, reader = connected(broker, V12, V12)
    reader.subscribe("/topic/a")
    publisher.say("SEND", b"hello\n", destination="/topic/a")
    assert reader.received()[0].headers["content-length"] == "6"


def test_the_publisher_s_own_headers_are_passed_on(broker: Broker) -> None:
    publisher, reader = connected(broker, V12, V12)
    reader.subscribe("/topic/a", "1")
    own = {"content_type": "application/json", "x_room": "a\\cb", "priority": "4", "id": "7"}
    publisher.publish("/topic/a", b"{}", receipt="r", **own)
    [received] = reader.received()
    assert received.headers == {
        "subscription": "1",
        "message-id": received.headers["message-id"],
        "destination": "/topic/a",
        "content-length": "2",
        "content-type": "application/json",
        "x-room": "a:b",
        "priority": "4",
        "id": "7",
    }


def test_a_client_gets_its_own_messages_too(client: Client) -> None:
    client.subscribe("/topic/a")
    client.publish("/topic/a", b"x")
    assert [frame.body for frame in client.received()] == [b"x"]


def test_messages_keep_the_order_in_which_they_were_sent(broker: Broker) -> None:
    reader, *publishers = connected(broker, V12, V12, V10)
    reader.subscribe("/topic/a")
    for number in range(20):
        publishers[number % 2].publish("/topic/a", str(number).encode())
    assert [int(frame.body) for frame in reader.received()] == list(range(20))


def test_subscribers_of_every_version_get_one_topic_s_messages(broker: Broker) -> None:
    publisher, *readers = connected(broker, V12, V10, V11, V12)
    for reader in readers:
        reader.subscribe("/topic/a\\cb" if reader.session.version is not V10 else "/topic/a:b")
        reader.received()
    publisher.send(b"SEND\ndestination:/topic/a\\cb\nx\\cy:1\\r\\n2\\\\\\c\n\nhi\0")
    tails = [reader.received_bytes().partition(b"destination:")[2] for reader in readers]
    assert tails == [
        b"/topic/a:b\ncontent-length:2\nx y:1  2\\:\n\nhi\0\n",
        b"/topic/a\\cb\ncontent-length:2\nx\\cy:1\r\\n2\\\\\\c\n\nhi\0\n",
        b"/topic/a\\cb\ncontent-length:2\nx\\cy:1\\r\\n2\\\\\\c\n\nhi\0\n",
    ]


@pytest.mark.parametrize("sender", list(Version))
def test_publishers_of_every_version_reach_one_topic(broker: Broker, sender: Version) -> None:
    reader, publisher = connected(broker, V12, sender)
    reader.subscribe("/topic/grüße")
    publisher.publish("/topic/grüße", b"x", x="ü\\\\")
    assert reader.received()[0].headers["x"] == ("ü\\\\" if sender is V10 else "ü\\")


def test_a_subscription_s_id_is_escaped_in_its_messages(client: Client) -> None:
    client.subscribe("/topic/a", "a\\cb\\\\")
    client.publish("/topic/a")
    assert b"\nsubscription:a\\cb\\\\\n" in client.received_bytes()


def test_observers_learn_what_clients_publish(broker: Broker, client: Client) -> None:
    seen: list[Message] = []
    broker.events.add(Listener(seen.append))
    client.publish("/topic/a", b"hello", content_type="text/plain", receipt="r")
    [message] = seen
    assert (message.destination, message.body) == ("/topic/a", b"hello")
    assert passed_on_headers(message) == {"content-type": "text/plain"}


# ---------------------------------------------------------------- in any chunks


def conversation(version: Version) -> bytes:
    """Everything a client may say, from login to goodbye, with a change of terms in between."""
    login = frame_bytes("CONNECT", login="a\\nb", passcode="\\t", accept_version=version.value)
    return b"\n".join(
        [
            login,
            frame_bytes("SUBSCRIBE", id="1", destination="/topic/a", receipt="1"),
            frame_bytes("SEND", b"\0\n\0", destination="/topic/a", content_length="3"),
            b"\r\n" + frame_bytes("SEND", b"x\r\ny", destination="/topic/a", x="\\\\", receipt="2"),
            frame_bytes("UNSUBSCRIBE", id="1"),
            b"DISCONNECT\nreceipt:3\n\0\n",
        ]
    )


@EVERY_VERSION
def test_a_conversation_is_the_same_wherever_its_bytes_are_split(version: Version) -> None:
    data = conversation(version)
    said = set()
    chunkings = [cut(data, place) for place in range(len(data))]
    for chunks in [*chunkings, cut(data, *range(1, len(data)))]:
        client = Client(Broker("epoch"), None)
        for chunk in chunks:
            client.send(chunk)
        said.add(client.received_bytes())
        assert client.line.closed == [(CloseReason.DONE, "")]
        assert client.broker.statistics.subscription_count == 0
    [answer] = said
    assert answer.count(b"MESSAGE\n") == 2
    assert answer.endswith(b"RECEIPT\nreceipt-id:3\n\n\0\n")


@EVERY_VERSION
def test_an_unfinished_frame_has_no_effect(version: Version) -> None:
    data = frame_bytes("SUBSCRIBE", id="1", destination="/topic/a", receipt="1")
    for place in range(len(data)):
        client = Client(Broker("epoch"), version)
        client.received()
        client.send(data[:place])
        assert client.received_bytes() == b""
        assert client.broker.statistics.subscription_count == 0


def test_the_terms_of_connect_hold_for_the_rest_of_its_chunk(broker: Broker) -> None:
    client = Client(broker, None, Limits(max_login_bytes=100))
    body = b"x" * 500
    client.send(
        b"CONNECT\naccept-version:1.1\n\n\0"
        + frame_bytes("SUBSCRIBE", id="1", destination="/topic/a")
        + frame_bytes("SEND", body, destination="/topic/a")
    )
    connected_frame, message = client.received()
    assert connected_frame.headers["version"] == "1.1"
    assert message.body == body


def test_an_error_before_login_can_be_read_by_every_version(stranger: Client) -> None:
    stranger.say("NONSENSE")
    data = stranger.received_bytes()
    assert read_one(data, V10) == read_one(data, V11) == read_one(data, V12)
