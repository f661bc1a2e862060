"""A place for a chat.ini."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def ini(tmp_path: Path) -> Path:
    return tmp_path / "chat.ini"
