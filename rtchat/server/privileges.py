"""``[global] user`` and ``group``: privileges are dropped once the ports are open."""

from __future__ import annotations

import grp
import os
import pwd

from twisted.application.service import Service
from twisted.logger import Logger
from twisted.python.util import switchUID
from typing_extensions import override

from rtchat.server import settings as config

__all__ = ["Privileges"]


_log = Logger(__package__)


class Privileges(Service):
    """Gives up root once the ports are open; started before all others."""

    def __init__(self, settings: config.Settings) -> None:
        self._settings = settings
        self._uid, self._gid = _ids(settings)

    @override
    def startService(self) -> None:
        super().startService()
        if self._uid is not None or self._gid is not None:
            # Names are looked up with this codec; the user may not be able to read Python's files.
            "".encode("idna")
            switchUID(self._uid, self._gid)
            _log.info(
                "privileges dropped: user {user}, group {group}",
                user=self._settings.user or "unchanged",
                group=self._settings.group or "the user's",
            )


def _ids(settings: config.Settings) -> tuple[int | None, int | None]:
    """Look up whom to become.

    Raises:
        SystemExit: There is no such user or group, or only root could become it.
    """
    uid = gid = None
    if settings.user is not None and settings.user_line is not None:
        try:
            entry = pwd.getpwnam(settings.user)
        except KeyError:
            problem = "is no user of this machine; name one that exists, such as nobody."
            raise SystemExit(f"rtchat: {settings.user_line.error(problem)}") from None
        uid, gid = entry.pw_uid, entry.pw_gid
    if settings.group is not None and settings.group_line is not None:
        try:
            gid = grp.getgrnam(settings.group).gr_gid
        except KeyError:
            problem = "is no group of this machine; name one that exists, such as nogroup."
            raise SystemExit(f"rtchat: {settings.group_line.error(problem)}") from None
    source_line = settings.user_line or settings.group_line
    if source_line is not None and os.geteuid() != 0:
        problem = "needs a start as root: only root can become another user. Take the line out."
        raise SystemExit(f"rtchat: {source_line.error(problem)}")
    return uid, gid
