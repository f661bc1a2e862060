"""``rtchat.testing``: users, rights and hooks of the broker in memory."""

from __future__ import annotations

import pytest

from rtchat.errors import ConfigError
from rtchat.hooks import Allow, Message, Refuse, Reply, Subscription, Visitor
from rtchat.testing import Broker, Refused

RIGHTS = {
    "*": "read /topic/news",
    "@staff": "all /topic/#, all /queue/#",
    "anonymous": "read /topic/open",
}


@pytest.fixture
def broker() -> Broker:
    return Broker(users={"ada": "secret"}, rights=RIGHTS, groups={"staff": ["ada"]})


def test_a_client_may_be_any_user(broker: Broker) -> None:
    ada, bob = broker.connect(user="ada"), broker.connect(user="bob")
    bob.subscribe("/topic/news")
    ada.send("/topic/news", "hello")
    message = bob.receive()
    assert (message.body, message.headers["x-user"]) == (b"hello", "ada")
    bob.send("/topic/news", "hello")
    with pytest.raises(Refused, match="not allowed: write /topic/news"):
        bob.receive()


def test_passwords_are_tried_with_the_headers_of_connect(broker: Broker) -> None:
    client = broker.connect(headers={"login": "ada", "passcode": "secret"})
    client.subscribe("/queue/jobs")
    for passcode in ("wrong", ""):
        with pytest.raises(Refused, match="access refused"):
            broker.connect(headers={"login": "ada", "passcode": passcode})


def test_a_client_without_a_user_is_anonymous(broker: Broker) -> None:
    broker.connect().subscribe("/topic/open")
    with pytest.raises(Refused, match="access refused"):
        Broker(users={}).connect()


def test_a_token_has_more_than_a_name_and_ends(broker: Broker) -> None:
    token = broker.token("eve", read=["/topic/eve"], nick="Eve", expires_in_s=60)
    client = broker.connect(token=token)
    client.subscribe("/topic/eve")
    broker.advance(50)
    client.send("/session/token", broker.token("eve", read=["/topic/eve"], expires_in_s=60))
    broker.advance(59)
    assert not client.is_closed
    broker.advance(1)
    assert client.is_closed
    with pytest.raises(Refused, match="access refused"):
        broker.connect(token=token)


def test_rights_and_users_change_under_open_sessions(broker: Broker) -> None:
    ada, bob = broker.connect(user="ada"), broker.connect(user="bob")
    by_password = broker.connect(headers={"login": "ada", "passcode": "secret"})
    ada.subscribe("/topic/a")
    bob.subscribe("/topic/news")
    broker.set_rights({"*": "read /topic/news"})
    assert ada.is_closed
    assert not bob.is_closed
    broker.set_users({})
    assert by_password.is_closed


def test_nicks_belong_to_users(broker: Broker) -> None:
    with pytest.raises(Refused, match="nick in use"):
        broker.connect(user="bob", headers={"nick": "Ada"})
    broker.connect(user="ada", headers={"nick": "Ada"})


class Site:
    """A hook with methods of both kinds."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def connect(self, visitor: Visitor) -> Reply:
        if visitor.login == "mallory":
            return Refuse("no")
        return Allow(user=visitor.login, autosubscribe=["/topic/welcome"])

    def subscribe(self, visitor: Visitor, subscription: Subscription) -> Reply:
        return Refuse() if subscription.destination == "/topic/secret" else None

    async def send(self, visitor: Visitor, message: Message) -> Reply:
        if message.text == "fail":
            raise RuntimeError("bug")
        return Allow(body=f"{visitor.user}: {message.text}")

    async def disconnect(self, visitor: Visitor) -> None:
        self.told.append(visitor.user)


def test_hooks_are_asked_and_told_without_waiting() -> None:
    site = Site()
    broker = Broker(hooks=site)
    ada = broker.connect(headers={"login": "ada", "passcode": "anything"})
    broker.connect(headers={"login": "bob"}).send("/topic/welcome", "hi")
    assert ada.receive().body == b"bob: hi"
    with pytest.raises(Refused, match="access refused"):
        broker.connect(headers={"login": "mallory"})
    ada.subscribe("/topic/secret")
    with pytest.raises(Refused, match="not allowed: read /topic/secret"):
        ada.receive()
    assert site.told == ["ada"]


def test_a_hook_that_fails_refuses() -> None:
    broker = Broker(hooks=Site())
    client = broker.connect(headers={"login": "ada"})
    client.send("/topic/a", "fail")
    with pytest.raises(Refused, match="not allowed: write /topic/a"):
        client.receive()


def test_a_restart_keeps_users_and_rights(broker: Broker) -> None:
    broker.restart()
    broker.connect(user="ada").subscribe("/queue/jobs")


def test_the_rights_of_a_chat_ini() -> None:
    settings = (
        "[tokens]\nsecret.file = secret\n[groups]\nstaff = ada\n[rights]\n@staff = read /topic/a\n"
    )
    broker = Broker.from_settings(settings)
    broker.connect(user="ada").subscribe("/topic/a")
    bob = broker.connect(user="bob")
    bob.subscribe("/topic/a")
    with pytest.raises(Refused, match="not allowed: read /topic/a"):
        bob.receive()


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="give Broker users or rights"):
        Broker().connect(user="ada")
    with pytest.raises(ConfigError, match="rights"):
        Broker(rights={"ada": "reads /topic/a"})
    with pytest.raises(ValueError, match="no method of a hook"):
        Broker(hooks=object())
