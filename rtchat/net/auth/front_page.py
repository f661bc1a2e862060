"""``/`` where users log in: the page as it is, and in it where they do.

The page has to know that before it connects: where the server knows how a user is called, the page
does not ask.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import BinaryIO

from twisted.web.server import Request
from typing_extensions import override

from rtchat.net.web.files import PageFiles
from rtchat.net.web.sending import FileSender

__all__ = ["FORM", "SITE", "FrontPage"]

FORM = "form"
"""Users log in on the page itself, with the form of ``/login``."""

SITE = "site"
"""Users log in at a site, which gives them a token or tells a hook who they are."""

_MARK = b'<meta name="rtchat-log-in" content="%s">'


class FrontPage(PageFiles):
    """``index.html`` with the way to log in filled in.

    Args:
        path: The file. If it does not have the mark any more, it is sent as it is.
        log_in: :data:`FORM` or :data:`SITE`.
    """

    def __init__(self, path: Path, log_in: str) -> None:
        super().__init__(str(path))
        self._filled_in = _MARK % log_in.encode("ascii")

    @override
    def _answer(self, request: Request, file: BinaryIO, facts: os.stat_result) -> FileSender | None:
        content = file.read().replace(_MARK % b"", self._filled_in, 1)
        body = super()._answer(request, io.BytesIO(content), _with_size(facts, len(content)))
        if body is not None:
            file.close()
        return body


def _with_size(facts: os.stat_result, size: int) -> os.stat_result:
    """Return what is known about a file, with another size."""
    times = ("st_mtime", "st_ctime", "st_mtime_ns", "st_ctime_ns")
    hidden = {name: getattr(facts, name) for name in times}
    return os.stat_result([*facts[:6], size, *facts[7:10]], hidden)
