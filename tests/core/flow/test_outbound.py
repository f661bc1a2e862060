"""The way out: what gathers in a turn leaves in one write at its end."""

from __future__ import annotations

from fakes import ListOutlet

from rtchat.core.flow.outbound import RAW, Cork, OutletGroup


class Brackets:
    """A wire that can be seen."""

    def wrap(self, data: bytes) -> bytes:
        return b"[" + data + b"]"

    def header_of_all(self, length: int, parts: list[bytes]) -> bytes | None:
        return None


def group_of(cork: Cork, *outlets: ListOutlet) -> OutletGroup:
    group = OutletGroup(cork)
    for outlet in outlets:
        group.add(outlet)
    return group


def test_plain_tcp_sends_the_bytes_as_they_are() -> None:
    assert RAW.wrap(b"a\0b") == b"a\0b"


def test_nothing_leaves_before_the_turn_ends() -> None:
    outlet = ListOutlet(Cork())
    outlet.send(b"a")
    assert outlet.writes == []


def test_what_gathered_in_a_turn_leaves_in_one_write() -> None:
    cork = Cork()
    outlet = ListOutlet(cork)
    for data in (b"a", b"b", b"c"):
        outlet.send(data)
    cork.flush()
    assert outlet.writes == [b"abc"]


def test_every_frame_is_packed_for_the_wire() -> None:
    cork = Cork()
    outlet = ListOutlet(cork, Brackets())
    outlet.send(b"a")
    outlet.send(b"b")
    cork.flush()
    assert outlet.writes == [b"[a][b]"]


def test_an_outlet_without_bytes_is_left_alone() -> None:
    cork = Cork()
    busy, idle = ListOutlet(cork), ListOutlet(cork)
    group_of(cork, busy, idle)
    busy.send(b"a")
    cork.flush()
    assert idle.writes == []


def test_a_turn_without_bytes_flushes_nobody() -> None:
    cork = Cork()
    outlet = ListOutlet(cork)
    outlet.send(b"a")
    cork.flush()
    cork.flush()
    assert outlet.writes == [b"a"]


def test_a_group_hands_the_same_bytes_to_all_its_members() -> None:
    cork = Cork()
    outlets = [ListOutlet(cork) for _ in range(3)]
    group_of(cork, *outlets).send([b"a"])
    cork.flush()
    assert [outlet.writes for outlet in outlets] == [[b"a"]] * 3


def test_a_group_takes_bytes_that_are_packed_already() -> None:
    cork = Cork()
    outlet = ListOutlet(cork, Brackets())
    group_of(cork, outlet).send([b"[a]"])
    cork.flush()
    assert outlet.writes == [b"[a]"]


def test_an_outlet_in_many_groups_is_flushed_once_and_in_order() -> None:
    cork = Cork()
    outlet = ListOutlet(cork)
    one, other = group_of(cork, outlet), group_of(cork, outlet)
    one.send([b"1"])
    outlet.send(b"2")
    other.send([b"3"])
    one.send([b"4"])
    cork.flush()
    assert outlet.writes == [b"1234"]


def test_who_leaves_a_group_in_mid_turn_still_gets_what_was_sent_before() -> None:
    cork = Cork()
    stays, leaves = ListOutlet(cork), ListOutlet(cork)
    group = group_of(cork, stays, leaves)
    group.send([b"1"])
    group.remove(leaves)
    group.send([b"2"])
    cork.flush()
    assert (stays.writes, leaves.writes) == ([b"12"], [b"1"])


def test_who_joins_a_group_in_mid_turn_gets_what_is_sent_afterwards() -> None:
    cork = Cork()
    old, new = ListOutlet(cork), ListOutlet(cork)
    group = group_of(cork, old)
    group.send([b"1"])
    group.add(new)
    group.send([b"2"])
    cork.flush()
    assert (old.writes, new.writes) == ([b"12"], [b"2"])


def test_a_flush_may_cut_others_out_of_the_group() -> None:
    cork = Cork()
    outlets = [ListOutlet(cork) for _ in range(4)]
    group = group_of(cork, *outlets)

    def cut_the_others() -> None:
        for outlet in outlets[1:3]:
            if outlet in group.members:
                group.remove(outlet)

    outlets[0].on_flush = cut_the_others
    group.send([b"a"])
    cork.flush()
    assert [outlet.writes for outlet in outlets] == [[b"a"]] * 4
    assert list(group.members) == [outlets[0], outlets[3]]


def test_a_flush_may_cut_its_own_outlet_and_add_last_words() -> None:
    cork = Cork()
    outlet = ListOutlet(cork)
    group = group_of(cork, outlet)

    def say_last_words() -> None:
        if outlet in group.members:
            group.remove(outlet)
            outlet.send(b"last words")

    outlet.on_flush = say_last_words
    group.send([b"a"])
    cork.flush()
    assert outlet.writes == [b"a", b"last words"]


def test_what_a_flush_causes_leaves_in_the_same_turn() -> None:
    cork = Cork()
    first, second = ListOutlet(cork), ListOutlet(cork)
    group = group_of(cork, second)
    first.on_flush = lambda: group.send([b"b"])
    first.send(b"a")
    cork.flush()
    assert second.writes == [b"b"]
    assert (cork.outlets, cork.groups) == ({}, {})


def test_a_turn_leaves_nothing_registered() -> None:
    cork = Cork()
    outlet = ListOutlet(cork)
    group = group_of(cork, outlet)
    group.send([b"a"])
    outlet.send(b"b")
    group.remove(outlet)
    cork.flush()
    assert (cork.outlets, cork.groups) == ({}, {})


def test_the_pending_list_is_one_object_for_life() -> None:
    cork = Cork()
    outlet = ListOutlet(cork)
    pending = outlet.pending
    outlet.send(b"a")
    cork.flush()
    assert outlet.pending is pending


class Sharing(ListOutlet):
    """An outlet that tells what was sent to it as one of a group."""

    __slots__ = ("shared",)

    def __init__(self, cork: Cork) -> None:
        super().__init__(cork)
        self.shared: list[bytes] = []

    def flush_shared(self, shared: bytes, batch: list[bytes]) -> None:
        """Note the bytes, which are joined from the pieces."""
        assert shared == b"".join(batch)
        self.shared.append(shared)
        super().flush_shared(shared, batch)


def test_what_a_group_gathers_is_joined_once_for_all_its_members() -> None:
    cork = Cork()
    outlets = [Sharing(cork) for _ in range(3)]
    group = group_of(cork, *outlets)
    group.send([b"1", b"2"])
    group.send([b"3"])
    cork.flush()
    assert [outlet.shared for outlet in outlets] == [[b"123"]] * 3
    assert len({id(outlet.shared[0]) for outlet in outlets}) == 1
    group.send([b"4"])
    cork.flush()
    assert [outlet.writes for outlet in outlets] == [[b"123", b"4"]] * 3


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
    """Whoever is served first may end somebody who is not served yet."""
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
