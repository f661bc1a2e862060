"""Files over raw HTTP: conditions, parts, and what a folder may hold beside files."""

from __future__ import annotations

import errno
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.logs import Logs, captured_logs
from support.net import FakeBrowser, cooperation
from support.process import ROOT
from support.websocket import Answer, http_request, read_answer
from twisted.internet.task import Clock

from rtchat.core.access.hosts import HostList
from rtchat.net.web.files import page_tree
from rtchat.net.web.site import PageSite

CONTENT = bytes(range(256)) * 40
SIZE = len(CONTENT)
WRITTEN_S = 1_700_000_000
WRITTEN = "Tue, 14 Nov 2023 22:13:20 GMT"
EARLIER = "Tue, 14 Nov 2023 22:13:19 GMT"
LATER = "Tue, 14 Nov 2023 22:13:21 GMT"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "data.bin").write_bytes(CONTENT)
    os.utime(folder / "data.bin", (WRITTEN_S, WRITTEN_S))
    (folder / "empty").touch()
    return folder


@pytest.fixture
def browser(folder: Path, logs: Logs) -> Iterator[FakeBrowser]:
    clock = Clock()
    tree = page_tree(ROOT / "static", {"files": folder, "demos": ROOT / "examples/demos"}, {})
    with cooperation(clock):
        yield FakeBrowser(PageSite(tree, HostList(), clock))
    assert logs.failures() == []


@pytest.fixture
def logs() -> Iterator[Logs]:
    with captured_logs() as logs:
        yield logs


def get(browser: FakeBrowser, **headers: str) -> Answer:
    return browser.get("/files/data.bin", **headers)


# ---------------------------------------------------------------- parts


def test_one_part_is_sent_with_its_place(browser: FakeBrowser) -> None:
    answer = get(browser, Range="bytes=10-19")
    assert (answer.status, answer.body) == (206, CONTENT[10:20])
    assert answer.headers["content-range"] == f"bytes 10-19/{SIZE}"
    assert answer.headers["content-length"] == "10"
    assert answer.headers["accept-ranges"] == "bytes"


def test_several_parts_are_sent_in_the_order_they_are_asked_for(browser: FakeBrowser) -> None:
    answer = get(browser, Range="bytes=-3,0-1,5000-5001")
    assert answer.status == 206
    assert "content-range" not in answer.headers
    assert int(answer.headers["content-length"]) == len(answer.body)
    found = re.fullmatch(r'multipart/byteranges; boundary="(\w+)"', answer.headers["content-type"])
    assert found
    first, *parts, last = answer.body.split(f"\r\n--{found[1]}".encode())
    assert (first, last) == (b"", b"--\r\n")
    for part, (start, end) in zip(parts, [(SIZE - 3, SIZE), (0, 2), (5000, 5002)], strict=True):
        head, _, body = part.partition(b"\r\n\r\n")
        assert body == CONTENT[start:end]
        assert f"Content-Range: bytes {start}-{end - 1}/{SIZE}".encode() in head


@pytest.mark.parametrize(
    "asked",
    [
        f"bytes=-{SIZE + 1}",
        "bytes=0-",
        "bytes=" + ",".join(["0-"] * 5000),
        "bytes=0-99999999999999999999",
    ],
)
def test_all_of_the_file_is_one_part(browser: FakeBrowser, asked: str) -> None:
    answer = get(browser, Range=asked)
    assert (answer.status, answer.body) == (206, CONTENT)
    assert answer.headers["content-range"] == f"bytes 0-{SIZE - 1}/{SIZE}"


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=é-",
        "bytes=-é",
        "lines=1-2",
        "bytes=9-1",
        "bytes",
        "bytes=" + ",".join(f"{at}-{at}" for at in range(0, 10_000, 500)),
    ],
)
def test_a_range_that_is_none_is_ignored(browser: FakeBrowser, logs: Logs, asked: str) -> None:
    answer = get(browser, Range=asked)
    assert (answer.status, answer.body) == (200, CONTENT)
    assert logs.events == []


def test_two_headers_of_ranges_are_ignored(browser: FakeBrowser) -> None:
    request = (
        b"GET /files/data.bin HTTP/1.1\r\nHost: localhost\r\n"
        b"Range: bytes=0-0\r\nRange: bytes=1-1\r\n\r\n"
    )
    assert browser.ask(request).status == 200


def test_many_small_parts_are_answered(browser: FakeBrowser) -> None:
    near = get(browser, Range="bytes=" + ",".join(f"{at}-{at}" for at in range(0, 2600, 2)))
    assert (near.status, near.body) == (206, CONTENT[:2599])


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", "bytes=-0", f"bytes={SIZE}-{SIZE + 9},-0"])
def test_a_part_that_is_not_there_is_416(browser: FakeBrowser, asked: str) -> None:
    answer = get(browser, Range=asked)
    assert (answer.status, answer.body) == (416, b"")
    assert answer.headers["content-range"] == f"bytes */{SIZE}"
    assert get(browser).status == 200


def test_an_empty_file_is_sent(browser: FakeBrowser) -> None:
    for headers in ({}, {"Range": "bytes=-5"}):
        answer = browser.get("/files/empty", **headers)
        assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "0")
    assert browser.get("/files/empty", Range="bytes=0-").status == 416


def test_head_ignores_the_range(browser: FakeBrowser) -> None:
    headers = {"Host": "localhost", "Range": "bytes=0-0"}
    answer = browser.ask(http_request("HEAD", "/files/data.bin", headers), has_body=False)
    assert (answer.status, answer.headers["content-length"]) == (200, str(SIZE))
    assert get(browser).status == 200


def test_a_part_is_sent_if_the_content_is_the_same(browser: FakeBrowser) -> None:
    tag = get(browser).headers["etag"]
    for same in (tag, WRITTEN):
        assert get(browser, Range="bytes=0-0", If_Range=same).status == 206


@pytest.mark.parametrize(
    "stale", ['"else"', "W/{tag}", "{tag}, {tag}", "*", "", "x", EARLIER, LATER, "é"]
)
def test_a_part_of_another_content_is_not_sent(browser: FakeBrowser, stale: str) -> None:
    tag = get(browser).headers["etag"]
    answer = get(browser, Range="bytes=0-0", If_Range=stale.format(tag=tag))
    assert (answer.status, answer.body) == (200, CONTENT)


def test_a_date_of_this_second_does_not_prove_the_content(
    browser: FakeBrowser, folder: Path
) -> None:
    (folder / "data.bin").write_bytes(CONTENT)
    date = get(browser).headers["last-modified"]
    assert get(browser, Range="bytes=0-0", If_Range=date).status == 200


# ---------------------------------------------------------------- conditions


@pytest.mark.parametrize(
    "path", ["/", "/static/chat.js", "/demos/irc.js", "/files/data.bin", "/favicon.ico"]
)
def test_every_file_has_a_strong_tag(browser: FakeBrowser, path: str) -> None:
    tag = browser.get(path).headers["etag"]
    assert re.fullmatch(r'"[0-9a-f]{32}"', tag)
    again = browser.get(path, If_None_Match=tag)
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
    assert "content-length" not in again.headers


@pytest.mark.parametrize(
    "known, status",
    [
        ("{tag}", 304),
        ("W/{tag}", 304),
        ('"a", {tag}', 304),
        ('"a,b",W/"c" , {tag}', 304),
        ("*", 304),
        ('"a"', 200),
        ("{tag}x", 200),
        ("tag", 200),
        ("", 200),
        ("é", 200),
        ('"', 200),
    ],
)
def test_a_browser_that_has_the_content_is_told_so(
    browser: FakeBrowser, known: str, status: int
) -> None:
    tag = get(browser).headers["etag"]
    # The date would say the opposite; the tag alone counts.
    date = EARLIER if status == 304 else WRITTEN
    answer = get(browser, If_None_Match=known.format(tag=tag), If_Modified_Since=date)
    assert answer.status == status


@pytest.mark.parametrize(
    "date, status",
    [
        (WRITTEN, 304),
        ("Tuesday, 14-Nov-23 22:13:20 GMT", 304),
        ("Tue Nov 14 22:13:20 2023", 304),
        # A roll-back: the browser has a newer file than the server now.
        (LATER, 200),
        ("Wed, 01 Jan 2031 00:00:00 GMT", 200),
        (EARLIER, 200),
        ("", 200),
        ("soon", 200),
        ("é", 200),
        ("Tue, 99 Nov 2023 99:99:99 GMT", 200),
        ("Tue, 14 Nov 99999999999999999999 22:13:20 GMT", 200),
    ],
)
def test_a_date_has_to_be_that_of_the_file(browser: FakeBrowser, date: str, status: int) -> None:
    assert get(browser, If_Modified_Since=date).status == status


def test_a_roll_back_reaches_browsers(browser: FakeBrowser, folder: Path) -> None:
    path = folder / "script.js"
    seen: list[Answer] = []
    for content, written_s in ((b"new", WRITTEN_S), (b"old", WRITTEN_S - 1000)):
        path.write_bytes(content)
        os.utime(path, (written_s, written_s))
        known = {"If_Modified_Since": seen[-1].headers["last-modified"]} if seen else {}
        seen.append(browser.get("/files/script.js", **known))
    assert [answer.body for answer in seen] == [b"new", b"old"]


@pytest.mark.parametrize(
    "headers, status",
    [
        ({"If_Match": "{tag}"}, 200),
        ({"If_Match": "*"}, 200),
        ({"If_Match": '"else"'}, 412),
        ({"If_Match": "W/{tag}"}, 412),
        ({"If_Unmodified_Since": WRITTEN}, 200),
        ({"If_Unmodified_Since": LATER}, 200),
        ({"If_Unmodified_Since": EARLIER}, 412),
        ({"If_Unmodified_Since": "soon"}, 200),
        ({"If_Match": "{tag}", "If_Unmodified_Since": EARLIER}, 200),
    ],
)
def test_conditions_that_fail_are_412(
    browser: FakeBrowser, headers: dict[str, str], status: int
) -> None:
    tag = get(browser).headers["etag"]
    given = {name: value.format(tag=tag) for name, value in headers.items()}
    assert get(browser, **given).status == status


def test_a_condition_counts_before_a_range(browser: FakeBrowser) -> None:
    tag = get(browser).headers["etag"]
    assert get(browser, If_None_Match=tag, Range="bytes=0-0").status == 304
    assert get(browser, If_None_Match='"a"', Range="bytes=0-0").status == 206


# ---------------------------------------------------------------- what else a folder may hold


def test_a_fifo_is_nothing_and_holds_up_nobody(browser: FakeBrowser, folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    assert browser.get("/files/fifo").status == 404


def test_a_link_that_leads_nowhere_or_round_is_nothing(browser: FakeBrowser, folder: Path) -> None:
    (folder / "loop").symlink_to("loop")
    (folder / "gone").symlink_to("nowhere")
    for name in ("loop", "gone"):
        assert browser.get(f"/files/{name}").status == 404


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_forbidden(browser: FakeBrowser, folder: Path) -> None:
    (folder / "data.bin").chmod(0)
    answer = get(browser)
    assert answer.status == 403
    assert "may not read" in answer.text


@pytest.mark.parametrize(
    "path, location",
    [
        ("/files/sub", "/files/sub/"),
        ("/files/sub?a=b&c", "/files/sub/?a=b&c"),
        ("/files/s%75b", "/files/s%75b/"),
    ],
)
def test_a_folder_without_its_slash_is_elsewhere(
    browser: FakeBrowser, folder: Path, path: str, location: str
) -> None:
    (folder / "sub").mkdir()
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    answer = browser.ask(request)
    assert (answer.status, answer.headers["location"]) == (302, location)


def test_a_disk_that_fails_breaks_the_answer_off(
    browser: FakeBrowser, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(io.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() >= 100_000:
                raise OSError(errno.EIO, "Input/output error")
            return super().read(size)

    (folder / "large").write_bytes(b"x" * 5_000_000)
    monkeypatch.setattr("os.fdopen", Failing)
    browser.socket.receive(http_request("GET", "/files/large", {"Host": "localhost"}))
    for _ in range(10):
        browser.clock.advance(0)
        browser.socket.turn()
    assert browser.socket.was_cut


def test_a_file_that_becomes_shorter_breaks_the_answer_off(
    browser: FakeBrowser, folder: Path
) -> None:
    clock = browser.clock
    path = folder / "large"
    path.write_bytes(b"x" * 1_000_000)
    browser.socket.room = 100_000
    browser.socket.receive(http_request("GET", "/files/large", {"Host": "localhost"}))
    for _ in range(10):
        clock.advance(0)
        browser.socket.turn()
    os.truncate(path, 0)
    browser.socket.room = 1 << 30
    for _ in range(100):
        clock.advance(0)
        browser.socket.turn()
    assert browser.socket.was_cut
    answer, _ = read_answer(bytes(browser.socket.sent), has_body=False)
    assert answer.headers["content-length"] == "1000000"


# ---------------------------------------------------------------- what is not for the world


@pytest.mark.parametrize(
    "path",
    [
        "/files/.env",
        "/files/.git/config",
        "/files/sub/.htpasswd",
        "/files/%2eenv",
        "/files/%2Egit/config",
        "/files/.well-known/.env",
        "/files/.",
        "/files/..data/file",
        "/files/x%2F..%2F.env",
        "/files/x%2f%2e%2e%2f%2eenv",
        "/files/x%2F..%2F.git/config",
        "/files/sub/x%2F..%2F.htpasswd",
    ],
)
def test_names_that_begin_with_a_dot_are_not_there(
    browser: FakeBrowser, folder: Path, path: str
) -> None:
    for name in (".env", ".git/config", "sub/.htpasswd", ".well-known/.env", "..data/file"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("secret")
    answer = browser.get(path)
    assert (answer.status, answer.text) == (404, "There is nothing at this address.\n")


def test_the_folder_for_well_known_files_is_there(browser: FakeBrowser, folder: Path) -> None:
    (folder / ".well-known").mkdir()
    (folder / ".well-known" / "security.txt").write_text("Contact: …")
    assert browser.get("/files/.well-known/security.txt").status == 200


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    secret = tmp_path / "secret"
    (secret / "sub").mkdir(parents=True)
    for name in ("key.pem", "index.html", "sub/key.pem"):
        (secret / name).write_text("secret")
    return secret


@pytest.mark.parametrize(
    "link, target, path",
    [
        ("key", "../secret/key.pem", "/files/key"),
        ("key", "/proc/self/environ", "/files/key"),
        ("all", "../secret", "/files/all/key.pem"),
        ("all", "../secret", "/files/all/sub/key.pem"),
        ("all", "../secret", "/files/all/"),
        ("all", "../secret", "/files/all"),
        ("index.html", "../secret/index.html", "/files/"),
        ("one", "two", "/files/one"),
        ("beside", "../files-of-others", "/files/beside"),
    ],
)
def test_a_link_that_leads_out_of_a_folder_is_not_followed(
    browser: FakeBrowser, folder: Path, secret: Path, logs: Logs, link: str, target: str, path: str
) -> None:
    (folder / link).symlink_to(target)
    (folder / "two").symlink_to(secret / "key.pem")
    (folder.parent / "files-of-others").write_text("secret")
    answer = browser.get(path)
    assert (answer.status, answer.text) == (404, "There is nothing at this address.\n")
    [line] = logs.lines("warn")
    assert "a link leads out of the folder" in line


@pytest.mark.parametrize("link", ["data", "sub/data", "all/data.bin"])
def test_a_link_that_stays_in_its_folder_is_followed(
    browser: FakeBrowser, folder: Path, link: str
) -> None:
    (folder / "sub").mkdir()
    (folder / "data").symlink_to("data.bin")
    (folder / "sub" / "data").symlink_to(folder / "data")
    (folder / "all").symlink_to(".")
    assert browser.get(f"/files/{link}").body == CONTENT


def test_a_mount_itself_may_be_a_link_and_may_be_moved(logs: Logs, tmp_path: Path) -> None:
    for release in ("one", "two"):
        (tmp_path / release).mkdir()
        (tmp_path / release / "version.txt").write_text(release)
    current, file = tmp_path / "current", tmp_path / "file.txt"
    current.symlink_to("one")
    file.symlink_to("one/version.txt")
    clock = Clock()
    tree = page_tree(ROOT / "static", {"files": current, "file.txt": file}, {})
    with cooperation(clock):
        browser = FakeBrowser(PageSite(tree, HostList(), clock))
        assert browser.get("/files/version.txt").text == "one"
        current.unlink()
        current.symlink_to("two")
        assert browser.get("/files/version.txt").text == "two"
        assert browser.get("/file.txt").text == "one"


def test_our_own_page_may_be_installed_as_links(logs: Logs, tmp_path: Path) -> None:
    for file in (ROOT / "static").glob("*.*"):
        (tmp_path / file.name).symlink_to(file)
    clock = Clock()
    with cooperation(clock):
        browser = FakeBrowser(PageSite(page_tree(tmp_path, {}, {}), HostList(), clock))
        assert [browser.get(path).status for path in ("/", "/static/chat.js")] == [200, 200]


@pytest.mark.parametrize("name", ["upload", "README", "no.such-ending", "page.html~", "html"])
def test_a_file_of_no_known_kind_is_no_page(browser: FakeBrowser, folder: Path, name: str) -> None:
    (folder / name).write_text("<script>alert(1)</script>")
    answer = browser.get(f"/files/{name}")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_page_is_a_page(browser: FakeBrowser, folder: Path) -> None:
    (folder / "page.html").write_text("<p>")
    kind = browser.get("/files/page.html").headers["content-type"]
    assert kind == "text/html; charset=utf-8"


def test_a_mounted_file_without_an_ending_is_no_page(logs: Logs, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("<script>")
    clock = Clock()
    with cooperation(clock):
        tree = page_tree(ROOT / "static", {"file": tmp_path / "file"}, {})
        answer = FakeBrowser(PageSite(tree, HostList(), clock)).get("/file")
    assert answer.headers["content-type"] == "application/octet-stream"
