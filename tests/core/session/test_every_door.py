"""Every verb at every kind of destination through every door, against the naive model of rights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import count

import pytest
from support.examples import IS_SOAK
from support.house import WIRES, Guest, House
from support.rights import groups_of, line, may
from support.stomp import Frame, frame_bytes, message_bytes

from rtchat.core.auth.permissions import RightsLine, Verb
from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.chat.limits import ChatPolicy

pytestmark = [pytest.mark.soak]

READ, WRITE = Verb.READ, Verb.WRITE

GROUPS = {"staff": ["ada"], "others": ["bob"]}
USERS = ("ada", "bob", "boss")
PUBSUB = {"orders": ("/topic/orders", "/queue/orders")}
EVERYTHING = ("all #", "all /queue/#", "all /presence/#")
ALWAYS = (line("boss", *EVERYTHING), line("ada", "write /topic/free", "read /topic/free"))
"""What is true besides the rights that a test is about."""

TOPICS = (
    "/topic/a",
    "a/plain/name",
    "/topic/chat",  # a room that is kept
    "/topic/chat.tea",
    "/topic/log.1",  # kept, and no room
    "/topic/typing.tea",
    "/topic/typing",
)
QUEUES = ("/queue/q", "/queue/DLQ.q", "/queue/ada")
KEPT = ("/topic/chat", "/topic/chat.tea", "/topic/log.1")
OTHER_SENDS = (
    "/user/bob/queue/private",
    "/pubsub/orders",
    "/presence/topic/a",
    "/session/token",
    "/session/other",
    "/temp-queue/mine",
    "/reply-queue/unknown",
)
PATTERNS = ("/topic/*", "/topic/#", "/topic/chat.#", "/topic/typing.>", "#", "*.plain.*")
OTHER_READS = (
    "/presence/topic/a",
    "/presence/topic/chat.tea",
    "/presence/queue/q",
    "/presence/topic/typing.tea",
    "/presence/rooms",
    "/presence/topic/*",
    "/user/queue/private",
    "/user/bob/queue/private",
    "/user/#",
    "/pubsub/orders",
    "/session/token",
    "/temp-queue/mine",
    "/reply-queue/unknown",
)

_numbers = count()


def rights_about(destination: str) -> Iterator[tuple[RightsLine, ...]]:
    """Return sections ``[rights]`` in which ada may do more or less with a destination."""
    place = destination if destination.count("/") > 1 or "." in destination else "/topic/other"
    if destination.startswith(("/temp-queue", "/reply-queue", "/pubsub", "/session")):
        place = "/topic/orders"  # no right can be about the destination itself
    yield ()
    for verbs in ("read", "write", "read write", "admin"):
        yield (line("ada", f"{verbs} {place}"),)
    yield (line("ada", "read #", "write /queue/#"),)
    yield (line("ada", *EVERYTHING),)
    if not IS_SOAK:
        return
    yield (line("@staff", f"all {place}"),)
    yield (line("*", f"read write {place}"),)
    yield (line("@others", f"all {place}"), line("bob", f"all {place}"))
    yield (line("anonymous", f"all {place}"),)
    yield (line("ada", "read write /topic/*", "write /queue/{user}", "read /queue/q"),)
    yield (line("ada", "write /topic/chat.#", "read /topic/chat.#", "read /topic/orders"),)
    yield (line("ada", "read write /user/#", "write /topic/orders"),)
    yield (line("ada", "write /queue/orders", "write /topic/orders", "read /presence/#"),)


def allows(lines: tuple[RightsLine, ...], verb: Verb, destination: str) -> bool:
    groups = groups_of(GROUPS, "ada")
    return may((*ALWAYS, *lines), "ada", groups, verb, destination)


def may_send(lines: tuple[RightsLine, ...], destination: str) -> bool:
    names = [destination, *PUBSUB.get(destination.removeprefix("/pubsub/"), ())]
    return all(allows(lines, WRITE, name) for name in names)


class Walk:
    """A house with a boss who sees all that arrives, and ada at the doors.

    Attributes:
        house: The house.
        boss: May do everything.
    """

    def __init__(self, lines: tuple[RightsLine, ...], watched: tuple[str, ...] = ()) -> None:
        self.lines = lines
        self.house = House([*ALWAYS, *lines], GROUPS, users=USERS, pubsub=PUBSUB)
        self.boss = self.house.guest("boss")
        self.bob = self.house.guest("bob", nick="bob")
        self.bob.subscribe("/user/queue/private")
        for number, destination in enumerate((*watched, "/topic/free")):
            self.boss.subscribe(destination, str(number))
        self.seen()

    def use(self, lines: tuple[RightsLine, ...]) -> None:
        self.house.change([*ALWAYS, *lines])

    def seen(self) -> list[Frame]:
        return self.boss.messages() + self.bob.messages()

    def close(self) -> None:
        self.house.close()


def check_refused(guest: Guest, frames: list[Frame], verb: str, *destinations: str) -> None:
    """See that a client was told so, about one of these destinations, and let go."""
    error = frames[-1]
    assert error.command == "ERROR", frames
    assert error["message"] in {f"not allowed: {verb} {one}" for one in destinations}
    assert all(frame.command in ("RECEIPT", "CONNECTED") for frame in frames[:-1]), frames
    assert guest.has_ended
    assert guest.close_code in (None, 3502)
    assert (guest.close_code is None) == (guest._websocket is None)


# ---------------------------------------------------------------- SEND


Door = Callable[[Walk, Guest, str, bytes], tuple[bytes, int]]
"""Returns what ada sends so that a message goes to a destination, and how often it goes there."""


def plain(walk: Walk, ada: Guest, destination: str, body: bytes) -> tuple[bytes, int]:
    return frame_bytes("SEND", body, destination=destination, x_user="boss"), 1


def receipt(walk: Walk, ada: Guest, destination: str, body: bytes) -> tuple[bytes, int]:
    return message_bytes(destination, body, receipt="r"), 1


def a_run(walk: Walk, ada: Guest, destination: str, body: bytes) -> tuple[bytes, int]:
    return message_bytes(destination, body) * 20, 20


def after_another_has_sent(
    walk: Walk, ada: Guest, destination: str, body: bytes
) -> tuple[bytes, int]:
    """The head is known, and so is its route, which says nothing about ada."""
    data = message_bytes(destination, body)
    if not destination.startswith(("/user/", "/session/", "/presence/", "/temp", "/reply")):
        for copies in (1, 1, 30):
            walk.boss.send(data * copies)
        walk.seen()
    return data, 1


def a_run_after_another(walk: Walk, ada: Guest, destination: str, body: bytes) -> tuple[bytes, int]:
    data, _ = after_another_has_sent(walk, ada, destination, body)
    return data * 30, 30


def with_others_first(walk: Walk, ada: Guest, destination: str, body: bytes) -> tuple[bytes, int]:
    ada.send(message_bytes("/topic/free", b"?") * 3)
    walk.seen()
    return message_bytes("/topic/free", b"?") * 2 + message_bytes(destination, body), 1


def transaction(walk: Walk, ada: Guest, destination: str, body: bytes) -> tuple[bytes, int]:
    begin, commit = (frame_bytes(one, transaction="t") for one in ("BEGIN", "COMMIT"))
    return begin + message_bytes(destination, body, transaction="t") + commit, 1


def commit_after_a_change(
    walk: Walk, ada: Guest, destination: str, body: bytes
) -> tuple[bytes, int]:
    walk.use((line("ada", "write #", "write /queue/#", "write /user/#", "write /presence/#"),))
    begin = frame_bytes("BEGIN", transaction="t")
    ada.send(begin + message_bytes(destination, body, transaction="t"))
    walk.use(walk.lines)
    return frame_bytes("COMMIT", transaction="t", receipt="r"), 1


def after_a_change(walk: Walk, ada: Guest, destination: str, body: bytes) -> tuple[bytes, int]:
    """What she was allowed has been remembered in all ways."""
    data = message_bytes(destination, body)
    if not destination.startswith(("/user/", "/session/", "/presence/", "/temp", "/reply")):
        walk.use((line("ada", "write #", "write /queue/#"),))
        for copies in (1, 1, 30):
            ada.send(data * copies)
        walk.use(walk.lines)
        walk.seen()
    return data, 1


def composite_first(walk: Walk, ada: Guest, destination: str, body: bytes) -> tuple[bytes, int]:
    return message_bytes(f"{destination},/topic/free", body), 1


def composite_last(walk: Walk, ada: Guest, destination: str, body: bytes) -> tuple[bytes, int]:
    return message_bytes(f"/topic/free,{destination}", body), 1


def with_a_reply(walk: Walk, ada: Guest, destination: str, body: bytes) -> tuple[bytes, int]:
    return message_bytes(destination, body, reply_to="/temp-queue/answers"), 1


SEND_DOORS: tuple[Door, ...] = (
    plain,
    receipt,
    a_run,
    after_another_has_sent,
    a_run_after_another,
    with_others_first,
    transaction,
    commit_after_a_change,
    after_a_change,
    composite_first,
    composite_last,
    with_a_reply,
)

_NO_PART = ("/user/", "/temp-queue/", "a/plain/name")
"""Destinations that are no part of a composite one, or mean something else there."""

_NEVER = ("/presence/", "/session/other")
"""Destinations that take no message of a client, so its rights do not matter."""


def arrivals(destination: str) -> tuple[str, ...]:
    """Return where a message is seen that goes to a destination."""
    if destination.startswith("/pubsub/"):
        return PUBSUB[destination.removeprefix("/pubsub/")]
    if destination.startswith("/user/"):
        return ("/user/queue/private",)
    return (destination,) if destination in TOPICS + QUEUES else ()


@pytest.mark.parametrize("destination", [*TOPICS, *QUEUES, *OTHER_SENDS])
def test_what_is_sent_goes_where_it_may(destination: str) -> None:
    watched = arrivals(destination) if not destination.startswith("/user/") else ()
    for lines in rights_about(destination):
        walk = Walk(lines, watched)
        for number, door in enumerate(SEND_DOORS):
            if "composite" in door.__name__ and destination.startswith(_NO_PART):
                continue
            body = b"message %06d" % next(_numbers)
            ada = walk.house.guest("ada", WIRES[number % 2], nick="ada")
            data, times = door(walk, ada, destination, body)
            frames = ada.ask(data)
            seen = [frame for frame in walk.seen() if frame.body == body]
            where = f"{door.__name__} to {destination} with {lines}: {frames}"
            if destination.startswith(_NEVER):
                assert frames[-1].command == "ERROR", where
                assert seen == [], where
            elif not may_send(lines, destination):
                whole = [destination, f"{destination},/topic/free", f"/topic/free,{destination}"]
                check_refused(ada, frames, "write", *whole)
                assert seen == [], where
            else:
                told = [frame["message"] for frame in frames if frame.command == "ERROR"]
                assert not any(text.startswith("not allowed: ") for text in told), where
                places = [frame["destination"] for frame in seen if frame["destination"] in watched]
                assert sorted(places) == sorted(watched * times), where
                assert all(frame["x-user"] == "ada" for frame in seen), where
            ada.leave()
        walk.close()


@pytest.mark.parametrize("wire", WIRES)
def test_an_answer_goes_to_its_address_without_a_right(wire: str) -> None:
    house = House([line("ada", "write /queue/jobs"), line("bob", "read /queue/jobs")], users=USERS)
    ada, bob = house.guest("ada", wire), house.guest("bob")
    bob.subscribe("/queue/jobs")
    ada.send(message_bytes("/queue/jobs", b"job", reply_to="/temp-queue/mine"))
    [job] = bob.messages()
    bob.send(message_bytes(job["reply-to"], b"done") * 3)
    assert [answer.body for answer in ada.messages()] == [b"done"] * 3
    # The name that ada has for it is hers alone, and no address of hers is bob's to read.
    frames = bob.ask(frame_bytes("SUBSCRIBE", id="1", destination=job["reply-to"]))
    check_refused(bob, frames, "read", job["reply-to"])
    ada.send(message_bytes("/temp-queue/mine", b"to myself"))
    assert [answer.body for answer in ada.messages()] == [b"to myself"]
    house.close()


# ---------------------------------------------------------------- SUBSCRIBE


def subscribe(destination: str, **headers: str) -> bytes:
    return frame_bytes("SUBSCRIBE", id="0", destination=destination, **headers)


STARTS = ("first", "last", "next", "offset=0", "offset=99", "timestamp=0")
OPTIONS: tuple[dict[str, str], ...] = (
    {},
    {"receipt": "r"},
    {"ack": "client"},
    {"ack": "client-individual", "prefetch_count": "1"},
    {"selector": "x IS NULL"},
    {"selector": "x IS NULL", "ack": "client"},
    {"x_slow": "drop-oldest"},
    {"durable": "true", "exclusive": "true", "activemq.subscriptionName": "mine"},
)


def options_for(destination: str) -> Iterator[dict[str, str]]:
    """Return headers with which a client may subscribe."""
    yield from OPTIONS
    if destination in KEPT:
        for start in STARTS:
            yield {"x_stream_offset": start}
        yield {"x_stream_offset": "first", "ack": "client"}
    if destination.startswith("/queue/"):
        yield {"browser": "true"}


def names_for(destination: str) -> list[str]:
    """Return where messages are sent, so that a subscription may get some of them."""
    return [destination] if destination in QUEUES else [*TOPICS, *QUEUES]


@pytest.mark.parametrize("destination", [*TOPICS, *QUEUES, *PATTERNS, *OTHER_READS])
def test_what_is_read_may_be_read(destination: str) -> None:
    """Whatever comes, before and after, is of a destination that the model lets ada read."""
    names = names_for(destination)
    for lines in rights_about(destination):
        walk = Walk(lines)
        house = walk.house
        bob = house.guest("bob", nick="robert")
        for number, options in enumerate(options_for(destination)):
            walk.boss.send(b"".join(message_bytes(name, b"before") for name in names))
            ada = house.guest("ada", WIRES[number % 2], nick="ada")
            frames = ada.ask(subscribe(destination, **options))
            where = f"{options} of {destination} with {lines}: {frames}"
            if not allows(lines, READ, destination):
                check_refused(ada, frames, "read", destination)
            else:
                assert not told_not_allowed(frames), where
            walk.boss.send(b"".join(message_bytes(name, b"after") for name in names))
            bob.send(message_bytes("/user/ada/queue/private", b"a secret"))
            frames += ada.received()
            got = [frame for frame in frames if frame.command == "MESSAGE"]
            places = {frame["destination"] for frame in got} - {"/temp-queue/mine"}
            assert all(allows(lines, READ, place) for place in places), where
            bodies = [frame.body for frame in got]
            if allows(lines, READ, destination) and destination in TOPICS + QUEUES:
                assert b"after" in bodies or "browser" in options or "prefetch_count" in options
            check_rooms(lines, got)
            ada.leave()
        walk.close()


def told_not_allowed(frames: list[Frame]) -> bool:
    return any(one.headers.get("message", "").startswith("not allowed: ") for one in frames)


def check_rooms(lines: tuple[RightsLine, ...], got: list[Frame]) -> None:
    """See that no list tells of a room that may not be read."""
    for frame in got:
        if frame["destination"] == "/presence/rooms":
            for room in json.loads(frame.body)["rooms"]:
                assert allows(lines, READ, room["destination"]), room


@pytest.mark.parametrize("destination", [*TOPICS, *QUEUES, "/topic/chat.#", "/presence/topic/a"])
@pytest.mark.parametrize("wire", WIRES)
def test_who_may_read_no_more_gets_no_more(destination: str, wire: str) -> None:
    place = destination.removeprefix("/presence").replace("typing", "chat")
    for options in options_for(destination):
        house = House([*ALWAYS, line("ada", f"read {place}")], users=USERS)
        boss, ada = house.guest("boss"), house.guest("ada", wire)
        frames = ada.ask(subscribe(destination, **options))
        assert not told_not_allowed(frames)
        house.change([*ALWAYS, line("ada", f"write {place}")])
        names = names_for(destination)
        boss.send(b"".join(message_bytes(name, b"a secret") * 3 for name in names))
        frames = [one for one in ada.received() if b"secret" in one.body or one.command == "ERROR"]
        check_refused(ada, frames, "read", destination)
        house.close()


@pytest.mark.parametrize("wire", WIRES)
def test_no_change_of_a_room_is_told_to_those_who_may_not_read_it(wire: str) -> None:
    """The list, what follows it, and who is there and goes."""
    tea, milk = "/topic/chat.tea", "/topic/chat.milk"
    house = House([*ALWAYS, line("ada", f"read {tea}"), line("bob", "all #")], users=USERS)
    ada = house.guest("ada", wire)
    ada.subscribe("/presence/rooms", "rooms")
    ada.subscribe(f"/presence{tea}", "people")

    def told() -> bytes:
        bob = house.guest("bob", nick="bob", x_presence_token="t")
        for number, room in enumerate((tea, milk)):
            bob.subscribe(room, str(number))
            bob.send(message_bytes(room, b'{"nick": "bob", "text": "x"}'))
        house.wait(3)
        bob.leave()
        house.wait(90)
        return b"".join(frame.body for frame in ada.messages())

    first = told()
    assert tea.encode() in first
    assert milk.encode() not in first
    assert b'"bob"' in first
    house.change([*ALWAYS, line("ada", f"read {milk}", f"read {tea}"), line("bob", "all #")])
    assert milk.encode() in told()
    house.close()


@pytest.mark.parametrize("wire", WIRES)
def test_nothing_is_done_for_a_client_before_it_is_known(wire: str) -> None:
    house = House([line("boss", *EVERYTHING), line("anonymous", "read /topic/a")], users=USERS)
    boss = house.guest("boss")
    boss.subscribe("/topic/b")
    early = subscribe("/topic/b") + message_bytes("/topic/b", b"early")
    stranger = house.stranger("", wire)
    frames = stranger.ask(early + stranger.hello())
    assert [frame.command for frame in frames] == ["ERROR"]
    stranger = house.stranger("ada", wire)
    frames = stranger.ask(stranger.hello().replace(b"the secret", b"no secret") + early)
    assert [frame.headers.get("message") for frame in frames] == ["access refused"]
    assert stranger.close_code in (None, 3501)
    stranger = house.stranger("", wire)
    frames = stranger.ask(stranger.hello() + subscribe("/topic/a") + early)
    check_refused(stranger, frames, "read", "/topic/b")
    # Nor is a second CONNECT a way to other rights.
    stranger = house.stranger("", wire)
    frames = stranger.ask(stranger.hello() + house.stranger("boss").hello() + early)
    assert [frame.command for frame in frames] == ["CONNECTED", "ERROR"]
    assert boss.messages() == []
    house.close()


# ---------------------------------------------------------------- what has begun


@pytest.mark.parametrize("ack", ["client", "client-individual"])
@pytest.mark.parametrize("command", ["ACK", "NACK"])
def test_the_deliveries_of_another_are_not_to_be_settled(ack: str, command: str) -> None:
    house = House(
        [line("boss", *EVERYTHING), line("ada", "read /queue/a"), line("bob", "all /queue/q")],
        users=USERS,
    )
    boss, ada, bob = house.guest("boss"), house.guest("ada"), house.guest("bob")
    ada.subscribe("/queue/a", ack=ack)
    bob.subscribe("/queue/q", ack=ack)
    boss.send(message_bytes("/queue/q", b"job"))
    [job] = bob.messages()
    more = {"requeue": "false"} if command == "NACK" else {}
    assert [one.command for one in ada.ask(frame_bytes(command, id=job["ack"], **more))] == [
        "ERROR"
    ]
    bob.leave()
    again = house.guest("bob")
    again.subscribe("/queue/q", ack=ack)
    assert [one.body for one in again.messages()] == [b"job"]
    house.close()


@pytest.mark.parametrize("wire", WIRES)
def test_a_dead_letter_is_read_by_those_who_may(wire: str) -> None:
    house = House(
        [line("boss", *EVERYTHING), line("ada", "all /queue/q"), line("bob", "read /queue/DLQ.q")],
        users=USERS,
    )
    boss, ada, bob = house.guest("boss"), house.guest("ada", wire), house.guest("bob", wire)
    ada.subscribe("/queue/q", ack="client-individual")
    boss.send(message_bytes("/queue/q", b"job"))
    [job] = ada.messages()
    # Her NACK needs no right to write there, and gives her none to read it.
    ada.send(frame_bytes("NACK", id=job["ack"], requeue="false"))
    bob.subscribe("/queue/DLQ.q")
    assert [one.body for one in bob.messages()] == [b"job"]
    check_refused(ada, ada.ask(subscribe("/queue/DLQ.q")), "read", "/queue/DLQ.q")
    house.close()


@pytest.mark.parametrize("wire", WIRES)
def test_a_send_that_waits_for_a_full_queue_is_looked_at_again(wire: str) -> None:
    allowed = (line("ada", "write /queue/q", "read /topic/free"),)
    house = House(
        [line("boss", *EVERYTHING), *allowed],
        users=USERS,
        limits=BrokerLimits(max_queue_messages=2),
    )
    boss, ada = house.guest("boss"), house.guest("ada", wire)
    ada.send(message_bytes("/queue/q", b"1") * 4)
    assert ada.received() == []
    house.change([line("boss", *EVERYTHING), line("ada", "read /topic/free")])
    boss.subscribe("/queue/q")
    assert [one.body for one in boss.messages()] == [b"1"] * 2
    check_refused(ada, ada.received(), "write", "/queue/q")
    house.close()


@pytest.mark.parametrize("wire", WIRES)
def test_a_send_that_waits_for_its_rate_is_looked_at_again(wire: str) -> None:
    house = House(
        [line("boss", *EVERYTHING), line("ada", "write /topic/a")],
        users=USERS,
        policy=ChatPolicy(messages_per_second=1, burst=2),
    )
    boss, ada = house.guest("boss"), house.guest("ada", wire)
    boss.subscribe("/topic/a")
    ada.send(message_bytes("/topic/a", b"1") * 4)
    assert len(boss.messages()) == 2
    house.change([line("boss", *EVERYTHING), line("ada", "read /topic/a")])
    house.wait(5)
    assert boss.messages() == []
    check_refused(ada, ada.received(), "write", "/topic/a")
    house.close()


@pytest.mark.parametrize("wire", WIRES)
def test_a_private_message_by_id_needs_the_right_for_the_nick(wire: str) -> None:
    """The id names the receiver, whatever nick the destination has."""
    lines = [line("*", "read /topic/a"), line("ada", "write /user/bob/queue/private")]
    house = House(lines, users=USERS)
    ids = {}
    for user in ("bob", "boss"):
        guest = house.stranger(user)
        [connected] = guest.ask(guest.hello(nick=user))
        ids[user] = connected["x-presence-id"]
        guest.subscribe("/user/queue/private")
    bob, boss = house.guests
    ada = house.guest("ada", wire, nick="ada")
    ada.send(message_bytes("/user/bob/queue/private", b"1", x_receiver_id=ids["bob"]))
    assert [one.body for one in bob.messages()] == [b"1"]
    frames = ada.ask(message_bytes("/user/bob/queue/private", b"2", x_receiver_id=ids["boss"]))
    check_refused(ada, frames, "write", "/user/bob/queue/private")
    assert boss.messages() == []
    house.close()
