"""Questions of a session: it waits for the answers, and other sessions do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, TypeVar, cast

from rtchat.core.broker.authenticator import Authenticator, Visitor
from rtchat.core.broker.message import user_mark
from rtchat.core.broker.principal import Principal
from rtchat.core.broker.questions import Question
from rtchat.core.broker.rights import Rights
from rtchat.core.session.rates import TokenTaker
from rtchat.core.session.receipts import MustWait
from rtchat.core.stomp.frames import Frame
from rtchat.errors import NoRight

__all__ = ["AskingSession"]

_T = TypeVar("_T")


class AskingSession(TokenTaker):
    """The part of a session that asks who it is, and whether it may go on.

    Attributes:
        fast: The set of routes whose SENDs may take the fast path; None if all may. It is in a
            tuple, so that an empty set is told from None without a call.
        mark: The position of its messages without any other; see
            :func:`~rtchat.core.broker.message.user_mark`.
        rights: What it may read and write; None for everything.
        source: Where it comes from.
        user: The name of the user; "" if it is anonymous.
        wished_nick: The nick that belongs to the user; "" for none in particular.
    """

    __slots__ = ("_question", "fast", "id", "mark", "rights", "source", "user", "wished_nick")

    fast: tuple[AbstractSet[object]] | None
    id: str
    mark: bytes
    rights: Rights | None
    source: str
    user: str
    wished_nick: str
    _question: Question[Any] | None

    @property
    def is_asking(self) -> bool:
        """Whether it waits for an answer."""
        return self._question is not None and not self._question.is_answered

    def answer_to(self, ask: Callable[[], Question[_T]]) -> _T:
        """Return the answer to a question, which is asked once however often the frame is tried.

        Args:
            ask: Asks it.

        Raises:
            MustWait: There is no answer yet. The frame is tried again when there is.
            ProtocolError: The answer is an error.
        """
        question = self._question
        if question is None:
            question = self._question = ask()
        if not question.is_answered:
            question.on_answer = self._answered
            raise MustWait(f"answer {self.id}")
        self._question = None
        answer: _T = question.take()
        return answer

    def identify(self, authenticator: Authenticator, headers: Mapping[str, str]) -> None:
        """Find out who the session is.

        Args:
            authenticator: Whom to ask.
            headers: The headers of CONNECT.

        Raises:
            MustWait: There is no answer yet.
            ProtocolError: The credentials are wrong.
        """
        self.source = self._transport.source
        visitor = Visitor(headers, self._transport.request_headers, self.source)
        principal = cast(Principal, self)
        found = self.answer_to(lambda: authenticator.identify(principal, visitor))
        self.user, self.wished_nick = found.user, found.nick
        self.mark = user_mark(found.user)
        self._use(found.rights)

    def change_rights(self, rights: Rights) -> None:
        """Take other rights; end the session if it reads what it may not read any more."""
        self._use(rights)
        if self.is_closed:
            return
        try:
            names = {one.destination for one in self.subscriptions}
            self.broker.cork.work += len(names) * rights.work
            for name in names:
                rights.check_read(name)
        except NoRight as problem:
            self.fail(problem)
            return
        for listener in self.broker.events.rights_changed:
            listener(cast(Principal, self))

    def subscribe_to(self, destination: str) -> None:
        """Subscribe the client to a destination, with the destination as the subscription's id.

        Nothing happens if the session has ended.

        Raises:
            ProtocolError: It cannot be subscribed to it.
        """
        if self.is_closed:
            return
        if self.rights is not None:
            self.rights.check_read(destination)
        headers = {"id": destination, "destination": destination}
        self.subscriptions.subscribe(Frame("SUBSCRIBE", headers), _confirm_nothing)

    def end_subscription(self, subscription_id: str, destination: str) -> None:
        """End an open subscription of the client; its id is "" if it has none."""
        self.subscriptions.end(subscription_id, "" if subscription_id else destination)

    def lost(self, *, after_disconnect: bool = False) -> None:
        """Release everything; a question that has no answer yet is dropped."""
        was_closed = self.is_closed
        if not was_closed and self._question is not None:
            self._question.drop()
            self._question = None
        super().lost(after_disconnect=after_disconnect)
        if not was_closed and self.broker.authenticator is not None:
            self.broker.authenticator.left(cast(Principal, self))

    def _use(self, rights: Rights | None) -> None:
        self.rights = rights
        if self.message_rate is None and self.byte_rate is None:
            self.fast = None if rights is None else (rights.routes,)

    def _answered(self) -> None:
        # It may have been answered while it was asked: then the session does not wait.
        if self._held is not None:
            self.broker.waiting.resume(self)


def _confirm_nothing(headers: Mapping[str, str]) -> None:
    """Send no RECEIPT: the client has not asked for the subscription."""
