"""What holds for all tests."""

from __future__ import annotations

from support.examples import load_profile

load_profile()
