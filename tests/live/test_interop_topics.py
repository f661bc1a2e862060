"""Other people's STOMP libraries publish to topics, and get what was published, to the byte."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import pytest
from support.interop.peer import Peer
from support.interop.peers import PEERS, open_peer
from support.process import ROOT, Server, free_port, tutorial_ini
from support.wire import Wire

pytestmark = [pytest.mark.live]

_UNICODE = "Grüße, 世界! 👋 € “quoted” \\ and : too"
_BINARY = bytes(range(256)) * 8 + b"\0\n\0\r\n\n" + "ä".encode("latin-1")
_numbers = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the module."""
    http, stomp = free_port(), free_port()
    folder = tmp_path_factory.mktemp("server")
    server = Server(folder, tutorial_ini(http, stomp), http=http, stomp=stomp)
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture
def topic() -> str:
    """A topic that no other test uses."""
    return f"/topic/interop-{next(_numbers)}"


@pytest.fixture
def peer(server: Server, library: str) -> Iterator[Peer]:
    """A program that uses the library."""
    with open_peer(server, library) as peer:
        yield peer


def libraries(capability: str) -> list[str]:
    """Return the libraries that can do something."""
    return [name for name in PEERS if getattr(PEERS[name], capability)]


every_library = pytest.mark.parametrize("library", PEERS)


@every_library
def test_text_arrives_as_it_was_sent(server: Server, peer: Peer, topic: str) -> None:
    with Wire(server.stomp) as judge:
        judge.connect()
        judge.subscribe(topic)
        peer.subscribe(topic)
        peer.send(topic, _UNICODE)
        assert peer.message().body == _UNICODE
        assert judge.frame().body.decode() == _UNICODE
        judge.publish(topic, _UNICODE)
        assert peer.message().body == _UNICODE
    peer.leave()
    assert peer.errors.empty()


@pytest.mark.parametrize("library", libraries("can_send_bytes"))
def test_bytes_arrive_as_they_were_sent(server: Server, peer: Peer, topic: str) -> None:
    with Wire(server.stomp) as judge:
        judge.connect()
        judge.subscribe(topic)
        peer.subscribe(topic)
        peer.send_bytes(topic, _BINARY, {})
        assert peer.message().data == _BINARY
        assert judge.frame().body == _BINARY
        judge.publish(topic, _BINARY)
        assert peer.message().data == _BINARY
    assert peer.errors.empty()


@pytest.mark.parametrize("library", libraries("can_have_any_header"))
def test_header_values_may_hold_colons_and_line_ends(peer: Peer, topic: str) -> None:
    # No backslash before an n: stompjs and Ruby's library undo the escapes one after the other.
    value = "https://example.test:80/ä?a=b: c\nsecond line"
    peer.subscribe(topic)
    peer.send_bytes(topic, b"x", {"x-any": value})
    assert peer.message().headers["x-any"] == value
    assert peer.errors.empty()


@every_library
def test_two_libraries_share_a_topic(server: Server, peer: Peer, topic: str) -> None:
    with open_peer(server, "stompjs 7") as other:
        peer.subscribe(topic)
        other.subscribe(topic)
        for number in range(1, 21):
            peer.send(topic, f"{number} from it")
            other.send(topic, f"{number} from stompjs")
        got = [peer.bodies(40), other.bodies(40)]
        for bodies in got:
            for source in ("it", "stompjs"):
                own = [body for body in bodies if body.endswith(source)]
                assert own == [f"{number} from {source}" for number in range(1, 21)]
    assert peer.errors.empty()


@every_library
def test_a_topic_is_left(peer: Peer, topic: str) -> None:
    peer.subscribe(topic)
    peer.unsubscribe()
    peer.send(topic, "no subscriber")
    peer.expect_silence()
    assert peer.errors.empty()


def test_the_readme_has_every_library_and_what_it_cannot_do() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| ") and line.count("|") == 7
    ]
    cannot = {"\N{EN DASH}": False, "yes": True}
    for name, peer in PEERS.items():
        short = name.removeprefix("stomp.py ") if name.startswith("stomp.py") else name
        row = next(row for row in rows if _names(row[0]) & {name, short})
        assert [cannot[cell] for cell in row[2:]] == [
            peer.can_send_bytes,
            peer.can_have_any_header,
            peer.can_acknowledge_in_transactions,
            peer.has_heartbeats,
        ], name


def _names(cell: str) -> set[str]:
    """Return the names in the first cell of a row, which has versions in parentheses."""
    plain = re.sub(r"\([^)]*\)", "", cell).replace(" and ", ",").replace("stomp.py 1.2", "1.2")
    return {part.strip() for part in plain.split(",")}
