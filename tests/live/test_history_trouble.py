"""A history in trouble: copies put back, damage, full disks, too many names; /health says so."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from support.browser import Window
from support.process import Server, free_port, get, until
from support.stomp import Frame
from support.wire import Wire

pytestmark = [pytest.mark.live]

CHAT = "/topic/chat"
FILE = "rtchat-history.sqlite"
Starter = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    """Return what starts a server that keeps messages."""
    servers: list[Server] = []

    def start(lines: str = "", more: str = "", **options: Any) -> Server:
        http, stomp = free_port(), free_port()
        text = (
            f"[listen]\nhttp://127.0.0.1:{http}\nstomp://127.0.0.1:{stomp}\n"
            f"[access]\nself -> localhost:{stomp}\n"
            f"[history]\n{CHAT}* = 1000, 7 days\n{lines}\n{more}\n"
        )
        server = Server(tmp_path, text, http=http, stomp=stomp, **options)
        server.is_expected_to_complain = True
        servers.append(server)
        return server.start()

    yield start
    for server in servers:
        server.close()


def connected(server: Server) -> Wire:
    wire = Wire(server.stomp)
    wire.connect()
    return wire


def publish(server: Server, *bodies: str, destination: str = CHAT) -> None:
    """Publish, and wait until all is in the file."""
    with connected(server) as wire:
        for body in bodies:
            wire.send(f"SEND\ndestination:{destination}\n\n{body}\0")
        wire.send("DISCONNECT\nreceipt:done\n\n\0")
        assert wire.frame() == Frame("RECEIPT", {"receipt-id": "done"})


def resumed(server: Server, start: str, **headers: str) -> tuple[Frame, list[Frame]]:
    """Subscribe, publish one message, and return the RECEIPT and all messages up to that one."""
    receipt = None
    end = uuid4().hex
    found: list[Frame] = []
    with connected(server) as wire:
        more = "".join(f"{name.replace('_', '-')}:{value}\n" for name, value in headers.items())
        wire.send(
            f"SUBSCRIBE\nid:0\ndestination:{CHAT}\nreceipt:s\nx-stream-offset:{start}\n{more}\n\0"
        )
        wire.send(f"SEND\ndestination:{CHAT}\n\n{end}\0")
        while receipt is None or not found or found[-1].body != end.encode():
            frame = wire.frame()
            assert frame.command in ("RECEIPT", "MESSAGE"), frame
            if frame.command == "RECEIPT":
                receipt = frame
            else:
                found.append(frame)
    return receipt, found[:-1]


def health(server: Server) -> tuple[int, str, dict[str, str]]:
    """Ask /health; return the status code, the status and the checks that are not ok."""
    code, _, body = get(server.http, "/health")
    facts = json.loads(body)
    return code, facts["status"], {k: v for k, v in facts["checks"].items() if v != "ok"}


# ---------------------------------------------------------------- copies


def restored_cold(server: Server, folder: Path) -> None:
    """Copy the file while the server is stopped, go on, and put the copy back."""
    server.stop()
    shutil.copy2(folder / FILE, folder / "backup")
    server.start()
    publish(server, "3", "4", "5")
    server.stop()
    shutil.copy2(folder / "backup", folder / FILE)


def restored_hot(server: Server, folder: Path) -> None:
    """Copy the file while the server runs, as SQLite does it; put the copy back after kill -9."""
    source, target = sqlite3.connect(folder / FILE), sqlite3.connect(folder / "backup")
    with closing(source), closing(target):
        source.backup(target)
    publish(server, "3", "4", "5")
    server.kill()
    for end in ("-wal", "-shm"):
        (folder / f"{FILE}{end}").unlink(missing_ok=True)
    shutil.copy(folder / "backup", folder / FILE)


@pytest.mark.parametrize("restore", [restored_cold, restored_hot])
def test_who_comes_back_after_a_copy_was_put_back_gets_the_new_messages(
    start: Starter, tmp_path: Path, restore: Callable[[Server, Path], None]
) -> None:
    server = start()
    publish(server, "0", "1", "2")
    receipt, _ = resumed(server, "offset=0")
    epoch = receipt.headers["x-stream-epoch"]
    restore(server, tmp_path)
    server.start()
    assert "an older copy" in server.log_since_start()
    # What comes now gets numbers that the client has seen already.
    publish(server, "new 1", "new 2", "new 3")
    receipt, found = resumed(server, "offset=7", x_stream_epoch=epoch)
    assert receipt.headers["x-stream-recovered"] == "false"
    assert receipt.headers["x-stream-epoch"] != epoch
    assert [frame.body for frame in found][-3:] == [b"new 1", b"new 2", b"new 3"]


def test_a_restart_is_no_copy(start: Starter) -> None:
    server = start()
    publish(server, "0", "1", "2")
    receipt, _ = resumed(server, "first")
    for end in (server.stop, server.kill, server.stop):
        end()
        server.start()
        again, found = resumed(server, "offset=1", x_stream_epoch=receipt.headers["x-stream-epoch"])
        assert again.headers["x-stream-recovered"] == "true"
        assert again.headers["x-stream-epoch"] == receipt.headers["x-stream-epoch"]
        assert found[0].body == b"1"


# ---------------------------------------------------------------- damage


def damage(path: Path, body: bytes) -> None:
    """Overwrite the page of the file in which a message's body lies."""
    data = bytearray(path.read_bytes())
    page = data.index(body) // 4096 * 4096
    data[page : page + 4096] = b"\x5a" * 4096
    path.write_bytes(data)


def spoiled(start: Starter, folder: Path) -> Server:
    """Return a server whose history has a damaged page in the middle."""
    server = start()
    publish(
        server,
        *(json.dumps({"nick": "Ada", "text": f"line {n:03d} " + "x" * 200}) for n in range(200)),
    )
    server.stop()
    damage(folder / FILE, b"line 100 ")
    return server.start()


def test_damage_in_the_middle_leaves_the_rest_and_the_live_chat(
    start: Starter, tmp_path: Path
) -> None:
    server = spoiled(start, tmp_path)
    assert health(server) == (200, "ok", {})
    for _ in range(2):
        _, found = resumed(server, "first")
        texts = [frame.body[:40].decode() for frame in found]
        assert "line 000" in texts[0]
        assert any("line 199" in text for text in texts)
        assert not any("line 100" in text for text in texts)
        gaps = [
            frame.headers["x-stream-unreadable"]
            for frame in found
            if "x-stream-unreadable" in frame.headers
        ]
        assert len(gaps) == 1
        assert 5 < int(gaps[0]) < 20
    code, status, checks = health(server)
    assert (code, status) == (503, "degraded")
    assert checks == {
        "history_readable": "damaged: 1 destinations have messages that cannot be read"
    }
    assert server.log().count("cannot be read or cleaned up") == 1


@pytest.mark.browser
def test_the_page_shows_what_is_left_and_goes_on(
    start: Starter, tmp_path: Path, open_window: Callable[..., Window]
) -> None:
    server = spoiled(start, tmp_path)
    window = open_window(server.url, "Grace")
    # The notice stands where the messages would; of a long list only a part is elements.
    notice = window.page.get_by_text("the server's history is damaged")
    window.line(f"line 199 {'x' * 200}").wait_for()
    scroll = "document.querySelector('#log').scrollTop -= 300"
    until("the notice", lambda: bool(notice.count() or window.page.evaluate(scroll) == "never"))
    window.say("still here")
    window.line("still here")
    other = open_window(server.url, "Kay")
    assert other.nick_of("still here") == "Grace"
    other.say("so am I")
    window.line("so am I")


# ---------------------------------------------------------------- what /health says


def limit_files(server: Server, size: str) -> None:
    """Let no file of the server become larger: what a full disk is to a program."""
    subprocess.run(["prlimit", f"--pid={server.pid}", f"--fsize={size}"], check=True)


def test_a_full_disk_is_a_503_until_there_is_room(start: Starter) -> None:
    server = start()
    publish(server, "0")
    assert health(server) == (200, "ok", {})
    limit_files(server, "4096:unlimited")
    with connected(server) as wire:
        wire.send(f"SEND\ndestination:{CHAT}\nreceipt:r\n\nlost\0")
        assert wire.frame().headers["message"] == "history cannot be written"
    code, status, checks = health(server)
    assert (code, status) == (503, "failed")
    assert checks["history_writable"].startswith("cannot be written: ")
    # It does not take a message to find out that it works again.
    limit_files(server, "unlimited:unlimited")
    until("ok again", lambda: health(server) == (200, "ok", {}), 20)
    assert "history can be written again" in server.log()
    publish(server, "1")


def test_a_message_log_that_fails_is_a_503_until_it_works(start: Starter, tmp_path: Path) -> None:
    log = tmp_path / "messages.jsonl"
    log.symlink_to("/dev/full")
    server = start(more="[log]\nmessages = messages.jsonl\n")
    assert health(server) == (200, "ok", {})
    publish(server, "kept")
    until("the failing log", lambda: health(server)[:2] == (503, "degraded"))
    assert health(server)[2] == {"message_log": "cannot be written: No space left on device"}
    log.unlink()
    until("ok again", lambda: health(server) == (200, "ok", {}), 20)
    assert [json.loads(line)["body"] for line in log.read_text().splitlines()] == ["kept"]


def test_a_file_that_is_taken_away_is_a_503(start: Starter, tmp_path: Path) -> None:
    server = start()
    publish(server, "0")
    (tmp_path / FILE).rename(tmp_path / "away")
    until("the missing file", lambda: health(server)[0] == 503, 20)
    assert health(server)[1:] == (
        "degraded",
        {"disk": "the file was moved or deleted; start the server again"},
    )
    (tmp_path / "away").rename(tmp_path / FILE)
    until("ok again", lambda: health(server) == (200, "ok", {}), 20)


# ---------------------------------------------------------------- too many names


def test_more_names_than_places_close_the_door_to_nobody(start: Starter) -> None:
    server = start("destinations.max_count = 50")
    publish(server, "one", "two", destination=f"{CHAT}.room")
    with connected(server) as stranger:
        for number in range(300):
            stranger.send(f"SEND\ndestination:{CHAT}.{number}\n\nx\0")
        stranger.send("DISCONNECT\nreceipt:done\n\n\0")
        assert stranger.frame() == Frame("RECEIPT", {"receipt-id": "done"})
    with connected(server) as reader:
        reader.subscribe(f"{CHAT}.new")
        publish(server, "hello", destination=f"{CHAT}.new")
        assert reader.frame().body == b"hello"
    with connected(server) as reader:
        reader.send(f"SUBSCRIBE\nid:0\ndestination:{CHAT}.room\nx-stream-offset:first\n\n\0")
        assert [reader.frame().body for _ in range(2)] == [b"one", b"two"]
    server.until_logged("destinations lost their history", 20)
    assert health(server) == (200, "ok", {})
