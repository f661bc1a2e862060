"""The page, its files and its WebSockets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.hostile import KIB, MIB, NO_END, GuardedServer, attack, guarded, times
from support.process import get
from support.websocket import BINARY, PING, PONG, TEXT, http_request, ws_frame

pytestmark = [pytest.mark.live, pytest.mark.soak]


# ---------------------------------------------------------------- files


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedServer]:
    """One server for all, with a folder of an operator who is not careful."""
    home = tmp_path_factory.mktemp("mounted")
    folder = home / "files"
    (folder / ".git").mkdir(parents=True)
    (folder / "sub").mkdir()
    (home / "secret.txt").write_text("secret", encoding="utf-8")
    for name in (".env", ".git/config", ".htpasswd", "sub/.hidden"):
        (folder / name).write_text("secret", encoding="utf-8")
    (folder / "plain").write_text("<script>alert(1)</script>", encoding="utf-8")
    (folder / "page.html").write_text("<p>page</p>", encoding="utf-8")
    (folder / "link.txt").symlink_to(home / "secret.txt")
    (folder / "up").symlink_to(home)
    (folder / "inside.html").symlink_to(folder / "page.html")
    with guarded(home, f"[static]\nfiles = {folder}\n") as started:
        yield started


HIDDEN = (
    ".env",
    "%2eenv",
    ".git/config",
    ".htpasswd",
    "sub/.hidden",
    "link.txt",
    "up/secret.txt",
    "..%2fsecret.txt",
    "%2e%2e/secret.txt",
    "sub/..%2f..%2fsecret.txt",
)


def test_files_that_were_not_meant_are_not_served(mounted: GuardedServer) -> None:
    with attack(mounted, NO_END):
        served = []
        for path in HIDDEN:
            status, _, body = get(mounted.http, f"/files/{path}")
            if status not in (400, 403, 404) or "secret" in body:
                served.append(path)
        assert served == []


def test_files_that_were_meant_are_served(mounted: GuardedServer) -> None:
    with attack(mounted, NO_END):
        assert get(mounted.http, "/files/page.html")[0] == 200
        assert get(mounted.http, "/files/inside.html")[0] == 200


def test_a_file_without_an_extension_is_no_page(mounted: GuardedServer) -> None:
    with attack(mounted, NO_END):
        status, headers, _ = get(mounted.http, "/files/plain")
        assert status == 200
        assert "html" not in headers["content-type"]
        assert headers["x-content-type-options"] == "nosniff"


# ---------------------------------------------------------------- WebSockets


@pytest.mark.parametrize(
    "frame",
    [ws_frame(BINARY), ws_frame(TEXT), ws_frame(PONG), ws_frame(PING), ws_frame(PONG, b"x" * 125)],
    ids=["empty binary", "empty text", "pong", "ping", "long pong"],
)
def test_a_flood_of_messages_that_say_nothing(server: GuardedServer, frame: bytes) -> None:
    with attack(server, "more than 100 pings, pongs or empty messages", holds=16 * MIB) as scene:
        eve = scene.websocket()
        before_s = server.processor_s()
        eve.pour(frame * (times(4, 40) * MIB // len(frame)), times(3, 10))
        spent_s = server.processor_s() - before_s
        assert spent_s < 1.0, f"{spent_s:.1f} s of the processor for {eve.taken / MIB:.1f} MiB"


def test_a_flood_of_fragments(server: GuardedServer) -> None:
    begin = ws_frame(BINARY, b"", is_final=False)
    with attack(server, "more than 100 pings, pongs or empty messages", holds=16 * MIB) as scene:
        eve = scene.websocket()
        before_s = server.processor_s()
        eve.pour(begin + ws_frame(0, b"", is_final=False) * (times(4, 40) * MIB // 6), 3)
        spent_s = server.processor_s() - before_s
        assert spent_s < 1.0, f"{spent_s:.1f} s of the processor for {eve.taken / MIB:.1f} MiB"


# ---------------------------------------------------------------- HTTP


def test_requests_that_come_byte_by_byte(server: GuardedServer) -> None:
    with attack(server, NO_END) as scene:
        eve = scene.raw()
        request = http_request("GET", "/", {"Host": f"localhost:{server.http}", "X": "y" * 8000})
        for byte in request[:2000]:
            eve.pour(bytes([byte]))


def test_a_flood_of_upgrades(server: GuardedServer) -> None:
    with attack(server, NO_END, holds=16 * MIB) as scene:
        for _ in range(times(100, 400)):
            eve = scene.websocket()
            eve.close()


def test_bodies_that_never_end(server: GuardedServer) -> None:
    head = {"Host": f"localhost:{server.http}", "Content-Length": "65536"}
    with attack(server, NO_END, holds=16 * MIB) as scene:
        for _ in range(times(60, 300)):
            scene.raw(http_request("POST", "/static/chat.js", head) + b"x" * 60 * KIB)
