"""A feature that does nothing: one key in chat.ini, and a line in the log when it is called.

It lives outside rtchat on purpose. The tests add it to ``rtchat.tap.PARTS`` with one line, and
nothing else of rtchat knows it.
"""

from __future__ import annotations

from dataclasses import dataclass

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from typing_extensions import override

from rtchat.config.keys import key
from rtchat.server.part import Gauges, Part

__all__ = ["IdlePart", "IdleSettings"]

_log = Logger("idle")


@dataclass(frozen=True, slots=True)
class IdleSettings:
    """How much nothing is done."""

    limit_s: float = key("[idle] limit", 30.0, unit="seconds", low=1, high=600)


class IdlePart(Part[IdleSettings], Service):
    """Does nothing, and logs each call."""

    reads = (IdleSettings,)

    @override
    def service(self) -> IService:
        return self

    @override
    def load_late(self) -> None:
        _log.info("idle: late")

    @override
    def startService(self) -> None:
        super().startService()
        _log.info("idle: started, limit {limit}", limit=self.settings.limit_s)

    @override
    def stopService(self) -> None:
        super().stopService()
        _log.info("idle: stopped")

    @override
    def gauges(self) -> Gauges:
        return {"idle_limit": lambda: self.settings.limit_s}

    @override
    def reload(self) -> bool:
        _log.info("idle: reloaded")
        return True

    @override
    def drain(self) -> Deferred[None]:
        _log.info("idle: drained")
        return succeed(None)

    @override
    def close(self) -> None:
        _log.info("idle: closed")
