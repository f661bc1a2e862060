"""Files of configuration for tests: written, read, refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rtchat.errors import ConfigError
from rtchat.server import settings as config
from rtchat.server.settings import Settings
from rtchat.tap import PARTS

__all__ = ["CERTIFICATE", "KEY", "LISTEN", "TUTORIAL", "read", "refused"]

TUTORIAL = """\
[listen]
# this is the server which provides the socket-proxy for javascript
http://:9000
# the following enables the MorbidQ STOMP Message Queue
stomp://:61613

[access]
# allow incoming HTTP requests on port 9000 to connect to
# localhost:61613 (i.e. the MorbidQ STOMP server)
# The * refers to the
* -> localhost:61613

[global]
session.ping_interval = 20
"""
"""The file of the tutorial, as it stands there."""

LISTEN = "[listen]\nhttp://:9000\n"
"""Two lines that every file needs; what a test adds begins in line 3."""

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\nMII=\n-----END PRIVATE KEY-----\n"


def read(ini: Path, text: str) -> Settings:
    """Write a chat.ini and read it."""
    ini.write_bytes(text.encode())
    return config.load(ini, PARTS)


def refused(ini: Path, text: str) -> str:
    """Return the error for a text, without the long path of the test's folder."""
    with pytest.raises(ConfigError) as error:
        read(ini, text)
    return str(error.value).replace(f"{ini.parent}{os.sep}", "")
