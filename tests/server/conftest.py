"""A place for a chat.ini, what is logged, and servers in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.in_memory import InMemory, Log, Reactor
from twisted.logger import capturedLogs


@pytest.fixture
def ini(tmp_path: Path) -> Path:
    return tmp_path / "chat.ini"


@pytest.fixture
def log() -> Iterator[Log]:
    with capturedLogs() as events:
        yield Log(events)


@pytest.fixture
def in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InMemory:
    return InMemory(Reactor(), tmp_path, monkeypatch)
