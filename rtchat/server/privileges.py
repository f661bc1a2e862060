"""``[global] user`` and ``group``: privileges are dropped once the ports are open."""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass

from twisted.application.service import IService, Service
from twisted.logger import Logger
from twisted.python.util import switchUID
from typing_extensions import override

from rtchat.config.ini import SourceLine
from rtchat.config.keys import key
from rtchat.server.part import Part, Server

__all__ = ["PrivilegeSettings", "PrivilegesPart"]

_log = Logger(__package__)


def _read_name(source_line: SourceLine) -> SourceLine:
    """Keep the line: whether the name exists is known once the process may look it up."""
    return source_line


@dataclass(frozen=True, slots=True)
class PrivilegeSettings:
    """The user and group to become after the ports are open.

    Attributes:
        user: The line with the user's name, or None to stay.
        group: The line with the group's name, or None to take the user's group, or to stay.
    """

    user: SourceLine | None = key("[global] user", None, unit="name of a user", read=_read_name)
    group: SourceLine | None = key("[global] group", None, unit="name of a group", read=_read_name)


class PrivilegesPart(Part[PrivilegeSettings], Service):
    """Drops root privileges once the ports are open; starts before all parts that open files."""

    reads = (PrivilegeSettings,)

    def __init__(self, settings: PrivilegeSettings, server: Server) -> None:
        super().__init__(settings, server)
        self._uid, self._gid = _ids(settings)

    @property
    def owner(self) -> tuple[int, int]:
        """The ids of the user and group to become; -1 is to stay."""
        return (
            -1 if self._uid is None else self._uid,
            -1 if self._gid is None else self._gid,
        )

    @override
    def service(self) -> IService:
        return self

    @override
    def startService(self) -> None:
        super().startService()
        if self._uid is not None or self._gid is not None:
            # Host names are encoded with this codec; load it while Python's files can be read.
            "".encode("idna")
            user, group = self.settings.user, self.settings.group
            try:
                switchUID(self._uid, self._gid)
            except OSError as error:
                source_line = user or group
                assert source_line is not None
                problem = (
                    f"is not permitted ({error.strerror}); give the process the capabilities "
                    "setuid and setgid, or remove the line."
                )
                raise SystemExit(f"rtchat: {source_line.error(problem)}") from None
            _log.info(
                "privileges dropped: user {user}, group {group}",
                user="unchanged" if user is None else user.value,
                group="the user's" if group is None else group.value,
            )


def _ids(settings: PrivilegeSettings) -> tuple[int | None, int | None]:
    """Look up the ids of the user and group to become.

    Raises:
        SystemExit: There is no such user or group, or only root could become it.
    """
    uid = gid = None
    if settings.user is not None:
        try:
            entry = pwd.getpwnam(settings.user.value)
        except KeyError:
            problem = "is not a user of this machine; name one that exists, such as nobody."
            raise SystemExit(f"rtchat: {settings.user.error(problem)}") from None
        uid, gid = entry.pw_uid, entry.pw_gid
    if settings.group is not None:
        try:
            gid = grp.getgrnam(settings.group.value).gr_gid
        except KeyError:
            problem = "is not a group of this machine; name one that exists, such as nogroup."
            raise SystemExit(f"rtchat: {settings.group.error(problem)}") from None
    source_line = settings.user or settings.group
    if source_line is not None and os.geteuid() != 0:
        problem = "needs a start as root: only root can become another user. Remove the line."
        raise SystemExit(f"rtchat: {source_line.error(problem)}")
    return uid, gid
