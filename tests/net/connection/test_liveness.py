"""Who is silent and lives, by what the system says was taken."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from support.needs import linux

