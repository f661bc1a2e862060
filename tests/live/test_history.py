"""Messages that survive: kill -9, restarts, full disks, slow readers, other people's clients."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.process import Server, free_port, until
from support.stomp import Frame
from support.stompjs import StompJs
from support.stompy import VERSIONS, StompPy
from support.wire import Wire

pytestmark = [pytest.mark.live]

CHAT = "/topic/chat"
Starter = Callable[..., Server]


def new_server(folder: Path, lines: str = f"{CHAT}* = 20000, 7 days", **more: object) -> Server:
    """Return a server that keeps messages; it is not started."""
    http, stomp = free_port(), free_port()
    text = (
        f"[listen]\nhttp://127.0.0.1:{http}\nstomp://127.0.0.1:{stomp}\n"
        f"[access]\nself -> localhost:{stomp}\n[history]\n{lines}\n"
    )
    return Server(folder, text, http=http, stomp=stomp, **more)  # type: ignore[arg-type]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    """Return what starts a server."""
    servers: list[Server] = []

    def start(lines: str = f"{CHAT}* = 20000, 7 days", **more: object) -> Server:
        server = new_server(tmp_path, lines, **more)
        servers.append(server)
        return server.start()

    yield start
    for server in servers:
        server.close()


def connected(server: Server) -> Wire:
    """Return a client that has logged in."""
    wire = Wire(server.stomp)
    wire.connect()
    return wire


def subscribe(wire: Wire, start: str, **headers: str) -> None:
    """Subscribe to the room."""
    more = "".join(f"{name.replace('_', '-')}:{value}\n" for name, value in headers.items())
    wire.send(f"SUBSCRIBE\nid:0\ndestination:{CHAT}\nx-stream-offset:{start}\n{more}\n\0")


def publish(wire: Wire, *bodies: str) -> None:
    """Publish with receipts and wait for them."""
    for body in bodies:
        wire.send(f"SEND\ndestination:{CHAT}\nreceipt:{body[:50]}\n\n{body}\0")
    for body in bodies:
        assert wire.frame() == Frame("RECEIPT", {"receipt-id": body[:50]})


def messages(wire: Wire, count: int, within_s: float = 20.0) -> list[Frame]:
    """Return so many messages; a receipt is passed over."""
    frames: list[Frame] = []
    while len(frames) < count:
        frame = wire.frame(within_s)
        assert frame.command in ("MESSAGE", "RECEIPT"), frame
        if frame.command == "MESSAGE":
            frames.append(frame)
    return frames


def offsets(frames: list[Frame]) -> list[int]:
    """Return the messages' offsets."""
    return [int(frame.headers["x-stream-offset"]) for frame in frames]


# ---------------------------------------------------------------- kill -9


class Talker(threading.Thread):
    """Publishes without pause, with a receipt for each, until the server is gone."""

    def __init__(self, server: Server, name: str) -> None:
        super().__init__(daemon=True)
        self.wire = connected(server)
        self.name = name
        self.sent = 0
        self.confirmed: list[str] = []
        self.begun = threading.Event()

    def run(self) -> None:
        try:
            while True:
                # Some are on their way at any time.
                while self.sent - len(self.confirmed) < 50:
                    body = f"{self.name} {self.sent}"
                    self.wire.send(f"SEND\ndestination:{CHAT}\nreceipt:{body}\n\n{body}\0")
                    self.sent += 1
                receipt = self.wire.frame()
                assert receipt.command == "RECEIPT", receipt
                self.confirmed.append(receipt.headers["receipt-id"])
                if len(self.confirmed) > 100:
                    self.begun.set()
        except (OSError, AssertionError):
            pass  # the server is gone
        finally:
            self.wire.close()


class Listener(threading.Thread):
    """Reads until the server is gone, from where it was the last time."""

    def __init__(self, server: Server, seen: dict[int, str], epoch: str) -> None:
        super().__init__(daemon=True)
        self.wire = connected(server)
        self.seen = seen
        self.marks: list[str | None] = []
        self.epoch = epoch
        subscribe(self.wire, f"offset={len(seen)}", x_stream_epoch=epoch)
        self.problem = ""

    def run(self) -> None:
        try:
            while True:
                frame = self.wire.frame()
                offset = int(frame.headers["x-stream-offset"])
                if offset != len(self.seen):
                    self.problem = f"offset {offset} after {len(self.seen) - 1}"
                    return
                self.seen[offset] = frame.body.decode()
                self.marks.append(frame.headers.get("x-stream-recovered"))
                self.epoch = frame.headers["x-stream-epoch"]
        except (OSError, AssertionError):
            pass  # the server is gone
        finally:
            self.wire.close()


def test_what_was_confirmed_survives_kill_9_in_order_and_once(
    start: Starter, tmp_path: Path
) -> None:
    server = start()
    confirmed: list[str] = []
    seen: dict[int, str] = {}
    epoch = "none yet"
    chance = random.Random(9)
    for life in range(4):
        talkers = [Talker(server, f"life{life}-{name}") for name in ("ada", "bob")]
        listener = Listener(server, seen, epoch)
        for thread in (*talkers, listener):
            thread.start()
        for talker in talkers:
            assert talker.begun.wait(20)
        time.sleep(chance.uniform(0, 0.15))
        server.kill()
        for thread in (*talkers, listener):
            thread.join(20)
        assert listener.problem == ""
        assert listener.marks[0] == ("true" if life else "false")
        assert set(listener.marks[1:]) == {None}
        epoch = listener.epoch
        confirmed += [body for talker in talkers for body in talker.confirmed]
        server.start()

    wire = connected(server)
    subscribe(wire, "first", receipt="s")
    receipt = wire.frame()
    while receipt.command != "RECEIPT":
        receipt = wire.frame()
    wire.close()
    total = int(receipt.headers["x-stream-offset"])
    assert receipt.headers["x-stream-epoch"] == epoch
    wire = connected(server)
    subscribe(wire, "first")
    kept = messages(wire, total)
    wire.close()
    assert offsets(kept) == list(range(total))
    bodies = [frame.body.decode() for frame in kept]
    assert len(set(bodies)) == len(bodies), "something came twice"
    missing = set(confirmed) - set(bodies)
    assert not missing, f"{len(missing)} of {len(confirmed)} confirmed messages are gone"
    # What anybody has seen is still there, in its place.
    assert all(bodies[offset] == body for offset, body in seen.items())
    assert len(seen) > 800
    for name in {body.split()[0] for body in bodies}:
        numbers = [int(body.split()[1]) for body in bodies if body.split()[0] == name]
        assert numbers == list(range(len(numbers))), "a publisher's order"


def test_a_stop_in_the_middle_of_publishing_loses_nothing(start: Starter) -> None:
    server = start()
    talker = Talker(server, "ada")
    talker.start()
    assert talker.begun.wait(20)
    server.stop()
    talker.join(20)
    assert "Traceback" not in server.log()
    server.start()
    wire = connected(server)
    subscribe(wire, "first")
    kept = messages(wire, len(talker.confirmed))
    assert [frame.body.decode() for frame in kept] == talker.confirmed
    wire.close()


def test_a_power_safe_file_works_as_well(start: Starter) -> None:
    server = start(f"{CHAT} = 10, 1 hour\nsync = full")
    wire = connected(server)
    publish(wire, *(f"m{number}" for number in range(20)))
    server.kill()
    server.start()
    with connected(server) as reader:
        subscribe(reader, "first")
        assert offsets(messages(reader, 10)) == list(range(10, 20))


# ---------------------------------------------------------------- many, and slow


def test_ten_thousand_messages_reach_a_reader_that_dawdles(start: Starter) -> None:
    server = start(f"{CHAT} = 10000, 7 days\nmemory.max_bytes = 1 MiB")
    writer = connected(server)
    padding = "x" * 600
    for begin in range(0, 10_000, 500):
        publish(writer, *(f"{number:050d}{padding}" for number in range(begin, begin + 500)))
    begun_s = time.monotonic()
    reader = Wire(server.stomp, receive_buffer_bytes=8192)
    reader.connect()
    subscribe(reader, "first")
    first = messages(reader, 10)
    time.sleep(1.5)
    # It was paused, not cut, and the server holds nothing like the 7 MB for it.
    assert server.health()["held_bytes"] < 1_000_000
    publish(writer, "afterwards")
    rest = messages(reader, 9_991, 60)
    frames = first + rest
    assert offsets(frames)[:10_000] == list(range(10_000))
    assert [int(frame.body[:50]) for frame in frames[:10_000]] == list(range(10_000))
    assert frames[-1].body == b"afterwards"
    assert time.monotonic() - begun_s < 60
    reader.close()
    writer.close()


def test_a_hundred_readers_come_back_at_once(start: Starter) -> None:
    server = start()
    writer = connected(server)
    publish(writer, *(f"m{number}" for number in range(1000)))
    server.kill()
    server.start()
    readers = [connected(server) for _ in range(100)]
    for reader in readers:
        subscribe(reader, "offset=500")
    for reader in readers:
        assert offsets(messages(reader, 500)) == list(range(500, 1000))
        reader.close()


# ---------------------------------------------------------------- the file


def refused(server: Server) -> str:
    """Start what cannot start; give the sentence it ends with."""
    server.launch()
    assert server.wait(20) != 0
    said = server.log_since_start()
    assert "Traceback" not in said
    [line] = [line for line in said.splitlines() if "rtchat: " in line]
    return line.replace(f"{server.folder}/", "")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("these are my notes, please do not touch\n" * 100)
    server = new_server(tmp_path, f"{CHAT} = 10\nfile = notes.txt")
    assert refused(server).endswith(
        "chat.ini:8: [history] file = notes.txt cannot be used by root: notes.txt: "
        "it is no SQLite database; name another file."
    )
    assert (tmp_path / "notes.txt").read_text().startswith("these are my notes")


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "shop.sqlite") as shop:
        shop.execute("CREATE TABLE orders (id INTEGER)")
    shop.close()
    server = new_server(tmp_path, f"{CHAT} = 10\nfile = shop.sqlite")
    assert refused(server).endswith("it is the database of another program; name another file.")


def test_the_file_of_a_newer_rtchat_is_refused(tmp_path: Path) -> None:
    server = new_server(tmp_path)
    server.start()
    server.stop()
    with sqlite3.connect(tmp_path / "rtchat-history.sqlite") as file:
        file.execute("PRAGMA user_version = 99")
    file.close()
    assert refused(server).endswith(
        "it was written by a newer rtchat; start that one, or name another file."
    )


def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    server = new_server(tmp_path, f"{CHAT} = 10\nfile = /sys/rtchat.sqlite")
    assert refused(server).endswith(
        "chat.ini:8: [history] file = /sys/rtchat.sqlite cannot be used by root: "
        "/sys/rtchat.sqlite: Permission denied; change the permissions or the path."
    )


def test_a_file_that_another_server_uses_is_refused(start: Starter, tmp_path: Path) -> None:
    first = start()
    other = tmp_path / "other"
    other.mkdir()
    second = new_server(other, f"{CHAT} = 10\nfile = ../rtchat-history.sqlite")
    assert refused(second).endswith("another rtchat uses it; stop that one, or name another file.")
    with connected(first) as wire:
        publish(wire, "still well")
    first.kill()
    second.start()  # a lock does not outlive its process
    second.close()


def test_it_can_be_read_while_the_server_runs(start: Starter, tmp_path: Path) -> None:
    server = start()
    with connected(server) as wire:
        publish(wire, "one", "two")
        file = sqlite3.connect(tmp_path / "rtchat-history.sqlite")
        assert file.execute("SELECT body FROM message").fetchall() == [(b"one",), (b"two",)]
        file.close()
        publish(wire, "three")


def test_a_full_file_goes_on_with_the_latest_messages(start: Starter) -> None:
    server = start(f"{CHAT} = 1000, 7 days\nfile.max_bytes = 1 MiB")
    reader = connected(server)
    subscribe(reader, "next", receipt="s")
    assert reader.frame().command == "RECEIPT"
    body = "x" * 50_000
    with connected(server) as writer:
        for _ in range(60):
            writer.send(f"SEND\ndestination:{CHAT}\nreceipt:r\n\n{body}\0")
            assert writer.frame().command == "RECEIPT"
    assert offsets(messages(reader, 60)) == list(range(60))
    with connected(server) as wire:
        subscribe(wire, "offset=50")
        assert offsets(messages(wire, 10)) == list(range(50, 60))
    reader.close()
    assert sum(path.stat().st_size for path in server.folder.glob("*.sqlite")) <= 1 << 20
    assert "history cannot be written" not in server.log()


def test_a_full_disk_is_told_and_stops_nothing_else(start: Starter) -> None:
    # No file of the process may be larger: what a full disk is to SQLite.
    server = start(f"{CHAT} = 1000, 7 days\n", prefix=["prlimit", "--fsize=1500000"])
    reader = connected(server)
    subscribe(reader, "next", receipt="s")
    assert reader.frame().command == "RECEIPT"
    confirmed = 0
    for _ in range(60):
        with connected(server) as writer:
            body = "x" * 50_000
            writer.send(f"SEND\ndestination:{CHAT}\nreceipt:r\n\n{body}\0")
            answer = writer.frame()
            if answer.command == "ERROR":
                assert answer.headers["message"] == "history cannot be written"
                assert answer.headers["receipt-id"] == "r"
                break
            confirmed += 1
    else:
        pytest.fail("the disk was never full")
    assert 5 < confirmed < 40
    for _ in range(3):
        with connected(server) as writer:
            writer.send(f"SEND\ndestination:{CHAT}\nreceipt:r\n\n{body}\0")
            assert writer.frame().command == "ERROR"
    assert server.log().count("history cannot be written: ") == 1
    # What was refused was not delivered; everything else goes on.
    assert offsets(messages(reader, confirmed)) == list(range(confirmed))
    with connected(server) as wire:
        wire.subscribe("/topic/other")
        wire.publish("/topic/other", "well")
        assert wire.frame().body == b"well"
    with connected(server) as wire:
        subscribe(wire, "first")
        assert offsets(messages(wire, confirmed)) == list(range(confirmed))
    reader.close()


def test_memory_says_that_it_is_memory(start: Starter) -> None:
    server = start(f"{CHAT} = 10\nfile = :memory:")
    assert "is kept in memory and ends with this process" in server.log()
    with connected(server) as wire:
        publish(wire, "one", "two")
    with connected(server) as wire:
        subscribe(wire, "last")
        assert offsets(messages(wire, 1)) == [1]
    assert not list(server.folder.glob("*.sqlite*"))


# ---------------------------------------------------------------- other people's clients


@pytest.mark.parametrize("version", VERSIONS)
def test_stomp_py_comes_back_to_what_it_missed(start: Starter, version: str) -> None:
    server = start()
    with StompPy(server.stomp, version) as program:
        program.subscribe(CHAT)
        program.send(CHAT, "one")
        one = program.message()
    with StompPy(server.stomp, version) as program:
        program.send(CHAT, "two", receipt="r2")
        program.send(CHAT, "three", receipt="r3")
        assert [program.receipts.get(timeout=10) for _ in range(2)] == ["r2", "r3"]
    server.kill()
    server.start()
    with StompPy(server.stomp, version) as program:
        following = int(one.headers["x-stream-offset"]) + 1
        program.subscribe(
            CHAT,
            headers={
                "x-stream-offset": f"offset={following}",
                "x-stream-epoch": one.headers["x-stream-epoch"],
            },
        )
        two, three = program.message(), program.message()
        assert (two.body, three.body) == ("two", "three")
        assert two.headers["x-stream-recovered"] == "true"
        program.send(CHAT, "four")
        assert program.message().headers["x-stream-offset"] == "3"


@pytest.mark.parametrize("path", ["/ws", "/tcp/localhost:PORT"])
def test_stompjs_comes_back_to_what_it_missed(start: Starter, path: str) -> None:
    server = start()
    with connected(server) as wire:
        publish(wire, "one", "two", "three")
    way = path.replace("PORT", str(server.stomp))
    client = StompJs(server, way, CHAT, "text", {"x-stream-offset": "offset=1"})
    try:
        assert client.expect("ready")  # its RECEIPT comes first
        news = [client.expect("message") for _ in range(2)]
        assert [one["headers"]["x-stream-offset"] for one in news] == ["1", "2"]
        client.order(body=json.dumps("four"))
        assert client.expect("message")["headers"]["x-stream-offset"] == "3"
    finally:
        client.close()


# ---------------------------------------------------------------- beside everything else


def test_other_topics_have_no_such_headers(start: Starter) -> None:
    server = start()
    with connected(server) as wire:
        wire.subscribe("/topic/other")
        wire.publish("/topic/other", "x")
        assert not [name for name in wire.frame().headers if name.startswith("x-stream")]


def test_the_message_log_has_kept_messages_too(start: Starter, tmp_path: Path) -> None:
    server = start(f"{CHAT} = 10\n[log]\nmessages = log.jsonl")
    with connected(server) as wire:
        publish(wire, "one", "two")

    def logged() -> list[str]:
        text = (tmp_path / "log.jsonl").read_text(encoding="utf-8")
        return [json.loads(line)["body"] for line in text.splitlines()]

    until("lines in the message log", lambda: logged() == ["one", "two"])


def test_the_age_holds_while_the_server_is_down(start: Starter) -> None:
    server = start(f"{CHAT} = 10, 2 seconds")
    with connected(server) as wire:
        publish(wire, "old")
    server.stop()
    time.sleep(2.2)
    server.start()
    with connected(server) as wire:
        publish(wire, "new")
        until(
            "empty file but for the new message",
            lambda: _count(server.folder / "rtchat-history.sqlite") == 1,
        )
        subscribe(wire, "first")
        [frame] = messages(wire, 1)
        assert (frame.body, frame.headers["x-stream-offset"]) == (b"new", "1")


def _count(path: Path) -> int:
    done = subprocess.run(
        [
            "python3",
            "-c",
            f"import sqlite3; print(sqlite3.connect('{path}').execute("
            "'SELECT count(*) FROM message').fetchone()[0])",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)
