"""What the server adds to messages: its own time, and who sent them. Neither can be forged."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from support.chat import ROOM, Party
from support.core import Client, Server
from support.history import Keeper

from rtchat.core.chat.gate import open_chat
from rtchat.core.chat.limits import ChatPolicy
from rtchat.core.history.rules import HistoryRule
from rtchat.core.stomp.frames import Frame, Version
from rtchat.net.json_codec import JSON

PLAIN = "/topic/other"
FORGED = {"timestamp": "5", "x_sender_id": "0"}


@pytest.fixture
def party() -> Party:
    return Party()


def marks(frame: Frame) -> tuple[str | None, str | None]:
    """Return the time and the sender's id in a message."""
    return frame.headers.get("timestamp"), frame.headers.get("x-sender-id")


def id_of(client: Client) -> str:
    """Return the public id of the person that a client of a party is."""
    line = next(
        line
        for gate in client.broker.router.gates
        for principal, line in (gate.sender_lines_for(ROOM) or {}).items()
        if principal is client.session
    )
    return line.decode().removeprefix("x-sender-id:").rstrip("\n")


def at(server: Server, seconds: float) -> None:
    """Turn the server's clock."""
    server.advance(seconds - server.broker.now)


@pytest.mark.parametrize("version", list(Version))
def test_a_room_says_when_and_by_whom(party: Party, version: Version) -> None:
    answer = Client(party.server, None).connect(nick="anna", x_presence_token="t")
    anna = party.client("anna", "t", window="2")
    reader = party.client(version=version)
    reader.subscribe(ROOM)
    at(party.server, 1234.5678)
    anna.publish(ROOM, b"x", **FORGED)
    frame = reader.message()
    assert marks(frame) == ("1234567", answer.headers["x-presence-id"])
    assert list(frame.headers).count("timestamp") == 1
    # A second one, with the same head to the byte, by another person at another time.
    bob = party.client("bob", "u")
    at(party.server, 1300)
    bob.publish(ROOM, b"x", **FORGED)
    assert marks(reader.message()) == ("1300000", id_of(bob))


def test_a_1_0_publisher_cannot_forge_them_with_blanks(party: Party) -> None:
    bob = party.client("bob", "t", version=Version.V10)
    reader = party.client(version=Version.V10)
    reader.subscribe(ROOM)
    bob.send(b"SEND\ndestination:/topic/chat\n timestamp :5\n x-sender-id :0\n\nx\0")
    assert marks(reader.message()) == ("1000000", id_of(bob))
    carl = party.client("carl", "u")
    carl.send(b"SEND\ndestination:/topic/chat\ntimestamp :5\nx-sender-id :0\n\nx\0")
    assert marks(reader.message()) == ("1000000", id_of(carl))


def test_a_client_without_a_name_has_no_id(party: Party) -> None:
    reader = party.client()
    reader.subscribe(ROOM)
    party.client().publish(ROOM, b"x", **FORGED)
    assert marks(reader.message()) == ("1000000", None)


def test_the_windows_of_one_person_send_as_one(party: Party) -> None:
    one = party.in_room("anna", "t", window="1")
    two = party.client("anne", "t", window="2")
    for client in (one, two):
        client.publish(ROOM, b"x")
    ids = {marks(frame)[1] for frame in one.messages()}
    assert ids == {id_of(one)}
    # Another person with the name that she had is another person.
    party.client("anna", "u").publish(ROOM, b"x")
    assert marks(one.message())[1] not in {None, *ids}


def test_a_plain_topic_passes_on_what_its_publisher_says(party: Party) -> None:
    anna = party.in_room("anna", "t", room=PLAIN)
    anna.publish(PLAIN, b"x", **FORGED)
    assert marks(anna.message()) == ("5", None)
    anna.publish(PLAIN, b"x")
    assert marks(anna.message()) == (None, None)


@pytest.mark.parametrize("order", ["room first", "room last"])
def test_a_message_to_a_room_and_elsewhere(party: Party, order: str) -> None:
    anna = party.in_room("anna", "t")
    anna.subscribe(PLAIN, "1")
    names = [ROOM, PLAIN] if order == "room first" else [PLAIN, ROOM]
    for _ in range(2):
        anna.publish(",".join(names), b"x", timestamp="5")
        found = {frame.headers["destination"]: marks(frame) for frame in anna.messages()}
        assert found == {ROOM: ("1000000", id_of(anna)), PLAIN: ("5", None)}


def test_a_transaction_is_of_the_time_of_its_commit(party: Party) -> None:
    anna = party.in_room("anna", "t")
    anna.say("BEGIN", transaction="t")
    anna.publish(ROOM, b"x", transaction="t", timestamp="5")
    at(party.server, 1100)
    anna.say("COMMIT", transaction="t")
    assert marks(anna.message()) == ("1100000", id_of(anna))


def test_selectors_see_what_the_server_says(party: Party) -> None:
    anna, reader = party.client("anna", "t"), party.client()
    reader.subscribe(ROOM, selector="timestamp > 1050000")
    anna.publish(ROOM, b"early", timestamp="2000000")
    at(party.server, 1100)
    anna.publish(ROOM, b"late", timestamp="5")
    assert reader.bodies() == ["late"]


def test_a_private_message_has_the_servers_time(party: Party) -> None:
    anna, bob = party.client("anna", "t"), party.client("bob", "u")
    bob.subscribe("/user/queue/private")
    anna.publish("/user/bob/queue/private", b"x", **FORGED)
    assert marks(bob.message()) == ("1000000", id_of(anna))


def test_connected_tells_people_the_servers_time(party: Party) -> None:
    at(party.server, 1234.5)
    answer = Client(party.server, None).connect(nick="anna", x_presence_token="t")
    assert answer.headers["timestamp"] == "1234500"


# ---------------------------------------------------------------- what is kept


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    rules = (HistoryRule("/topic/chat*", 1000, 7 * 86400.0), HistoryRule("/topic/news", 10, 0.0))
    return with_people(Keeper(tmp_path / "run1.sqlite", rules))


def with_people(keeper: Keeper) -> Keeper:
    open_chat(keeper.broker, ChatPolicy(), JSON)
    return keeper


def person(keeper: Keeper, nick: str, token: str) -> Client:
    client = Client(keeper, None)
    assert client.connect(nick=nick, x_presence_token=token).command == "CONNECTED"
    return client


@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_what_is_kept_says_later_what_it_said_live(
    keeper: Keeper, tmp_path: Path, end: str
) -> None:
    anna = person(keeper, "anna", "t")
    reader = keeper.listen(ROOM)
    at(keeper, 2000.125)
    anna.publish(ROOM, b"x", type="a", **FORGED)
    anna.publish(ROOM, b"y")
    keeper.client().publish(ROOM, b"z", **FORGED)
    keeper.settle()
    live = reader.messages()
    assert [marks(frame) for frame in live] == [
        ("2000125", id_of(anna)),
        ("2000125", id_of(anna)),
        ("2000125", None),
    ]
    later = with_people(keeper.stop() if end == "stopped" else keeper.kill(tmp_path))
    at(later, 9000)
    for version in Version:
        again = later.listen(ROOM, version=version).messages()
        assert [marks(frame) for frame in again] == [marks(frame) for frame in live]
        assert again[0].headers["type"] == "a"


def test_a_kept_topic_that_is_no_room_has_the_time_alone(keeper: Keeper) -> None:
    reader = keeper.listen("/topic/news")
    person(keeper, "anna", "t").publish("/topic/news", b"x", **FORGED)
    keeper.settle()
    assert marks(reader.message()) == (str(int(keeper.broker.now * 1000)), None)


def test_a_time_that_an_older_server_kept_from_a_publisher_does_not_count(keeper: Keeper) -> None:
    keeper.fill(ROOM, 1)
    for client in keeper.clients:
        client.drop()
    keeper.settle()
    keeper.store.file.close()
    with sqlite3.connect(keeper.path) as file:
        [(head,)] = file.execute("SELECT headers FROM message").fetchall()
        file.execute("UPDATE message SET headers = ?", (b"timestamp:5\n" + head,))
    later = with_people(Keeper(keeper.path, keeper.rules, run=2))
    [frame] = later.listen(ROOM).messages()
    assert marks(frame) == (str(int(keeper.broker.now * 1000)), None)
