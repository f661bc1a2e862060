"""Plays a script against a broker and compares what it does with the model."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar
from uuid import uuid4

from support.differential.model import Delivery, Difference, Model, Sub, Transaction
from support.differential.script import MODES, Script, Step
from support.differential.traits import Traits
from support.sockets import TcpStream, connect
from support.stomp import Frame, StompReader, frame_bytes
from support.wire import Connection

__all__ = ["Player"]

_PREFETCHES = (0, 0, 1, 2, 3)
_WITHIN_S = 4.0


class _Client(Connection):
    """A connection that is logged in, and gathers its messages."""

    def __init__(self, port: int, version: str) -> None:
        super().__init__(TcpStream(connect(port)), StompReader(version, is_tolerant=True))
        self.version = version
        self.messages: list[Frame] = []
        self._receipts = itertools.count()
        self.send_bytes(
            frame_bytes(
                "CONNECT", accept_version=version, host="/", login="guest", passcode="guest"
            )
        )
        frame = self.next_frame(_WITHIN_S)
        assert frame.command == "CONNECTED", frame

    def ask(self, command: str, body: bytes = b"", /, **headers: str) -> None:
        """Send a frame and wait for its receipt; messages that come before it are kept.

        Raises:
            Difference: There came an ERROR, or the connection was closed.
        """
        receipt = f"r{next(self._receipts)}"
        self.send_bytes(frame_bytes(command, body, receipt=receipt, **headers))
        while True:
            try:
                frame = self.next_frame(_WITHIN_S)
            except (EOFError, TimeoutError, OSError) as error:
                raise Difference(f"{command} {headers}: {error!r}") from None
            if frame.command == "MESSAGE":
                self.messages.append(frame)
            elif frame.command == "RECEIPT" and frame.headers["receipt-id"] == receipt:
                return
            else:
                raise Difference(f"{command} {headers}: {frame.command} {frame.headers}")

    def look(self, within_s: float) -> None:
        """Gather what has come; wait for something, at most for a time."""
        with suppress(TimeoutError):
            frame = self.next_frame(within_s)
            while True:
                if frame.command != "MESSAGE":
                    raise Difference(f"{frame.command} {frame.headers} without a cause")
                self.messages.append(frame)
                frame = self.next_frame(0)


class Player:
    """One run of a script against one broker.

    Args:
        script: What to do.
        port: Where the broker listens.
        traits: How the broker differs.
        patience: What to multiply the waiting for effects that are not confirmed with.

    Attributes:
        log: What was done and what came, a line each.
        played: How often each kind of step was possible, and was done.
    """

    def __init__(self, script: Script, port: int, traits: Traits, patience: float = 1.0) -> None:
        self.script = script
        self.port = port
        self.traits = traits
        self.log: list[str] = []
        self.played: Counter[str] = Counter()
        self.model = Model(traits)
        self._patience = patience
        name = f"d{script.seed}-{uuid4().hex[:8]}"
        self._destinations = (f"/queue/{name}.a", f"/queue/{name}.b", f"/topic/{name}.t")
        self._numbers = itertools.count(1)
        self._names = itertools.count(1)
        self._clients: dict[str, _Client] = {}
        self._transactions: dict[str, tuple[str, Transaction]] = {}
        self._settled: dict[str, list[Delivery]] = {}

    def play(self) -> None:
        """Play the script.

        Raises:
            Difference: The broker did what the model does not allow.
        """
        try:
            self._clients = {
                "P": _Client(self.port, "1.2"),
                **{name: _Client(self.port, self.script.versions[name]) for name in "AB"},
            }
            for step in self.script.steps:
                if self._STEPS[step.what](self, step):
                    self.played[step.what] += 1
                elif not self._subscribe(step):
                    self._send(step)
                self._settle()
            self._finish()
        finally:
            for client in self._clients.values():
                client.close()

    # Steps; each returns whether it did something

    def _send(self, step: Step) -> bool:
        destination, number = self._destinations[step.pick(0, 3)], next(self._numbers)
        self._note(f"P sends {number} to {destination[-1]}")
        self._ask("P", "SEND", str(number).encode(), destination=destination)
        self.model.send(destination, number)
        return True

    def _subscribe(self, step: Step) -> bool:
        session = step.session
        if sum(sub.is_open for sub in self.model.subs.get(session, [])) >= 2:
            return False
        name = f"s{next(self._names)}"
        destination = self._destinations[step.pick(0, 3)]
        mode, prefetch = (
            MODES[step.pick(1, len(MODES))],
            _PREFETCHES[step.pick(2, len(_PREFETCHES))],
        )
        self._note(f"{session} subscribes {name} to {destination[-1]}, {mode}, {prefetch}")
        # What waits is let loose by the frame, so the model comes first.
        self.model.subscribe(session, name, destination, mode, prefetch)
        self.model.begin_phase()
        self._ask(
            session,
            "SUBSCRIBE",
            id=name,
            destination=destination,
            ack=mode,
            prefetch_count=str(prefetch),
            **{"activemq.prefetchSize": str(prefetch or 1000)},
        )
        return True

    def _unsubscribe(self, step: Step) -> bool:
        open_subs = [sub for sub in self.model.subs.get(step.session, []) if sub.is_open]
        if not open_subs:
            return False
        sub = open_subs[step.pick(0, len(open_subs))]
        if self.traits.unsubscribe_returns and self._is_in_transaction(sub):
            return False
        self._note(f"{step.session} unsubscribes {sub.id}")
        self._ask(step.session, "UNSUBSCRIBE", id=sub.id)
        self.model.unsubscribe(sub)
        return True

    def _settle_one(self, step: Step, *, is_ack: bool) -> bool:
        delivery = self._choose(step, is_ack=is_ack)
        if delivery is None:
            return False
        self._note(f"{step.session} {_verb(is_ack)} {delivery.item.number} of {delivery.sub.id}")
        self._settled.setdefault(step.session, []).append(delivery)
        self._ask_about(step.session, delivery, is_ack=is_ack)
        self.model.settle(delivery, is_ack=is_ack)
        return True

    def _settle_again(self, step: Step) -> bool:
        settled = self._settled.get(step.session)
        if not settled or not self.traits.can_settle_twice:
            return False
        delivery = settled[step.pick(0, len(settled))]
        self._note(f"{step.session} acknowledges {delivery.item.number} again")
        self._ask_about(step.session, delivery, is_ack=step.choices[1] < 0.5)
        return True

    def _begin(self, step: Step) -> bool:
        session = step.session
        if session in self._transactions:
            return False
        name = f"t{next(self._names)}"
        self._note(f"{session} begins {name}")
        self._transactions[session] = (name, Transaction())
        self._ask(session, "BEGIN", transaction=name)
        return True

    def _send_within(self, step: Step) -> bool:
        if step.session not in self._transactions:
            return False
        name, transaction = self._transactions[step.session]
        destination, number = self._destinations[step.pick(0, 3)], next(self._numbers)
        self._note(f"{step.session} sends {number} to {destination[-1]} in {name}")
        body = str(number).encode()
        headers = {"destination": destination, "transaction": name}
        if self.traits.confirms_transacted_sends:
            self._ask(step.session, "SEND", body, **headers)
        else:
            self._clients[step.session].send_bytes(frame_bytes("SEND", body, **headers))
        transaction.sent.append((destination, number))
        return True

    def _settle_within(self, step: Step, *, is_ack: bool) -> bool:
        delivery = self._choose(step, is_ack=is_ack)
        if delivery is None or step.session not in self._transactions:
            return False
        if not (is_ack or self.traits.can_nack_in_transactions):
            return False
        if delivery.sub.prefetch and self.traits.transactions_extend_prefetch:
            return False
        name, transaction = self._transactions[step.session]
        self._note(f"{step.session} {_verb(is_ack)} {delivery.item.number} in {name}")
        self._ask_about(step.session, delivery, is_ack=is_ack, transaction=name)
        self.model.take(transaction, delivery, is_ack=is_ack)
        return True

    def _end_transaction(self, step: Step, *, is_commit: bool) -> bool:
        if step.session not in self._transactions:
            return False
        name, transaction = self._transactions.pop(step.session)
        command = "COMMIT" if is_commit else "ABORT"
        self._note(f"{step.session} {command} {name}")
        self._ask(step.session, command, transaction=name)
        if is_commit:
            self.model.commit(transaction)
        else:
            self.model.abort(transaction)
        return True

    def _leave(self, step: Step, *, is_clean: bool) -> bool:
        session = step.session
        self._note(f"{session} {'disconnects' if is_clean else 'drops'}")
        client = self._clients[session]
        if is_clean:
            self._ask(session, "DISCONNECT")
        client.close()
        self._settled.pop(session, None)
        self._transactions.pop(session, None)
        self.model.end(session)
        if self.traits.settle_s:
            time.sleep(self.traits.settle_s * self._patience)
        self._clients[session] = _Client(self.port, self.script.versions[session])
        return True

    _STEPS: ClassVar[dict[str, Callable[[Player, Step], bool]]] = {
        "send": _send,
        "subscribe": _subscribe,
        "unsubscribe": _unsubscribe,
        "ack": lambda self, step: self._settle_one(step, is_ack=True),
        "nack": lambda self, step: self._settle_one(step, is_ack=False),
        "settle again": _settle_again,
        "begin": _begin,
        "send in transaction": _send_within,
        "ack in transaction": lambda self, step: self._settle_within(step, is_ack=True),
        "nack in transaction": lambda self, step: self._settle_within(step, is_ack=False),
        "commit": lambda self, step: self._end_transaction(step, is_commit=True),
        "abort": lambda self, step: self._end_transaction(step, is_commit=False),
        "disconnect": lambda self, step: self._leave(step, is_clean=True),
        "drop": lambda self, step: self._leave(step, is_clean=False),
    }

    # Inside

    def _choose(self, step: Step, *, is_ack: bool) -> Delivery | None:
        def may_be_settled(delivery: Delivery) -> bool:
            sub = delivery.sub
            if not (sub.is_open or self.traits.can_settle_after_unsubscribe):
                return False
            return (
                self.traits.spares_transactions
                or sub.mode != "client"
                or not any(each.is_taken for each in self.model.beside(sub))
            )

        held = self.model.held(step.session, may_be_settled)
        delivery = held[step.pick(0, len(held))] if held else None
        if delivery is not None and not is_ack:
            covered = self.model.covered(delivery, is_ack=False)
            if len({each.sub for each in covered}) > 1:
                return None  # RabbitMQ returns them subscription by subscription, not in order
        return delivery

    def _is_in_transaction(self, sub: Sub) -> bool:
        return any(delivery.is_taken for delivery in sub.held)

    def _ask_about(
        self, session: str, delivery: Delivery, *, is_ack: bool, transaction: str = ""
    ) -> None:
        headers = {"transaction": transaction} if transaction else {}
        if self._clients[session].version == "1.2":
            headers["id"] = delivery.headers["ack"]
        else:
            headers["message-id"] = delivery.headers["message-id"]
            headers["subscription"] = delivery.sub.id
        self._ask(session, "ACK" if is_ack else "NACK", **headers)

    def _ask(self, session: str, command: str, body: bytes = b"", /, **headers: str) -> None:
        try:
            self._clients[session].ask(command, body, **headers)
        except Difference as error:
            raise self._told(str(error)) from None

    def _settle(self) -> None:
        """Wait until what has to come has come."""
        self.model.begin_phase()
        deadline = time.monotonic() + 3 * self._patience
        while True:
            for name in "AB":
                client = self._clients[name]
                try:
                    client.look(0.002 if self.model.missing else 0)
                except (Difference, EOFError, OSError) as error:
                    raise self._told(f"{name}: {error}") from None
                for frame in client.messages:
                    self._deliver(name, frame)
                client.messages.clear()
            if not self.model.missing:
                return
            if time.monotonic() > deadline:
                raise self._told(f"did not come: {self.model.describe_missing()}")

    def _deliver(self, name: str, frame: Frame) -> None:
        number, sub = int(frame.body), frame.headers["subscription"]
        self._note(f"    {name}/{sub} gets {number} {frame.headers.get('redelivered', '')}")
        try:
            self.model.deliver(name, sub, number, frame.headers)
        except Difference as error:
            raise self._told(str(error)) from None

    def _finish(self) -> None:
        """Both leave; what is left in the queues is what the model says, in its order."""
        for name in "AB":
            self._leave(Step("disconnect", name, (0, 0, 0)), is_clean=True)
            self._settle()  # what comes back goes to the other one, if it is subscribed
        for index in (0, 1):
            self._subscribe(Step("subscribe", "A", ((index + 0.5) / 3, 0, 0)))
            self._settle()

    def _note(self, line: str) -> None:
        self.log.append(line)

    def _told(self, problem: str) -> Difference:
        lines = "\n".join(self.log)
        return Difference(f"{self.traits.name}, seed {self.script.seed}:\n{lines}\n!! {problem}")


def _verb(is_ack: bool) -> str:
    return "acknowledges" if is_ack else "rejects"
