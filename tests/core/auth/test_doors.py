"""Rights that follow from others."""

from __future__ import annotations

import pytest

from rtchat.core.auth.doors import RENEWAL, Need, is_private_message, needed
from rtchat.core.auth.verbs import Verb
from rtchat.core.broker.destinations import DestinationKind, Glob
from rtchat.core.chat.chat import PRIVATE, PRIVATE_PREFIX
from rtchat.core.chat.rooms import ROOMS, TYPING

READ, WRITE = Verb.READ, Verb.WRITE
TO_BOB = f"{PRIVATE_PREFIX}bob/queue/private"

TABLE: dict[str, tuple[tuple[Need, ...] | None, tuple[Need, ...] | None]] = {
    "/topic/chat": (None, None),
    "chat": (None, None),
    "/queue/jobs": (None, None),
    "/queue/DLQ.jobs": (None, None),
    "/topic/#": (None, None),
    "/temp-queue/x": ((), ()),
    "/reply-queue/0123": (None, ()),
    "/pubsub/news": (None, ()),
    RENEWAL: (None, ()),
    "/session/other": (None, None),
    PRIVATE: ((), None),
    TO_BOB: (None, None),
    ROOMS: ((), None),
    "/presence/topic/chat": (((READ, "/topic/chat"),), None),
    "/presence/queue/jobs": (((READ, "/queue/jobs"),), None),
    "/presence/chat": (((READ, "/chat"),), None),
    "/presence/presence/topic/chat": (None, None),
    "/topic/typing": (((READ, "/topic/chat"),), ((WRITE, "/topic/chat"),)),
    "/topic/typing.tea": (((READ, "/topic/chat.tea"),), ((WRITE, "/topic/chat.tea"),)),
    "topic.typing/tea": (((READ, "/topic/chat/tea"),), ((WRITE, "/topic/chat/tea"),)),
    "/topic/typing.*": (((READ, "/topic/chat.*"),), ((WRITE, "/topic/chat.*"),)),
    "/topic/typing.#": (((READ, "/topic/chat.#"),), ((WRITE, "/topic/chat.#"),)),
    "/topic/typings": (None, None),
    "/topic/a.typing": (None, None),
}


@pytest.mark.parametrize("destination", TABLE)
def test_what_is_needed(destination: str) -> None:
    assert (needed(READ, destination), needed(WRITE, destination)) == TABLE[destination]
    assert needed(Verb.ADMIN, destination) is None


@pytest.mark.parametrize("kind", DestinationKind)
def test_every_kind_is_in_the_table(kind: DestinationKind) -> None:
    assert any(name.startswith(kind.value) for name in TABLE)


def test_all_notices_of_typing_are_found() -> None:
    typing = Glob(TYPING)
    for name, needs in TABLE.items():
        if name in typing:
            assert needs != (None, None), name


def test_what_a_private_message_is() -> None:
    assert is_private_message(WRITE, TO_BOB)
    assert is_private_message(WRITE, "/user/a,b/queue/private")
    assert not is_private_message(READ, TO_BOB)
    assert not is_private_message(Verb.ADMIN, TO_BOB)
    assert not is_private_message(WRITE, "/user/bob")
    assert not is_private_message(WRITE, PRIVATE)
    assert not is_private_message(WRITE, "/topic/queue/private")
