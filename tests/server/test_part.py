"""A feature is a part: it needs its own folder and one line in the list of parts."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import simplejson
from support.chat_ini import LISTEN
from support.idle_part import IdlePart, IdleSettings
from support.in_memory import InMemory, Log
from twisted.web.resource import Resource
from twisted.web.test.requesthelper import DummyRequest

from rtchat.errors import ConfigError
from rtchat.server import settings as config
from rtchat.server.part import Part, Server
from rtchat.server.web import WebPart
from rtchat.tap import PARTS

WITH_IDLE = (*PARTS, IdlePart)  # the one line


def idle_settings(ini: Path, text: str) -> IdleSettings:
    ini.write_text(f"{LISTEN}{text}", encoding="utf-8")
    return config.load(ini, WITH_IDLE).of(IdlePart)


def health(server: Server) -> dict[str, object]:
    """Ask for /health, as a program on the web does."""
    tree = server.part(WebPart).site.resource
    request = DummyRequest([b"health"])
    body = tree.getChildWithDefault(b"health", request).render_GET(request)
    answer: dict[str, object] = simplejson.loads(body)
    return answer


# ---------------------------------------------------------------- chat.ini


def test_its_key_has_a_default(ini: Path) -> None:
    assert idle_settings(ini, "").limit_s == 30.0
    assert config.defaults(WITH_IDLE).of(IdlePart).limit_s == 30.0


def test_its_key_is_read(ini: Path) -> None:
    assert idle_settings(ini, "[idle]\nlimit = 2.5\n").limit_s == 2.5


@pytest.mark.parametrize(
    "text, problem",
    [
        (
            "[idle]\nlimit = 601\n",
            ":4: [idle] limit = 601 cannot be used; write a number of seconds from 1 to 600",
        ),
        ("[idle]\nlimits = 7\n", ":4: [idle] limits is not a known key; did you mean limit?"),
        ("[idel]\nlimit = 7\n", ":3: [idel] is not a known section; did you mean [idle]?"),
        (
            "[global]\nlimit = 7\n",
            ":4: [global] limit is not a known key; it belongs in [idle]",
        ),
    ],
)
def test_a_mistake_is_one_sentence_with_its_place_and_a_remedy(
    ini: Path, text: str, problem: str
) -> None:
    with pytest.raises(ConfigError) as error:
        idle_settings(ini, text)
    assert str(error.value) == f"{ini}{problem}"


def test_without_the_line_nothing_knows_it(ini: Path) -> None:
    ini.write_text(f"{LISTEN}[idle]\nlimit = 7\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"\[idle\] is not a known section"):
        config.load(ini, PARTS)


# ---------------------------------------------------------------- the running server


def test_its_service_starts_and_stops_with_the_server(in_memory: InMemory, log: Log) -> None:
    server = in_memory.make(f"{LISTEN}[idle]\nlimit = 7\n", IdlePart)
    assert log.lines("idle") == []
    server.service.privilegedStartService()
    assert log.lines("idle") == ["idle: late"]
    server.service.startService()
    assert log.lines("idle")[1:] == ["idle: started, limit 7.0"]
    server.service.stopService()
    assert log.lines("idle")[2:] == ["idle: stopped"]


def test_its_gauge_is_in_health_behind_those_that_were_there(in_memory: InMemory) -> None:
    server = in_memory.start(f"{LISTEN}[idle]\nlimit = 7\n", IdlePart)
    in_memory.reactor.advance(1.5)
    answer = health(server)
    assert list(answer) == [
        "status",
        "checks",
        "version",
        "uptime_s",
        "stomp_sessions",
        "stomp_websockets",
        "proxied_websockets",
        "subscriptions",
        "topics",
        "queues",
        "queued_messages",
        "held_bytes",
        "people",
        "messages",
        "dead_letters_dropped",
        "idle_limit",
    ]
    assert answer["status"] == "ok"
    assert answer["uptime_s"] == 1.5
    assert answer["idle_limit"] == 7.0
    assert answer["checks"] == {"memory": "ok"}
    assert all(answer[name] == 0 for name in list(answer)[4:-1])


def test_it_is_reloaded_on_sighup(in_memory: InMemory, log: Log) -> None:
    in_memory.start(LISTEN, IdlePart)
    assert log.lines("idle: reloaded") == []
    in_memory.signal(signal.SIGHUP)
    assert log.lines("idle: reloaded") == ["idle: reloaded"]
    assert log.lines("SIGHUP") == [], "a part had something to read again"


def test_it_drains_and_closes_at_the_shutdown(in_memory: InMemory, log: Log) -> None:
    server = in_memory.start(LISTEN, IdlePart)
    stopped: list[object] = []
    server.service.stopService().addCallback(stopped.append)
    assert log.lines("idle")[2:] == ["idle: stopped"]
    assert stopped == []
    in_memory.reactor.advance(0)
    assert log.lines("idle")[3:] == ["idle: drained", "idle: closed"]
    assert len(stopped) == 1


# ---------------------------------------------------------------- the seam itself


def test_a_part_does_nothing_unless_it_is_told_to(in_memory: InMemory) -> None:
    part = Part(None, Server(in_memory.reactor, "chat.ini"))
    part.load_late()
    assert part.service() is None
    assert part.gauges() == {}
    assert not part.reload()
    assert part.drain() is None
    assert part.close() is None


def test_a_part_finds_those_before_it_only(in_memory: InMemory) -> None:
    server = in_memory.make(LISTEN, IdlePart)
    assert [type(part) for part in server.parts] == list(WITH_IDLE)
    assert isinstance(server.part(IdlePart), IdlePart)
    with pytest.raises(LookupError, match="IdlePart has to come first in the list of parts"):
        Server(in_memory.reactor, "chat.ini").part(IdlePart)


def test_a_part_cannot_take_a_path_that_the_operator_has_given_away(
    in_memory: InMemory, tmp_path: Path
) -> None:
    server = in_memory.make(f"{LISTEN}[static]\nidle = .\n")
    with pytest.raises(SystemExit) as end:
        server.part(WebPart).serve("idle", Resource())
    assert str(end.value) == (
        f"rtchat: {tmp_path}/chat.ini: [static] idle takes the path /idle, which rtchat needs; "
        "choose another name"
    )
