"""rtchat, RabbitMQ and ActiveMQ play the same random scripts and do what one model says.

Two consumers and a publisher use two queues and a topic, with every ack mode, prefetch,
UNSUBSCRIBE, NACK, transactions, DISCONNECT and broken connections. The model leaves open which of
two consumers gets a message, and nothing else. Where a peer differs, its traits say so, and
docs/protocol.md explains it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.differential.model import Difference
from support.differential.player import Player
from support.differential.script import KINDS, random_script
from support.differential.traits import ACTIVEMQ, EXPLAINED, RABBITMQ, RTCHAT, Traits
from support.examples import examples
from support.process import ROOT, Server, free_port, tutorial_ini
from support.services import activemq, rabbitmq

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.soak]

_RUNS = examples(15, 2000)
_PATIENCE = 6.0


@pytest.fixture(scope="module", params=[RTCHAT, RABBITMQ, ACTIVEMQ], ids=lambda each: each.name)
def broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, Traits]]:
    """Run a broker; its port, and how it differs."""
    folder: Path = tmp_path_factory.mktemp("broker")
    traits: Traits = request.param
    if traits is RTCHAT:
        http, stomp = free_port(), free_port()
        more = "\n[broker]\nredelivery.max_count = 0\n"
        server = Server(folder, tutorial_ini(http, stomp, more), http=http, stomp=stomp)
        try:
            server.start()
            yield stomp, traits
        finally:
            server.close()
        return
    with {RABBITMQ: rabbitmq, ACTIVEMQ: activemq}[traits](folder) as service:
        yield service.port, traits


def test_random_scripts_end_as_the_model_says(broker: tuple[int, Traits]) -> None:
    port, traits = broker
    played: Counter[str] = Counter()
    for seed in range(_RUNS):
        script = random_script(seed)
        player = Player(script, port, traits)
        try:
            player.play()
        except Difference:
            # What is not confirmed may only have been slow; a difference comes again.
            Player(script, port, traits, _PATIENCE).play()
        played += player.played
    for kind in KINDS:
        if traits.may_play(kind):
            assert played[kind], f"{kind!r} was never played: {played}"


def test_the_model_finds_a_difference_that_is_not_explained(broker: tuple[int, Traits]) -> None:
    """The proof that a run can fail: traits of another broker do not fit."""
    port, traits = broker
    other = traits.with_opposite_nack()

    def play_all() -> None:
        for seed in range(60):
            Player(random_script(seed), port, other).play()

    with pytest.raises(Difference):
        play_all()


def test_each_difference_is_explained_in_the_manual() -> None:
    text = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    _, _, section = text.partition("### Acknowledgements beside RabbitMQ and ActiveMQ")
    rows = [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("| ")]
    assert set(rows[1:]) >= set(EXPLAINED.values()), set(EXPLAINED.values()) - set(rows)
    differing = {
        name
        for traits in (RABBITMQ, ACTIVEMQ)
        for name in Traits.__dataclass_fields__
        if name not in ("name", "settle_s") and getattr(traits, name) != getattr(RTCHAT, name)
    }
    assert differing == set(EXPLAINED)
