"""What a session does while its messages are being stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rtchat.core.broker.broker import Broker
from rtchat.core.session.connection import CloseReason
from rtchat.core.session.holder import DeliveryHolder
from rtchat.core.session.receipts import MustWait, ReceiptLedger
from rtchat.core.session.transactions import Action, undo
from rtchat.core.stomp.frames import Frame
from rtchat.errors import ProtocolError

__all__ = ["StoringSession"]


class StoringSession(DeliveryHolder):
    """The part of a session that waits for the storage. Implements ``Publisher``."""

    __slots__ = ("_held", "_is_pausing", "_ledger", "_waits_for_storage", "committing")

    broker: Broker
    committing: tuple[Frame, Sequence[Action]] | None
    is_closed: bool
    _held: Frame | None
    _is_pausing: bool
    _ledger: ReceiptLedger | None
    _waits_for_storage: bool

    @property
    def is_waiting(self) -> bool:
        """Whether a frame waits, or the next turn; reading is paused."""
        return self._held is not None

    def fail(
        self,
        error: ProtocolError,
        cause: Frame | None = None,
        reason: CloseReason | None = None,
    ) -> None:
        """Send an ERROR frame and end the session."""
        raise NotImplementedError

    def _send(self, command: str, headers: Mapping[str, str], body: bytes = b"") -> None:
        raise NotImplementedError

    def wait_for_storage(self, *, is_done: bool = False) -> None:
        """Raise ``MustWait`` (see there for ``is_done``) unless all messages so far are stored."""
        ledger = self._ledger
        if ledger is not None and ledger.accepted != ledger.settled:
            raise MustWait(is_done=is_done)

    # Called by the storage

    def message_accepted(self, *, is_much: bool) -> None:
        """Count a frame whose messages are being stored; pause reading if ``is_much``."""
        if self._ledger is None:
            self._ledger = ReceiptLedger()
        self._ledger.accepted += 1
        if is_much and not self._is_pausing:
            self._is_pausing = True
            self._transport.pause_reading()

    def message_settled(self, cause: Frame, problem: ProtocolError | None) -> None:
        """Count the first frame in progress as settled: its messages are stored, or failed."""
        ledger = self._ledger
        assert ledger is not None  # message_accepted() came before
        ledger.settled += 1
        if self.committing is not None and self.committing[0] is cause:
            (_, actions), self.committing = self.committing, None
            undone = [] if problem is None else undo(actions)
            if self.is_closed:
                self.broker.return_unacked(undone)
        if problem is not None:
            self.fail(problem, cause, CloseReason.STORAGE)
        if self.is_closed:
            return
        if ledger.owed:
            for headers in ledger.take_due():
                self._send("RECEIPT", headers)
        if ledger.accepted != ledger.settled:
            return
        was_pausing, self._is_pausing = self._is_pausing, False
        if self._held is not None and self._waits_for_storage:
            self._transport.resume_session()
        elif was_pausing and not self.is_waiting:
            self._transport.resume_reading()
