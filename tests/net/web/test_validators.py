"""ETag and Last-Modified: of what they are made, and what conditions compare."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rtchat.net.web.validators import MAX_HASHED_BYTES, TagCache, Validators

NOW_S = 2_000_000_000.0


def validators(path: Path, cache: TagCache | None = None) -> Validators:
    with path.open("rb") as file:
        made = (cache or TagCache(lambda: NOW_S)).of(file, os.fstat(file.fileno()))
        assert file.tell() == 0
        return made


def write(path: Path, content: bytes, written_s: float = 1_700_000_000) -> Path:
    path.write_bytes(content)
    os.utime(path, (written_s, written_s))
    return path


def test_a_tag_is_the_content_s_whatever_the_name_and_the_date(tmp_path: Path) -> None:
    one = validators(write(tmp_path / "one", b"content"))
    two = validators(write(tmp_path / "two", b"content", 1_600_000_000))
    assert one.tag == two.tag
    assert one.tag.startswith('"')
    assert one.date != two.date


def test_another_content_of_the_same_length_and_date_has_another_tag(tmp_path: Path) -> None:
    cache = TagCache(lambda: NOW_S)
    before = validators(write(tmp_path / "a", b"version 1"), cache)
    after = validators(write(tmp_path / "a", b"version 2"), cache)
    assert before.tag != after.tag
    assert before.date == after.date
    assert validators(write(tmp_path / "a", b"version 1"), cache).tag == before.tag


def test_an_unchanged_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a", b"content")
    cache = TagCache(lambda: NOW_S)
    tag = validators(path, cache).tag
    monkeypatch.setattr("rtchat.net.web.validators.blake2b", None)
    assert validators(path, cache).tag == tag


def test_a_file_that_was_written_just_now_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "a", b"content")
    cache = TagCache(lambda: path.stat().st_ctime + 1)
    validators(path, cache)
    status = path.stat()
    path.write_bytes(b"another")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    # Within one tick of a coarse clock the file system's facts would be equal, too.
    with path.open("rb") as file:
        assert cache.of(file, status).tag == validators(path).tag


def test_a_large_file_s_tag_is_made_without_reading_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(MAX_HASHED_BYTES + 1)
    cache = TagCache(lambda: NOW_S)
    tag = validators(path, cache).tag
    assert validators(path, cache).tag == tag
    os.utime(path, (1_000_000_000, 1_000_000_000))
    assert validators(path, cache).tag != tag


def test_a_date_in_the_future_is_not_told(tmp_path: Path) -> None:
    assert validators(write(tmp_path / "a", b"", NOW_S + 1)).date == ""
    assert validators(write(tmp_path / "a", b"", NOW_S)).date != ""


@pytest.mark.parametrize("age_s, is_strong", [(0, False), (1, False), (2, True)])
def test_a_date_is_strong_once_nothing_else_can_have_it(
    tmp_path: Path, age_s: float, is_strong: bool
) -> None:
    made = validators(write(tmp_path / "a", b"", NOW_S - age_s))
    assert made.is_date_strong is is_strong
