"""A name on the screen is who it says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

import pytest
from support.hostile import NO_END, GuardedServer, Scene, Stranger, attack
from support.stomp import Frame, frame_bytes, message_bytes

pytestmark = [pytest.mark.live, pytest.mark.soak]

Serve = Callable[..., GuardedServer]

ROOM = "/topic/chat"
PRIVATE = "/user/queue/private"


def person(scene: Scene, nick: str) -> Stranger:
    """Return a client that holds a nick and hears what is said in the room, and to it."""
    client = scene.stranger(nick=nick, x_presence_token=f"secret of {nick}", source="127.0.0.3")
    client.subscribe(ROOM, "room")
    client.subscribe(PRIVATE, "private")
    return client


def outcome(stranger: Stranger) -> list[Frame]:
    """Return what came, once all that was sent is dealt with."""
    return stranger.until_done(5)


# ---------------------------------------------------------------- logins


def test_a_login_that_is_anothers_nick_sends_no_private_messages_as_that_person(
    server: GuardedServer,
) -> None:
    with attack(server, "private messages need a nick") as scene:
        person(scene, "anna")
        bob = person(scene, "bob")
        eve = scene.stranger(login="anna")
        eve.send(message_bytes("/user/bob/queue/private", b"it is me"))
        outcome(eve)
        bob.send(message_bytes("/topic/chat", b'{"nick": "bob", "text": "end"}'))
        frames = bob.frames_until(lambda frame: b"end" in frame.body)
        forged = [frame for frame in frames if frame.body == b"it is me"]
        assert all("x-sender" not in frame for frame in forged), forged


def test_a_login_is_no_second_person_of_a_name_in_the_list(server: GuardedServer) -> None:
    with attack(server, NO_END) as scene:
        person(scene, "anna")
        eve = scene.stranger(login="anna")
        eve.send(frame_bytes("SUBSCRIBE", id="0", destination=ROOM))
        outcome(eve)
        watcher = scene.stranger(source="127.0.0.4")
        watcher.send(frame_bytes("SUBSCRIBE", id="p", destination=f"/presence{ROOM}"))
        people = json.loads(watcher.frame().body)["people"]
        assert [one["nick"] for one in people].count("anna") == 1, people


def test_a_private_message_for_a_person_who_has_gone_goes_to_no_login(serve: Serve) -> None:
    server = serve("[presence]\ngrace = 0\n")
    with attack(server, "private messages need a nick") as scene:
        anna, bob = person(scene, "anna"), person(scene, "bob")
        anna.ask("DISCONNECT")
        eve = scene.stranger(login="anna")
        eve.subscribe(PRIVATE)
        bob.send(message_bytes("/user/anna/queue/private", b"for your eyes"))
        outcome(bob)
        outcome_of_eve = outcome(eve)
        assert all(frame.body != b"for your eyes" for frame in outcome_of_eve)


# ---------------------------------------------------------------- nicks in bodies

SHOWN_AS_ANNA = (
    "anna\\u0000",
    "anna\\ud800",
    "\\u200banna",
    "an\\u034fna",
    "anna\\u2800",
    "\\ufeffanna",
    "anna\\ufe0f",
)
"""In JSON, with its escapes."""


def test_a_nick_in_a_body_that_shows_as_anothers_is_refused(server: GuardedServer) -> None:
    with attack(server, "not your nick") as scene:
        person(scene, "anna")
        bob = person(scene, "bob")
        passed = []
        for nick in SHOWN_AS_ANNA:
            eve = scene.stranger()
            eve.send(message_bytes(ROOM, b'{"nick": "%s", "text": "it is me"}' % nick.encode()))
            if all(frame.command != "ERROR" for frame in outcome(eve)):
                passed.append(nick)
        assert passed == []
        bob.send(message_bytes(ROOM, b'{"nick": "bob", "text": "end"}'))
        frames = bob.frames_until(lambda frame: b"end" in frame.body)
        assert all(b"it is me" not in frame.body for frame in frames)


# ---------------------------------------------------------------- nicks that look alike


def let_in(scene: Scene, nicks: Iterable[str]) -> list[str]:
    """Return which of the nicks a client gets."""
    got = []
    for nick in nicks:
        client = scene.stranger(logs_in=False)
        client.send(frame_bytes("CONNECT", accept_version="1.2", host="test", nick=nick))
        if client.frame().command == "CONNECTED":
            got.append(nick)
    return got


UNSEEN = ("\u034f", "\u115f", "\u3164", "\u2800", "\ufe0f", "\u200d", "\U000e0101", "\u00ad")


def test_letters_that_are_not_seen_make_no_other_name(server: GuardedServer) -> None:
    nicks = [f"an{letter}na" for letter in UNSEEN] + [f"anna{letter}" for letter in UNSEEN]
    with attack(server, "nick") as scene:
        person(scene, "anna")
        assert let_in(scene, [*nicks, "\uff21\uff2e\uff2e\uff21"]) == []


def test_letters_of_another_script_make_no_other_name(server: GuardedServer) -> None:
    with attack(server, "nick") as scene:
        person(scene, "anna")
        nicks = ["\u0430nna", "ann\u0430", "\u0430nn\u0430", "a\u0578na", "\u03b1nna"]
        assert let_in(scene, nicks) == []


def test_names_of_the_world_are_free(server: GuardedServer) -> None:
    nicks = ["Анна", "Ünal", "李小龍", "さくら", "anna2", "Zoë", "محمد", "Αλέξης"]
    with attack(server, NO_END) as scene:
        person(scene, "anna")
        assert let_in(scene, nicks) == nicks
