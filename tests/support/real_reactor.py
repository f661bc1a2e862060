"""A reactor with real sockets inside a test: it turns while the test waits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
import twisted.internet
from twisted.internet.defer import Deferred
from twisted.internet.selectreactor import SelectReactor
from twisted.python.failure import Failure

__all__ = ["RealReactor", "real_reactor"]

T = TypeVar("T")


class RealReactor:
    """A reactor that a test turns by hand.

    Attributes:
        reactor: Twisted's reactor.
    """

    def __init__(self) -> None:
        self.reactor: Any = SelectReactor()

    def wait(self, answer: Deferred[T], timeout_s: float = 20) -> T:
        """Turn until a Deferred fires; return its result, or raise its failure."""
        results: list[Any] = []
        answer.addBoth(results.append)
        self.turn_until(lambda: bool(results), timeout_s)
        if isinstance(results[0], Failure):
            results[0].raiseException()
        result: T = results[0]
        return result

    def turn_until(self, is_so: Any, timeout_s: float = 20) -> None:
        """Turn until a condition holds."""
        end_s = time.monotonic() + timeout_s
        while not is_so():
            assert time.monotonic() < end_s, "it takes too long"
            self.reactor.iterate(0.01)


@contextmanager
def real_reactor(patch: pytest.MonkeyPatch) -> Iterator[RealReactor]:
    """Start a reactor of its own, which parts of Twisted take for the one of the process."""
    real = RealReactor()
    patch.setattr(twisted.internet, "reactor", real.reactor, raising=False)
    real.reactor.startRunning(installSignalHandlers=False)
    try:
        yield real
    finally:
        real.reactor.stop()
        while real.reactor.running:
            real.reactor.iterate(0.01)
        for reader in real.reactor.removeAll():
            reader.connectionLost(Failure(ConnectionAbortedError()))
