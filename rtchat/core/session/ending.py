"""The end of a session: with an ERROR, without a word, or with its connection."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, cast

from rtchat.core.broker.broker import Broker
from rtchat.core.broker.principal import Principal
from rtchat.core.broker.steps import Steps
from rtchat.core.session.connection import CloseReason
from rtchat.core.session.holder import DeliveryHolder
from rtchat.core.session.receipts import TurnOver
from rtchat.core.session.refusals import error_frame, reason_of, replaced
from rtchat.core.session.state import State
from rtchat.core.session.transactions import undo
from rtchat.core.stomp.frames import Frame
from rtchat.core.stomp.parser import FrameParser
from rtchat.errors import LimitExceeded, ProtocolError

__all__ = ["EndingSession"]


class EndingSession(DeliveryHolder):
    """The part of a session that ends it.

    Attributes:
        is_closed: Whether the session has ended; the connection may still be open.
        is_lost: Whether the connection broke without a DISCONNECT: the client may soon be back.
        state: The state, which decides which commands are allowed.
    """

    __slots__ = (
        "_acts",
        "_held",
        "_steps",
        "_unconfirmed",
        "_undelivered",
        "is_closed",
        "is_lost",
        "state",
    )

    broker: Broker
    parser: FrameParser
    is_closed: bool
    is_lost: bool
    state: State
    _acts: Mapping[str, Callable[[Any, Frame], None]]
    _held: Frame | None
    _steps: Steps | None  # those of a COMMIT that are left
    _unconfirmed: Frame | None  # its RECEIPT is due when the session goes on
    _undelivered: list[str]  # what else it waits for, besides

    @property
    def is_waiting(self) -> bool:
        """Whether a frame waits, or the next turn; reading is paused."""
        return self._held is not None

    def carry_out(self, steps: Steps) -> None:
        """Carry out the steps of a COMMIT, or raise ``TurnOver`` if they go on in later turns."""
        self._steps = steps
        if steps.go_on():
            self._steps = None
        elif not self.is_closed:
            raise TurnOver

    def _carry_on(self, steps: Steps) -> bool:
        """Carry out further steps of a COMMIT; return whether the session may go on."""
        is_done = steps.go_on()
        if is_done:
            self._steps = None
        if self.is_closed:
            return False
        if is_done:
            self._hold_waiting(self.parser.buffered_bytes)
            self._unconfirmed = steps.cause
            self._undelivered = self.broker.publishing.unfinished(steps.routes)
        else:
            self._end_turn()
        return is_done

    def _waits_for_delivery(self) -> bool:
        """Return whether the frame to confirm has to wait for another delivery in parts."""
        while self._undelivered:
            place = self._undelivered.pop()
            if self.broker.parts.is_busy(place):
                self.broker.waiting.join(place, self)
                return True
        return False

    @abstractmethod
    def _end_turn(self, frame: Frame | None = None) -> None:
        """Let others have their turn; a frame is retried in a later one."""

    @abstractmethod
    def _send(self, command: str, headers: Mapping[str, str], body: bytes = b"") -> None:
        """Send a frame to the client."""

    def fail(
        self,
        error: ProtocolError,
        cause: Frame | None = None,
        reason: CloseReason | None = None,
    ) -> None:
        """Send an ERROR frame and end the session.

        Args:
            error: The error.
            cause: The frame that caused it, or None.
            reason: The close reason; by default derived from the error.
        """
        if self.is_closed:
            return
        headers, body = error_frame(error, cause)
        self._send("ERROR", headers, body)
        self._close(reason or reason_of(error), error.message)

    def shut_down(self) -> None:
        """End the session because the server stops: without a word, as clients reconnect then."""
        if not self.is_closed:
            self._close(CloseReason.SHUTDOWN, "")

    def replace(self) -> None:
        """End the session because a newer connection takes its place."""
        self.fail(replaced(), reason=CloseReason.REPLACED)

    def lost(self, *, after_disconnect: bool = False) -> None:
        """Release everything: the connection is gone, or going, with or without a DISCONNECT."""
        if self.is_closed:
            return
        self.is_closed = True
        self.is_lost = not after_disconnect
        self.state = State.CLOSED
        self._acts = {}
        broker = self.broker
        if self._held is not None:
            self._held = None
            broker.waiting.leave(self)
        if self._steps is not None:
            self._steps.leave()
            self._steps = None
        # End all subscriptions before returning their messages: none may come back here.
        ended = self.subscriptions.end_all()
        for name in self.transactions.names():
            ended += undo(self.transactions.take(name))
        broker.return_unacked(ended, has_failed=not after_disconnect)
        broker.leave(cast(Principal, self))
        self.parser.discard()
        self.holding.release()

    def _refuse(self, problem: ProtocolError) -> None:
        """End the session because a subscription cannot continue."""
        is_slow = isinstance(problem, LimitExceeded)
        self.fail(problem, reason=CloseReason.SLOW if is_slow else CloseReason.STORAGE)

    def _close(self, reason: CloseReason, text: str) -> None:
        self.lost(after_disconnect=reason is CloseReason.DONE)
        self._transport.session_closed(reason, text)
