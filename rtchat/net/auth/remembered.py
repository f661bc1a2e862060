"""Right passwords of the last minutes, so that each request need not take a check's time.

A client that sends ``Authorization: Basic`` sends it with every request, and clients that were cut
all come back at once. Only a keyed digest is kept, never the password, and it is of use for one
hash only: with another password in the file, or none, it is as if it had never been.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict

from twisted.internet.interfaces import IReactorTime

__all__ = ["Remembered"]

_KEPT_S = 300.0
_MAX_COUNT = 4096


class Remembered:
    """Remembers which passwords were right.

    Args:
        clock: Tells the time.
        kept_s: How long each is remembered after its last use.
        max_count: How many are remembered.
    """

    def __init__(
        self, clock: IReactorTime, *, kept_s: float = _KEPT_S, max_count: int = _MAX_COUNT
    ) -> None:
        self._clock = clock
        self._kept_s = kept_s
        self._max_count = max_count
        self._key = secrets.token_bytes(32)
        self._until_s: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._until_s)

    def add(self, name: str, text: str, password: str) -> None:
        """Remember that this is the password.

        Args:
            name: The user.
            text: The hash with which it was compared.
            password: The password.
        """
        self._keep(self._digest(name, text, password))

    def knows(self, name: str, text: str, password: str) -> bool:
        """Return whether this is the password for sure; the arguments are those of :meth:`add`."""
        digest = self._digest(name, text, password)
        if self._until_s.get(digest, 0.0) <= self._clock.seconds():
            return False
        self._keep(digest)
        return True

    def _keep(self, digest: bytes) -> None:
        """Keep one from now on, and forget what is too old or too much."""
        now_s = self._clock.seconds()
        self._until_s[digest] = now_s + self._kept_s
        self._until_s.move_to_end(digest)
        while self._until_s:
            until_s = next(iter(self._until_s.values()))
            if until_s > now_s and len(self._until_s) <= self._max_count:
                break
            self._until_s.popitem(last=False)

    def _digest(self, name: str, text: str, password: str) -> bytes:
        # Neither a name nor a hash has a NUL.
        data = f"{name}\0{text}\0{password}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(data, key=self._key, digest_size=32).digest()
