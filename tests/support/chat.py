"""A broker with people and rooms, and clients that keep account of what they are told."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from support.core import Client, Server

from rtchat.core.broker.broker import Broker
from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.chat.chat import Json
from rtchat.core.chat.gate import open_chat
from rtchat.core.chat.limits import ChatPolicy
from rtchat.core.flow.outbound import RAW, Framing
from rtchat.core.stomp.frames import Frame, Version
from rtchat.core.stomp.limits import Limits
from rtchat.net.json_codec import JSON

__all__ = ["Party", "Roll", "chat_body", "event", "refusal"]

ROOM = "/topic/chat"


def event(frame: Frame) -> dict[str, Any]:
    """Return what a presence MESSAGE tells, and see that its head fits."""
    value: dict[str, Any] = json.loads(frame.body)
    assert frame.command == "MESSAGE"
    assert frame.headers["x-presence"] == value["event"]
    assert frame.headers["content-type"] == "application/json"
    return value


def chat_body(nick: str, text: str = "hello", **more: object) -> bytes:
    """Return the body of a message as the page writes it."""
    return json.dumps({"nick": nick, "text": text, **more}, ensure_ascii=False).encode()


def refusal(client: Client, body: bytes, destination: str = ROOM, **headers: str) -> str:
    """Send what is not taken; give the reason."""
    length = str(len(body))
    frames = client.ask("SEND", body, destination=destination, content_length=length, **headers)
    assert [frame.command for frame in frames] == ["ERROR"]
    return frames[0].headers["message"]


@dataclass
class Roll:
    """Who is there by what was told: a list first, then changes that fit to it.

    Attributes:
        people: Nick by id.
        events: What was told, as short words.
    """

    people: dict[str, str] | None = None
    events: list[str] = field(default_factory=list)

    def hear(self, frame: Frame) -> None:
        """Take the next MESSAGE; one that does not fit to those before is an error."""
        value = event(frame)
        kind = value["event"]
        if kind == "here":
            assert self.people is None, "a second list"
            self.people = {one["id"]: one["nick"] for one in value["people"]}
            assert len(self.people) == len(value["people"]), "somebody is listed twice"
            self.events.append(f"here {' '.join(sorted(self.people.values()))}".strip())
            return
        assert self.people is not None, "a change before the list"
        one = value["person"]
        if kind == "join":
            assert one["id"] not in self.people, "a second join"
            self.people[one["id"]] = one["nick"]
        elif kind == "leave":
            assert self.people.pop(one["id"]) == one["nick"]
        else:
            assert kind == "rename"
            assert self.people[one["id"]] == value["before"] != one["nick"]
            self.people[one["id"]] = one["nick"]
            self.events.append(f"rename {value['before']} {one['nick']}")
            return
        self.events.append(f"{kind} {one['nick']}")

    @property
    def nicks(self) -> list[str]:
        """Who is there, by nick."""
        assert self.people is not None, "no list came"
        return sorted(self.people.values())


class Party:
    """A broker with a chat, and a clock that the test moves.

    Args:
        epoch: The run of the server.
        limits: What its sessions share.
        json: How JSON is written and read.
        terms: What holds for its people.
    """

    def __init__(
        self,
        *,
        epoch: str = "test",
        limits: BrokerLimits | None = None,
        json: Json = JSON,
        **terms: Any,
    ) -> None:
        self.broker = Broker(epoch, limits)
        self.chat = open_chat(self.broker, ChatPolicy(**terms), json)
        self.broker.now = 1000.0
        self.server = Server(self.broker)

    def client(
        self,
        nick: str = "",
        token: str = "",
        login: str = "",
        version: Version = Version.V12,
        limits: Limits | None = None,
        wire: Framing = RAW,
        window: str = "",
    ) -> Client:
        """Connect a client that has to be let in."""
        client = Client(self.server, None, limits, wire)
        headers = {"nick": nick, "x-presence-token": token, "login": login}
        headers["x-presence-window"] = window
        given = {name.replace("-", "_"): value for name, value in headers.items() if value}
        answer = client.connect(version, **given)
        assert answer.command == "CONNECTED", answer
        return client

    def refused(self, nick: str, token: str = "", **more: str) -> str:
        """Connect a client that is not let in; return the reason."""
        client = Client(self.server, None)
        headers = {"x_presence_token": token} if token else {}
        answer = client.connect(nick=nick, **headers, **more)
        assert answer.command == "ERROR", answer
        assert client.session.is_closed
        return answer.headers["message"]

    def in_room(self, nick: str, token: str = "", room: str = ROOM, **more: Any) -> Client:
        """Connect a client that enters a room at once."""
        client = self.client(nick, token, **more)
        client.subscribe(room)
        return client

    def watcher(self, room: str = ROOM) -> Watcher:
        """Connect a client without a nick that watches who is in a room."""
        return Watcher(self, room)

    def lose(self, client: Client) -> None:
        """Break a connection."""
        client.drop()

    def advance(self, seconds: float) -> None:
        """Let time pass, as the server's timer sees it."""
        whole = int(seconds)
        for step in [1.0] * whole + ([seconds - whole] if seconds > whole else []):
            self.server.advance(step)
            self.server.expire()


class Watcher:
    """A client that watches who is in a room, and adds up what it is told."""

    def __init__(self, party: Party, room: str) -> None:
        self.client = party.client()
        self.roll = Roll()
        self.client.say("SUBSCRIBE", id="p", destination=f"/presence{room}")

    def look(self) -> Roll:
        """Take what was told since."""
        for frame in self.client.received():
            self.roll.hear(frame)
        return self.roll

    def news(self) -> list[str]:
        """Return what was told since, as short words."""
        before = len(self.roll.events)
        return self.look().events[before:]
