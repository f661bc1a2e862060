"""Random scripts for three clients: what they send, when they vanish, and how time passes.

A script may have rights: then its clients are users, or anonymous, and what they may do changes
meanwhile. All that is about rights is drawn from a source of randomness of its own: a script with
them is the one without them, with more in it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from support.house import password_of
from support.rights import line
from support.stomp import frame_bytes

from rtchat.core.auth.permissions import RightsLine

__all__ = [
    "CLIENTS",
    "GROUPS",
    "USERS",
    "Change",
    "Drop",
    "Rights",
    "Say",
    "Script",
    "Settle",
    "Step",
    "Wait",
    "random_script",
    "with_rights",
]

CLIENTS = ("A", "B", "C")

_TOPICS = (
    "/topic/a",
    "/topic/a.b",
    "/topic/b",
    "/topic/chat",  # a room that is kept
    "/topic/chat.tea",
    "/topic/log.1",  # kept, and no room
    "a/plain/name",
)
_QUEUES = ("/queue/q", "/queue/r")
_COMPOSITES = ("/topic/a,/queue/q", "/queue/q,/queue/r,/topic/b", "/topic/chat,/queue/q")
_PATTERNS = ("/topic/*", "/topic/a.#", "/topic/>", "/topic/chat.*")
_PEOPLE = ("/presence/topic/chat", "/presence/rooms", "/presence/queue/q", "/user/queue/private")
_MODES = ("auto", "auto", "client", "client-individual")
_STARTS = ("first", "last", "next", "offset=1", "offset=99", "timestamp=1000000")
_SELECTORS = ("x = 1", "x > 1 OR y LIKE 'a%'", "y IS NULL", "NOT x BETWEEN 1 AND 2")
_IDS = ("0", "1", "two", "3")
_TRANSACTIONS = ("t1", "t2")
_NICKS = ("anna", "bob", "Ünal")
_WRONG = (
    b"NONSENSE\n\n\0",
    b"SEND\n\nno destination\0",
    b"SEND\ndestination:/topic/a\nx:\\q\n\n\0",
    b"SEND\ndestination:/topic/a\nno colon\n\n\0",
    b"SEND\ndestination:/topic/a\ncontent-length:3\n\nabcd\0",
    b"SEND\ndestination:/topic/a\ncontent-length:-1\n\n\0",
    b"SUBSCRIBE\nid:9\ndestination:/topic/a\n\nbody\0",
    b"SUBSCRIBE\nid:9\ndestination:/topic/a\nselector:x =\n\n\0",
    b"ACK\nid:never\n\n\0",
    b"COMMIT\ntransaction:never\n\n\0",
    b"CONNECT\naccept-version:1.2\n\n\0",
    b"SEND\n" + b"h:1\n" * 101 + b"\n\0",
    b"SEND\ndestination:/topic/a\nh:" + b"x" * 8200 + b"\n\n\0",
    b"\xff\xfe\n\n\0",
)


USERS = ("anna", "bob")
"""Those who have a password in a script with rights."""

GROUPS = {"staff": ("anna",)}

Rights = tuple[RightsLine, ...]
"""The section ``[rights]``."""

_WHO = ("anna", "bob", "*", "*", "anonymous", "anonymous", "@staff")
_PLACES = (
    *_TOPICS,
    *_QUEUES,
    *_PATTERNS,
    "#",
    "/topic/#",
    "/queue/#",
    "/queue/DLQ.q",
    "/topic/{user}",
    "/user/#",
)
_VERBS = ("read", "write", "read write", "read write", "all")


@dataclass(frozen=True)
class Settle:
    """An ACK or NACK of a message that the client has by then.

    Attributes:
        command: ``ACK`` or ``NACK``.
        choice: From 0 to 1, which one.
        headers: More headers.
    """

    command: str
    choice: float
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Say:
    """A client sends frames, all at once."""

    client: str
    pieces: tuple[bytes | Settle, ...]


@dataclass(frozen=True)
class Drop:
    """A client's connection breaks."""

    client: str


@dataclass(frozen=True)
class Wait:
    """Time passes, in seconds."""

    seconds: int


@dataclass(frozen=True)
class Change:
    """The rights are others from now on."""

    rights: Rights


Step = Say | Drop | Wait | Change


@dataclass(frozen=True)
class Script:
    """One run.

    Attributes:
        seed: What it was made from.
        versions: The STOMP version of each client.
        hello: The CONNECT of each client.
        steps: What happens.
        is_tight: Whether queues are small, and clients have a rate. Then each step has one frame,
            because a client that has to wait is let on at the end of another's turn.
        rights: Who may do what at first; None if all may do everything.
    """

    seed: int
    versions: dict[str, str]
    hello: dict[str, bytes]
    steps: tuple[Step, ...]
    is_tight: bool
    rights: Rights | None = None


def random_script(seed: int, length: int = 16) -> Script:
    """Return the script of a seed."""
    return _Writer(seed).script(length)


def with_rights(script: Script) -> Script:
    """Return a script whose clients are users with rights.

    The rights are many as a rule, or no session would live for long.
    """
    random = Random(f"rights of {script.seed}")
    hello = {}
    for name in CLIENTS:
        user = random.choice((*USERS, *USERS, ""))
        login = {"login": user, "passcode": password_of(user)} if user else {}
        if random.random() < 0.03:
            login = {"login": "anna", "passcode": "wrong"}
        head, _, rest = script.hello[name].partition(b"\n")
        lines = [one for one in rest.split(b"\n") if not one.startswith(b"login:")]
        more = [f"{key}:{value}".encode() for key, value in login.items()]
        hello[name] = b"\n".join([head, *more, *lines])
    steps: list[Step] = []
    for step in script.steps:
        if random.random() < 0.05:
            steps.append(Change(_some_rights(random)))
        steps.append(step)
    return replace(script, hello=hello, steps=tuple(steps), rights=_some_rights(random))


def _some_rights(random: Random) -> Rights:
    """Return rights: a few single ones, and often nearly all."""
    lines = [
        line(
            random.choice(_WHO),
            *(
                f"{random.choice(_VERBS)} {random.choice(_PLACES)}"
                for _ in range(random.randrange(1, 6))
            ),
        )
        for _ in range(random.randrange(1, 4))
    ]
    for who in ("*", "anonymous"):
        if random.random() < 0.85:
            topics = random.choice(("#", "#", "/topic/#", "/topic/*"))
            verbs = random.choice(("read write", "read write", "read write", "read", "write"))
            lines.append(line(who, f"{verbs} {topics}", f"{verbs} /queue/#"))
    return tuple(lines)


class _Writer:
    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._random = random = Random(seed)
        self._is_tight = random.random() < 0.25
        self._receipts = 0
        self._heads: list[dict[str, str]] = []
        self._client = ""
        self._open: dict[str, set[str]] = {}  # what each client has begun, as far as is known
        self._kinds: dict[Callable[[], list[bytes | Settle]], int] = {
            self._send: 10,
            self._send_again: 6,
            self._subscribe: 8,
            self._settle: 7,
            self._unsubscribe: 2,
            self._begin: 2,
            self._end_transaction: 2,
            self._beat: 1,
            self._send_privately: 1,
            self._disconnect: 1,
        }

    def script(self, length: int) -> Script:
        random = self._random
        versions = {name: random.choice(("1.0", "1.1", "1.2", "1.2")) for name in CLIENTS}
        hello = {name: self._hello(name, versions[name]) for name in CLIENTS}
        steps: list[Step] = []
        for _ in range(length):
            chance, client = random.random(), random.choice(CLIENTS)
            if chance < 0.05:
                steps.append(Wait(random.choice((1, 1, 2, 6))))
            elif chance < 0.08:
                steps.append(Drop(client))
                self._open.pop(client, None)
            elif chance < 0.1:
                steps.append(Say(client, (random.choice(_WRONG),)))
                self._open.pop(client, None)
            else:
                steps += self._say(client)
        return Script(self._seed, versions, hello, tuple(steps), self._is_tight)

    def _say(self, client: str) -> list[Step]:
        self._client = client
        kinds = list(self._kinds)
        count = self._random.choice((1, 1, 2, 4, 8))
        pieces: list[bytes | Settle] = []
        for kind in self._random.choices(kinds, list(self._kinds.values()), k=count):
            pieces += kind()
        if self._is_tight:
            return [Say(client, (piece,)) for piece in pieces[:4]]
        return [Say(client, tuple(pieces))]

    def _hello(self, name: str, version: str) -> bytes:
        random = self._random
        headers = {} if version == "1.0" else {"accept-version": version, "host": "test"}
        if random.random() < 0.6:
            headers["nick"] = random.choice(_NICKS)
            if random.random() < 0.6:
                headers["x-presence-token"] = f"secret of {name}"
        elif random.random() < 0.3:
            headers["login"] = random.choice(_NICKS)
        return _frame(random.choice(("CONNECT", "STOMP")), b"", headers)

    # Frames

    def _send(self) -> list[bytes | Settle]:
        random = self._random
        kinds = (_TOPICS, _TOPICS, _QUEUES, _QUEUES, _COMPOSITES)
        headers = {"destination": random.choice(random.choice(kinds))}
        if random.random() < 0.3:
            headers["x"] = str(random.randrange(4))
        if random.random() < 0.2:
            headers["y"] = random.choice(("abc", "ü", "a\\cb"))
        if random.random() < 0.3 and (transaction := self._known(_TRANSACTIONS)):
            headers["transaction"] = transaction
        if random.random() < 0.1:
            headers["priority"] = str(random.randrange(10))
        if random.random() < 0.05:
            headers["expiration"] = random.choice(("500", "1500"))
        if random.random() < 0.05:
            headers["reply-to"] = "/temp-queue/answers"
        self._heads.append(headers)
        return [self._message(self._with_receipt(headers), self._body())]

    def _send_again(self) -> list[bytes | Settle]:
        """Repeat a head, as publishers do."""
        random = self._random
        if not self._heads:
            return self._send()
        headers = random.choice(self._heads[-4:])
        size = random.choice((0, 1, 1, 7))
        bodies = [random.randbytes(size) if size else b"" for _ in range(random.choice((2, 3, 9)))]
        return [self._message(headers, body) for body in bodies]

    def _send_privately(self) -> list[bytes | Settle]:
        random = self._random
        headers = {"destination": f"/user/{random.choice(_NICKS)}/queue/private"}
        if random.random() < 0.5:
            headers["x-copy"] = "true"
        return [self._message(headers, self._body())]

    def _subscribe(self) -> list[bytes | Settle]:
        random = self._random
        kinds = (_TOPICS, _TOPICS, _QUEUES, _QUEUES, _PATTERNS, _PEOPLE)
        destination = random.choice(random.choice(kinds))
        headers = {"id": self._new(_IDS), "destination": destination}
        if random.random() < 0.6:
            headers["ack"] = random.choice(_MODES)
        if random.random() < 0.2:
            headers["prefetch-count"] = str(random.randrange(1, 4))
        if random.random() < 0.15:
            headers["selector"] = random.choice(_SELECTORS)
        if destination.startswith(("/topic/chat", "/topic/log")) and random.random() < 0.6:
            headers["x-stream-offset"] = random.choice(_STARTS)
        if destination in _QUEUES and random.random() < 0.1:
            headers["browser"] = "true"
        return [_frame("SUBSCRIBE", b"", self._with_receipt(headers, 0.5))]

    def _unsubscribe(self) -> list[bytes | Settle]:
        name = self._known(_IDS) or _IDS[0]
        self._open[self._client].discard(name)
        headers = self._with_receipt({"id": name})
        return [_frame("UNSUBSCRIBE", b"", headers)]

    def _settle(self) -> list[bytes | Settle]:
        random = self._random
        settles: list[bytes | Settle] = []
        for _ in range(random.choice((1, 1, 4))):
            headers = self._with_receipt({})
            if random.random() < 0.3 and (transaction := self._known(_TRANSACTIONS)):
                headers["transaction"] = transaction
            command = random.choice(("ACK", "ACK", "NACK"))
            if command == "NACK" and random.random() < 0.2:
                headers["requeue"] = "false"
            settles.append(Settle(command, random.random(), tuple(headers.items())))
        return settles

    def _begin(self) -> list[bytes | Settle]:
        headers = self._with_receipt({"transaction": self._new(_TRANSACTIONS)})
        return [_frame("BEGIN", b"", headers)]

    def _end_transaction(self) -> list[bytes | Settle]:
        name = self._known(_TRANSACTIONS)
        if not name:
            return self._begin()
        self._open[self._client].discard(name)
        headers = self._with_receipt({"transaction": name})
        return [_frame(self._random.choice(("COMMIT", "COMMIT", "ABORT")), b"", headers)]

    def _beat(self) -> list[bytes | Settle]:
        return [self._random.choice((b"\n", b"\n\n\n", b"\r\n"))]

    def _disconnect(self) -> list[bytes | Settle]:
        self._open.pop(self._client, None)
        return [_frame("DISCONNECT", b"", self._with_receipt({}, 0.8))]

    # What is open

    def _known(self, names: tuple[str, ...]) -> str:
        """Return one of the names that the client has in use, "" without one."""
        used = self._open.setdefault(self._client, set())
        return self._random.choice([name for name in names if name in used] or [""])

    def _new(self, names: tuple[str, ...]) -> str:
        """Return one of the names that the client has not in use, mostly."""
        used = self._open.setdefault(self._client, set())
        free = [name for name in names if name not in used]
        name = self._random.choice(free if free and self._random.random() < 0.97 else names)
        used.add(name)
        return name

    # Parts of frames

    def _with_receipt(self, headers: dict[str, str], chance: float = 0.25) -> dict[str, str]:
        if self._random.random() >= chance:
            return headers
        self._receipts += 1
        return {**headers, "receipt": f"r{self._receipts}"}

    def _body(self) -> bytes:
        random = self._random
        chance = random.random()
        if chance < 0.3:
            return random.randbytes(random.choice((1, 5, 80)))
        if chance < 0.6:
            text = random.choice(("hello", "Grüße", "x" * 300, "z" * 2000))
            body = {"nick": random.choice(_NICKS), "text": text}
            return json.dumps(body, ensure_ascii=False).encode()
        return random.choice((b"", b"x", b"two\nlines\n\n", b"a\0b", b"y" * 400))

    def _message(self, headers: dict[str, str], body: bytes) -> bytes:
        if b"\0" in body or self._random.random() < 0.7:
            headers = {**headers, "content-length": str(len(body))}
        frame = _frame("SEND", body, headers)
        return frame + self._random.choice((b"", b"", b"\n", b"\n\n"))


def _frame(command: str, body: bytes, headers: dict[str, str]) -> bytes:
    return frame_bytes(command, body, **headers)
