"""A site's JSON Web Key Set: fetched, kept, fetched again, and still there while the site is not.

It is fetched at start, every ten minutes, and when a token names a key that is not in it; for
tokens at most once a minute, whatever they name. While it cannot be fetched, the keys that were
there stay, and one line of the log says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override

from rtchat.errors import AccessRefused
from rtchat.net.auth.fetching import Fetcher, check_url
from rtchat.net.auth.key_sources import MAX_KEY_BYTES, Found, KeySource
from rtchat.net.auth.verification_keys import KeySet, VerificationKey, keys_of_jwks
from rtchat.text import printable

__all__ = ["JwksUrl", "jwks_url"]

_log = Logger(__package__)

REFRESH_S = 600.0
"""How old the keys may get: this long after the site has withdrawn a key, it may still be used."""

MIN_GAP_S = 60.0
"""How long after a fetch a token, or a failure, may cause the next one."""

FIRST_GAP_S = 2.0
"""The same while no keys were ever there; the gap doubles with each failure, up to the above."""

TIMEOUT_S = 10.0
"""How long a fetch may take."""

MAX_WAITING = 1000
"""How many tokens may wait for a fetch."""

CHECKED_AT_ONCE = 20
"""How many of them are checked in one turn of the reactor; a signature may take a millisecond."""


def jwks_url(url: str, reactor: Any) -> JwksUrl:
    """Return the key set at an address, with the system's certificate authorities.

    Args:
        url: Its address.
        reactor: Connects, and runs the timers.

    Raises:
        ValueError: Keys may not come from there; the text says why, and what to write.
    """
    check_url(url)
    fetcher = Fetcher(reactor, reactor, max_bytes=MAX_KEY_BYTES, timeout_s=TIMEOUT_S)
    return JwksUrl(url, reactor, fetcher.fetch)


class JwksUrl(KeySource):
    """The key set at an address.

    Args:
        url: The address.
        clock: Runs the timers.
        fetch: Fetches an address, or fails with a ValueError that says why.
    """

    def __init__(
        self, url: str, clock: IReactorTime, fetch: Callable[[str], Deferred[bytes]]
    ) -> None:
        self._url = url
        self._clock = clock
        self._fetch = fetch
        self._keys: KeySet | None = None
        self._problem = ""
        self._failures = 0
        self._running: Deferred[None] | None = None
        self._earliest_s = float("-inf")
        self._timer: IDelayedCall | None = None
        self._is_started = False
        self._is_asked = False
        self._waiting: dict[Deferred[None], None] = {}

    @property
    @override
    def problem(self) -> str:
        return self._problem

    @property
    def waiting(self) -> int:
        """How many tokens wait for keys."""
        return len(self._waiting)

    @override
    def start(self) -> None:
        self._is_started = True
        self._refresh()

    @override
    def stop(self) -> None:
        """End fetching; what waits for keys is refused."""
        self._is_started = False
        self._cancel_timer()
        if self._running is not None:
            self._running.cancel()

    @override
    def reload(self) -> None:
        """Fetch the keys, unless that is under way; the log says how it ended."""
        self._is_asked = True
        self._refresh()

    @override
    def find(self, kid: str | None, algorithm: str) -> Found:
        if self._keys is not None and (kid is None or kid in self._keys.kids):
            return self._keys.fitting(kid, algorithm)
        if self._running is None and self._clock.seconds() < self._earliest_s:
            return self._fitting(kid, algorithm)
        if len(self._waiting) >= MAX_WAITING:
            raise AccessRefused("too many wait for keys")
        waiting: Deferred[None] = Deferred(lambda gone: self._waiting.pop(gone, None))
        self._waiting[waiting] = None
        found: Deferred[Sequence[VerificationKey]] = waiting.addCallback(
            lambda _: self._fitting(kid, algorithm)
        )
        self._refresh()
        return found

    def _fitting(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        if self._keys is None:
            raise AccessRefused("no keys yet")
        return self._keys.fitting(kid, algorithm)

    def _refresh(self) -> None:
        """Fetch the keys, unless that is under way."""
        if self._running is not None:
            return
        self._cancel_timer()
        self._earliest_s = self._clock.seconds() + MIN_GAP_S
        running: Deferred[Any] = maybeDeferred(self._fetch, self._url)
        self._running = running
        running.addCallback(_key_set)
        running.addCallbacks(self._read, self._failed)
        running.addErrback(lambda failure: _log.failure("the keys were not read", failure))
        running.addBoth(lambda _: self._ended())

    def _read(self, keys: KeySet) -> None:
        old, self._keys = self._keys, keys
        self._failures = 0
        if self._problem:
            self._problem = ""
            _log.info("the keys of {url} are there again", url=self._url)
        if old is None or old.keys != keys.keys or self._is_asked:
            names = ", ".join(printable(kid, 40) for kid in sorted(keys.kids)[:10])
            _log.info(
                "tokens are checked with {count} of {url}: {names}",
                count="1 key" if len(keys.keys) == 1 else f"{len(keys.keys)} keys",
                url=self._url,
                names=names or "without names",
            )
        if old is None or old.skipped != keys.skipped:
            for one in keys.skipped:
                _log.warn("{url}: {skipped}; it is not used", url=self._url, skipped=one)

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        failure.trap(ValueError)
        self._failures += 1
        if self._keys is None:
            gap_s = min(MIN_GAP_S, FIRST_GAP_S * 2 ** min(self._failures - 1, 10))
            self._earliest_s = self._clock.seconds() + gap_s
        if not self._problem or self._is_asked:
            _log.error(
                "the keys of {url} were not read: {why}. {so}, and this server tries again",
                url=self._url,
                why=failure.value,
                so="Those in use stay" if self._keys else "No token is accepted without them",
            )
        self._problem = str(failure.value)

    def _ended(self) -> None:
        self._running = None
        self._is_asked = False
        if self._is_started:
            left_s = self._earliest_s - self._clock.seconds()
            in_s = max(0.0, left_s) if self._problem else REFRESH_S
            self._timer = self._clock.callLater(in_s, self._refresh)
        waiting, self._waiting = self._waiting, {}
        self._release(list(waiting))

    def _release(self, waiting: list[Deferred[None]]) -> None:
        """Let what has waited go on, a few in each turn of the reactor."""
        for one in waiting[:CHECKED_AT_ONCE]:
            if not one.called:  # what is cancelled meanwhile has been
                one.callback(None)
        if left := waiting[CHECKED_AT_ONCE:]:
            self._clock.callLater(0, self._release, left)

    def _cancel_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None


def _key_set(data: bytes) -> KeySet:
    """Return the keys in a fetched document, or raise ValueError."""
    try:
        return keys_of_jwks(data, may_hold_secrets=False)
    except ValueError as error:
        raise ValueError(f"the document {error}") from None
