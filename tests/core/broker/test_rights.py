"""Rights of sessions: what is checked, what is told, and what is remembered."""

from __future__ import annotations

import pytest

from rtchat.core.broker.broker import Broker
from rtchat.core.broker.rights import Rights
from rtchat.core.broker.router import Route
from rtchat.errors import NoRight


@pytest.fixture
def broker() -> Broker:
    return Broker("epoch", pubsub={"both": ("/topic/secret", "/queue/secret")})


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def rights(asked: list[str]) -> Rights:
    """Return rights to all names without the word ``secret``, which take note of questions."""

    def may(name: str) -> bool:
        asked.append(name)
        return "secret" not in name

    return Rights(may, may)


def route(broker: Broker, destination: str) -> Route:
    return broker.router.resolve(destination)


def test_a_route_that_was_allowed_is_remembered(
    broker: Broker, rights: Rights, asked: list[str]
) -> None:
    for _ in range(3):
        rights.check_write(route(broker, "/topic/a,/queue/b"))
    assert asked == ["/topic/a", "/queue/b"]


def test_a_refusal_is_not_remembered(broker: Broker, rights: Rights) -> None:
    for _ in range(2):
        with pytest.raises(NoRight, match="write /queue/secret"):
            rights.check_write(route(broker, "/topic/a,/queue/secret"))
    assert rights.routes == set()


def test_a_name_that_the_client_has_not_written_is_not_told(broker: Broker, rights: Rights) -> None:
    with pytest.raises(NoRight, match=r"write /pubsub/both$"):
        rights.check_write(route(broker, "/pubsub/both"))
    with pytest.raises(NoRight, match=r"write /pubsub/both,/topic/secrets$"):
        rights.check_write(route(broker, "/pubsub/both,/topic/secrets"))


def test_only_so_many_routes_are_remembered_and_only_small_ones(
    broker: Broker, rights: Rights
) -> None:
    """Each user may have rights of its own, so what they remember is little."""
    for number in range(2000):
        rights.check_write(route(broker, f"/topic/{number}"))
        assert len(rights.routes) <= 128
    assert len(rights.routes) > 64
    for number in range(200):
        rights.check_write(route(broker, f"/topic/long{number}" + "x" * 190))
        assert sum(len(one.destination) for one in rights.routes) < 16_384
    for number in range(200):
        rights.check_write(route(broker, ",".join(f"/topic/{number}.{n}" for n in range(8))))
        assert sum(len(one.targets) for one in rights.routes) <= 256
    before = set(rights.routes)
    rights.check_write(route(broker, "/topic/" + "x" * 1000))
    rights.check_write(route(broker, ",".join(["/topic/a"] + [f"b{n}" for n in range(15)])))
    assert all(one.is_small for one in rights.routes)
    assert len(rights.routes - before) <= 1


def test_what_is_read_is_asked_each_time(rights: Rights, asked: list[str]) -> None:
    rights.check_read("/topic/a")
    rights.check_read("/topic/a")
    with pytest.raises(NoRight, match="read /topic/secret"):
        rights.check_read("/topic/secret")
    assert len(asked) == 3
