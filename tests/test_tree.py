"""The tree of tests mirrors the package: who looks for a module's tests finds them at its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.process import ROOT

TESTS = ROOT / "tests"

MIRRORED = ("config", "core", "net", "server")
"""Packages of rtchat with a folder of tests each."""

BEHAVIOUR = {
    "core/broker/test_machine.py": "queues against a model",
    "core/broker/test_bounded_work.py": "what may not grow with what others hold, in calls",
    "core/broker/test_queue_runs.py": "many messages to a queue in one read, fast way and slow",
    "core/broker/test_runs.py": "many messages to a topic in one read, fast way and slow",
    "core/chat/test_presence_machine.py": "presence against a model",
    "core/chat/test_users.py": "nicks that belong to users, on every door",
    "core/chat/test_private_messages.py": "private messages, from the sender to the receiver",
    "core/flow/test_flow_control.py": "full queues: who waits, and until when",
    "core/session/test_acks.py": "acknowledgements, from the client's side",
    "core/session/test_acks_after_unsubscribe.py": "the same once the subscription has ended",
    "core/session/test_acks_on_topics.py": "the same on topics",
    "core/session/test_dead_letters.py": "dead letters, from the client's side",
    "core/session/test_every_door.py": "rights at every kind of destination, on every door",
    "core/session/test_readers_and_rights.py": "who receives what, with any rights",
    "core/session/test_redelivery.py": "what comes back, from the client's side",
    "core/session/test_long_turns.py": "reads with much work, in parts",
    "core/session/test_many_sessions.py": "many sessions against a model",
    "net/connection/test_splice_fallback.py": "the relay where splice(2) fails",
    "net/connection/test_unix_sockets.py": "a real server on Unix sockets",
    "net/gateway/test_backpressure.py": "200 MB through a real gateway",
    "net/gateway/test_relay_real.py": "the relay over real sockets",
    "net/history/test_history_machine.py": "the history against a model, killed and restarted",
    "net/test_adapters.py": "who imports txws, stomper and simplejson",
    "net/stomp/test_memory.py": "who is cut when memory runs short",
    "net/stomp/test_two_wires.py": "the same over TCP and over WebSocket",
    "net/websocket/test_websocket_layer.py": "RFC 6455, without STOMP above it",
    "server/test_manual.py": "the manual lists every key, with unit, range and default",
}
"""Files that test what several modules do together, and what that is."""


FILES = sorted(
    path.relative_to(TESTS).as_posix()
    for package in MIRRORED
    for path in (TESTS / package).rglob("test_*.py")
)
"""The test files in mirrored folders."""


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_tests_stands_where_its_module_does(name: str) -> None:
    if name in BEHAVIOUR:
        return
    path = Path(name)
    module = path.with_name(path.name.removeprefix("test_"))
    assert (ROOT / "rtchat" / module).is_file(), f"there is no rtchat/{module}"


@pytest.mark.parametrize("name", list(BEHAVIOUR))
def test_the_exceptions_are_there(name: str) -> None:
    assert (TESTS / name).is_file(), f"tests/{name} has gone: take it off the list"


@pytest.mark.parametrize("path", sorted(TESTS.glob("*.py")), ids=lambda path: path.name)
def test_beside_the_folders_lie_tests_only(path: Path) -> None:
    assert path.name.startswith("test_") or path.name == "conftest.py", "it belongs in support/"


@pytest.mark.parametrize("folder", ["live", "hostile", "behaviour", *MIRRORED])
def test_a_folder_of_tests_holds_no_helpers(folder: str) -> None:
    helpers = [
        path.name
        for path in (TESTS / folder).rglob("*.py")
        if not path.name.startswith("test_") and path.name != "conftest.py"
    ]
    assert helpers == [], "they belong in tests/support"
