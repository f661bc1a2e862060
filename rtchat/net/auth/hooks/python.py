"""Hooks in this process: a class of yours whose methods are asked and told.

::

    class Site:
        async def connect(self, visitor: Visitor) -> Reply:
            user = await self.find_user(visitor.cookies.get("sessionid", ""))
            return Allow(user=user) if user else Refuse("not logged in")

        def send(self, visitor: Visitor, message: Message) -> Reply:
            ...  # may block: it runs in a thread

An ``async def`` runs in the server's own thread, between two reads, and awaits Deferreds. A plain
``def`` runs in a thread of its own, so it may wait for a database.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import time
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger
from twisted.python.failure import Failure

from rtchat.errors import ConfigError
from rtchat.net.auth.hooks.answers import Answer, BrokenAnswer, HookFailed, answer_from_python
from rtchat.net.auth.hooks.visitor import (
    EVENTS,
    Event,
    Facts,
    message_of,
    subscription_of,
    visitor_of,
)
from rtchat.text import escaped

__all__ = ["PythonHook", "Threads", "load_hook"]

_log = Logger(__package__)

_MAX_BLOCKED_S = 0.1
_WARN_EVERY_S = 60.0

_PARAMETERS: dict[Event, str] = {
    "connect": "visitor",
    "subscribe": "visitor, subscription",
    "send": "visitor, message",
    "unsubscribe": "visitor, subscription",
    "disconnect": "visitor",
}


def load_hook(name: str, folder: Path | None = None) -> object:
    """Import the class that ``package.module:Class`` names, and return an object of it.

    Args:
        name: The class.
        folder: Where its module may lie, besides Python's own search path.

    Raises:
        ConfigError: There is no such class, or making an object of it has failed.
    """
    module_name, _, class_name = name.partition(":")
    if not module_name or not class_name:
        raise ConfigError(f"{escaped(name)} is no class; write package.module:Class")
    try:
        module = _import(module_name, folder)
    except ImportError as error:
        raise ConfigError(
            f"the module {escaped(module_name)} cannot be imported: {escaped(str(error))};"
            " install it, or put its folder in PYTHONPATH"
        ) from error
    except Exception as error:
        raise ConfigError(
            f"the import of {escaped(module_name)} has failed: {_shown(error)}"
        ) from error
    try:
        kind = attrgetter(class_name)(module)
    except AttributeError as error:
        raise ConfigError(
            f"the module {escaped(module_name)} has no {escaped(class_name)}; check the name"
        ) from error
    if not isinstance(kind, type):
        raise ConfigError(f"{escaped(name)} is not a class")
    try:
        return kind()
    except Exception as error:
        raise ConfigError(f"{escaped(name)}() has failed: {_shown(error)}") from error


def _import(name: str, folder: Path | None) -> object:
    if folder is not None and str(folder) not in sys.path:
        sys.path.append(str(folder))
    return importlib.import_module(name)


def _shown(error: Exception) -> str:
    return escaped(f"{type(error).__name__}: {error}", 300)


class PythonHook:
    """An object whose methods are the hook. A method that is not there allows everything.

    Args:
        target: The object.
        reactor: Gets the results of threads.

    Attributes:
        where: The object's class, for the log.
        events: The events for which there are methods.

    Raises:
        ConfigError: It has no method of a hook, or one that takes other arguments.
    """

    def __init__(self, target: object, reactor: IReactorFromThreads) -> None:
        kind = type(target)
        self.where = f"{kind.__module__}:{kind.__qualname__}"
        self._methods: dict[Event, Callable[..., object]] = {}
        self._threads = Threads(reactor)
        self._warned_s = -_WARN_EVERY_S
        for event in EVENTS:
            method = getattr(target, event, None)
            if method is not None:
                self._methods[event] = self._checked(event, method)
        if not self._methods:
            raise ConfigError(
                f"{self.where} has no method of a hook; write one: {', '.join(EVENTS)}"
            )
        self.events = frozenset(self._methods)

    def call(self, event: Event, facts: Facts, session_id: str, delivery: str) -> _PythonCall:
        """Call the method of an event; see :class:`~rtchat.net.auth.hooks.calls.Hook`."""
        method = self._methods.get(event)
        if method is None:
            return _PythonCall(event, _allowed())
        arguments: list[object] = [visitor_of(event, facts, session_id)]
        if event in ("subscribe", "unsubscribe"):
            arguments.append(subscription_of(facts))
        elif event == "send":
            arguments.append(message_of(facts))
        if not inspect.iscoroutinefunction(method):
            return _ThreadCall(event, self._threads, method, arguments)
        began_s = time.perf_counter()
        running = Deferred.fromCoroutine(method(*arguments))
        self._look_at_time(event, time.perf_counter() - began_s)
        return _PythonCall(event, running)

    def close(self) -> None:
        """End the threads once their methods return; the process does not wait for them."""
        self._threads.close()

    def _checked(self, event: Event, method: object) -> Callable[..., object]:
        parameters = _PARAMETERS[event]
        if not callable(method) or inspect.isasyncgenfunction(method):
            raise ConfigError(f"{self.where}: {event} is not a method that returns an answer")
        try:
            inspect.signature(method).bind(*parameters.split(", "))
        except TypeError:
            raise ConfigError(
                f"{self.where}: {event} takes other arguments; write {event}(self, {parameters})"
            ) from None
        except ValueError:
            pass  # a callable without a signature: the first call will show
        return method

    def _look_at_time(self, event: Event, blocked_s: float) -> None:
        """Say if a coroutine has held up the whole server before its first await."""
        now_s = time.perf_counter()
        if blocked_s < _MAX_BLOCKED_S or now_s - self._warned_s < _WARN_EVERY_S:
            return
        self._warned_s = now_s
        _log.warn(
            "{event} of the hook {where} has stopped the whole server for {seconds:.2f} s."
            " Write it as a plain def, then it runs in a thread.",
            event=event,
            where=self.where,
            seconds=blocked_s,
        )


async def _allow() -> None:
    """Answer for a method that is not there."""


def _allowed() -> Deferred[object]:
    return Deferred.fromCoroutine(_allow())


class _PythonCall:
    """A coroutine that runs."""

    def __init__(self, event: Event, running: Deferred[Any]) -> None:
        self._event = event
        self._running = running
        self.answer: Deferred[Answer] = running.addCallbacks(self._check, self._wrap)

    def give_up(self) -> None:
        """Cancel what the coroutine waits for."""
        self._running.cancel()

    def _check(self, value: object) -> Answer:
        if inspect.iscoroutine(value):
            value.close()
        try:
            return answer_from_python(value, self._event)
        except BrokenAnswer:
            raise
        except Exception:
            # A lazy sequence of the hook's, for example.
            raise self._failed(Failure()) from None

    def _wrap(self, failure: Failure) -> Deferred[Answer]:
        return fail(self._failed(failure))

    def _failed(self, failure: Failure) -> HookFailed:
        name = type(failure.value).__name__
        detail = f"{self._event} has raised {name}: {failure.value}"
        return HookFailed(f"an exception in {self._event}", detail, cause=failure)


class _ThreadCall(_PythonCall):
    """A method that runs in a thread, and cannot be stopped there."""

    def __init__(
        self,
        event: Event,
        threads: Threads,
        method: Callable[..., object],
        arguments: list[object],
    ) -> None:
        self._is_given_up = False

        def run() -> object:
            return None if self._is_given_up else method(*arguments)

        super().__init__(event, threads.run(run))

    def give_up(self) -> None:
        """Do not begin with it; once it runs, its place is taken until it returns."""
        self._is_given_up = True


class Threads:
    """Threads that wait for functions to run; as many as run at the same time.

    They are daemon threads: a function that never returns does not keep the process alive.

    Args:
        reactor: Gets the results.

    Attributes:
        count: How many threads there are.
    """

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self.count = 0
        self._busy = 0
        self._reactor = reactor
        self._jobs: SimpleQueue[tuple[Callable[[], object], Deferred[object]] | None] = (
            SimpleQueue()
        )

    def run(self, function: Callable[[], object]) -> Deferred[object]:
        """Run a function in a thread.

        Returns:
            What it returns or raises, in the reactor's thread.
        """
        result: Deferred[object] = Deferred()
        self._busy += 1
        if self._busy > self.count:
            self.count += 1
            Thread(target=self._work, name="rtchat hook", daemon=True).start()
        self._jobs.put((function, result))
        return result

    def close(self) -> None:
        """End each thread once it has nothing to do."""
        for _ in range(self.count):
            self._jobs.put(None)
        self.count = 0

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            function, result = job
            try:
                value = function()
            except BaseException:
                value = Failure()
            self._reactor.callFromThread(self._done, result, value)

    def _done(self, result: Deferred[object], value: object) -> None:
        self._busy -= 1
        result.callback(value)
