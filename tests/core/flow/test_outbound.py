"""The way out: what gathers in a turn leaves in one write at its end."""

from __future__ import annotations

import contextlib

from support.core import RecordingOutbound

from rtchat.core.flow.large_frame import Piece
from rtchat.core.flow.outbound import RAW, Cork, OutboundGroup


class Brackets:
    """A wire that can be seen."""

    def wrap(self, data: bytes) -> bytes:
        return b"[" + data + b"]"

    def header_of_all(self, length: int, parts: list[bytes]) -> bytes | None:
        return None

    def header_of(self, parts: list[bytes], *, may_compress: bool) -> bytes | None:
        return None


def group_of(cork: Cork, *outbounds: RecordingOutbound) -> OutboundGroup:
    group = OutboundGroup(cork)
    for outbound in outbounds:
        group.add(outbound)
    return group


def test_plain_tcp_sends_the_bytes_as_they_are() -> None:
    assert RAW.wrap(b"a\0b") == b"a\0b"


def test_nothing_leaves_before_the_turn_ends() -> None:
    outbound = RecordingOutbound(Cork())
    outbound.send(b"a")
    assert outbound.writes == []


def test_what_gathered_in_a_turn_leaves_in_one_write() -> None:
    cork = Cork()
    outbound = RecordingOutbound(cork)
    for data in (b"a", b"b", b"c"):
        outbound.send(data)
    cork.flush()
    assert outbound.writes == [b"abc"]


def test_every_frame_is_packed_for_the_wire() -> None:
    cork = Cork()
    outbound = RecordingOutbound(cork, Brackets())
    outbound.send(b"a")
    outbound.send(b"b")
    cork.flush()
    assert outbound.writes == [b"[a][b]"]


def test_an_outbound_without_bytes_is_left_alone() -> None:
    cork = Cork()
    busy, idle = RecordingOutbound(cork), RecordingOutbound(cork)
    group_of(cork, busy, idle)
    busy.send(b"a")
    cork.flush()
    assert idle.writes == []


def test_a_turn_without_bytes_flushes_nobody() -> None:
    cork = Cork()
    outbound = RecordingOutbound(cork)
    outbound.send(b"a")
    cork.flush()
    cork.flush()
    assert outbound.writes == [b"a"]


def test_a_group_hands_the_same_bytes_to_all_its_members() -> None:
    cork = Cork()
    outbounds = [RecordingOutbound(cork) for _ in range(3)]
    group_of(cork, *outbounds).send([b"a"])
    cork.flush()
    assert [outbound.writes for outbound in outbounds] == [[b"a"]] * 3


def test_a_group_takes_bytes_that_are_packed_already() -> None:
    cork = Cork()
    outbound = RecordingOutbound(cork, Brackets())
    group_of(cork, outbound).send([b"[a]"])
    cork.flush()
    assert outbound.writes == [b"[a]"]


def test_an_outbound_in_many_groups_is_flushed_once_and_in_order() -> None:
    cork = Cork()
    outbound = RecordingOutbound(cork)
    one, other = group_of(cork, outbound), group_of(cork, outbound)
    one.send([b"1"])
    outbound.send(b"2")
    other.send([b"3"])
    one.send([b"4"])
    cork.flush()
    assert outbound.writes == [b"1234"]


def test_who_leaves_a_group_in_mid_turn_still_gets_what_was_sent_before() -> None:
    cork = Cork()
    stays, leaves = RecordingOutbound(cork), RecordingOutbound(cork)
    group = group_of(cork, stays, leaves)
    group.send([b"1"])
    group.remove(leaves)
    group.send([b"2"])
    cork.flush()
    assert (stays.writes, leaves.writes) == ([b"12"], [b"1"])


def test_who_joins_a_group_in_mid_turn_gets_what_is_sent_afterwards() -> None:
    cork = Cork()
    old, new = RecordingOutbound(cork), RecordingOutbound(cork)
    group = group_of(cork, old)
    group.send([b"1"])
    group.add(new)
    group.send([b"2"])
    cork.flush()
    assert (old.writes, new.writes) == ([b"12"], [b"2"])


def test_a_flush_may_cut_others_out_of_the_group() -> None:
    cork = Cork()
    outbounds = [RecordingOutbound(cork) for _ in range(4)]
    group = group_of(cork, *outbounds)

    def cut_the_others() -> None:
        for outbound in outbounds[1:3]:
            if outbound in group.members:
                group.remove(outbound)

    outbounds[0].on_flush = cut_the_others
    group.send([b"a"])
    cork.flush()
    assert [outbound.writes for outbound in outbounds] == [[b"a"]] * 4
    assert list(group.members) == [outbounds[0], outbounds[3]]


def test_a_flush_may_cut_its_own_outbound_and_add_last_words() -> None:
    cork = Cork()
    outbound = RecordingOutbound(cork)
    group = group_of(cork, outbound)

    def say_last_words() -> None:
        if outbound in group.members:
            group.remove(outbound)
            outbound.send(b"last words")

    outbound.on_flush = say_last_words
    group.send([b"a"])
    cork.flush()
    assert outbound.writes == [b"a", b"last words"]


def test_what_a_flush_causes_leaves_in_the_same_turn() -> None:
    cork = Cork()
    first, second = RecordingOutbound(cork), RecordingOutbound(cork)
    group = group_of(cork, second)
    first.on_flush = lambda: group.send([b"b"])
    first.send(b"a")
    cork.flush()
    assert second.writes == [b"b"]
    assert (cork.outbounds, cork.groups) == ({}, {})


def test_a_turn_leaves_nothing_registered() -> None:
    cork = Cork()
    outbound = RecordingOutbound(cork)
    group = group_of(cork, outbound)
    group.send([b"a"])
    outbound.send(b"b")
    group.remove(outbound)
    cork.flush()
    assert (cork.outbounds, cork.groups) == ({}, {})


def test_the_pending_list_is_one_object_for_life() -> None:
    cork = Cork()
    outbound = RecordingOutbound(cork)
    pending = outbound.pending
    outbound.send(b"a")
    cork.flush()
    assert outbound.pending is pending


class Sharing(RecordingOutbound):
    """An outbound that records what was sent to it as one of a group."""

    __slots__ = ("shared",)

    def __init__(self, cork: Cork) -> None:
        super().__init__(cork)
        self.shared: list[bytes] = []

    def flush_shared(self, shared: bytes, batch: list[Piece]) -> None:
        """Note the bytes, which are joined from the pieces."""
        assert shared == b"".join(map(bytes, batch))
        self.shared.append(shared)
        super().flush_shared(shared, batch)


def test_what_a_group_gathers_is_joined_once_for_all_its_members() -> None:
    cork = Cork()
    outbounds = [Sharing(cork) for _ in range(3)]
    group = group_of(cork, *outbounds)
    group.send([b"1", b"2"])
    group.send([b"3"])
    cork.flush()
    assert [outbound.shared for outbound in outbounds] == [[b"123"]] * 3
    assert len({id(outbound.shared[0]) for outbound in outbounds}) == 1
    group.send([b"4"])
    cork.flush()
    assert [outbound.writes for outbound in outbounds] == [[b"123", b"4"]] * 3


def test_a_member_with_bytes_of_its_own_gets_all_in_order() -> None:
    cork = Cork()
    before, after, plain = (Sharing(cork) for _ in range(3))
    group = group_of(cork, before, after, plain)
    before.send(b"[before]")
    group.send([b"1", b"2"])
    after.send(b"[after]")
    group.send([b"3"])
    cork.flush()
    assert before.writes == [b"[before]123"]
    assert after.writes == [b"12[after]3"]
    assert plain.writes == [b"123"]
    assert before.shared == after.shared == plain.shared == []


def test_last_words_in_a_flush_come_after_what_was_gathered_before() -> None:
    """Serving one member may end another one that has not been served yet."""
    cork = Cork()
    first, second, third = (Sharing(cork) for _ in range(3))
    group = group_of(cork, first, second, third)

    def end_second() -> None:
        first.on_flush = lambda: None
        second.send(b"[last words]")
        group.remove(second)

    first.on_flush = end_second
    group.send([b"1"])
    cork.flush()
    group.send([b"2"])
    cork.flush()
    assert second.writes == [b"1[last words]"]
    assert first.writes == third.writes == [b"1", b"2"]


# ---------------------------------------------------------------- parts of turns


def test_a_part_of_a_turn_keeps_the_count_of_its_work_and_the_time() -> None:
    cork, clock = Cork(), iter([10.0, 20.0])
    cork.seconds = lambda: next(clock)
    outbound = RecordingOutbound(cork)
    with cork:
        cork.work += 7
        with cork.part as part:
            outbound.send(b"a")
            part.work += 2
            with cork.part:
                cork.work += 1
        assert outbound.writes == [b"a"]
        assert (cork.work, cork.ticks) == (10, 10.0)
        assert cork.is_open
    assert not cork.is_open


def test_a_part_outside_a_turn_is_a_turn() -> None:
    cork, clock = Cork(), iter([10.0, 20.0])
    cork.seconds = lambda: next(clock)
    for ticks in (10.0, 20.0):
        with cork.part:
            assert (cork.work, cork.ticks) == (0, ticks)
            cork.work += 5
        assert not cork.is_open


def test_what_the_end_of_a_turn_causes_is_part_of_it() -> None:
    cork = Cork()

    def end_a_session() -> None:
        with cork.part:
            cork.work += 2

    with cork:
        cork.work += 3
        cork.woken[end_a_session] = None
    assert cork.work == 5
    assert not cork.is_open


def test_to_send_in_a_turn_does_not_end_it() -> None:
    cork = Cork()
    with cork:
        cork.work += 3
        cork.flush()
        assert cork.work == 3
        assert cork.is_open


def test_after_a_bug_in_a_part_the_turn_goes_on() -> None:
    cork = Cork()

    def fail() -> None:
        raise ValueError

    with cork:
        cork.work += 3
        cork.woken[fail] = None
        with contextlib.suppress(ValueError), cork.part:
            pass
        assert cork.is_open
        assert cork.work == 3
