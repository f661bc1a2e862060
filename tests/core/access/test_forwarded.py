"""Whose address a front proxy passes on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.core.access.addresses import AddressList
from rtchat.core.access.forwarded import client_behind
from rtchat.core.access.ssrf import AddressKind, address_kind

TRUSTED = AddressList.parse(["10.0.0.0/8", "127.0.0.1", "2001:db8::/32"])


@pytest.mark.parametrize(
    "forwarded, client",
    [
        ([], None),
        ([""], None),
        (["203.0.113.9"], ("203.0.113.9", 0)),
        (["203.0.113.9:4711"], ("203.0.113.9", 4711)),
        (["2001:470::1"], ("2001:470::1", 0)),
        (["[2001:470::1]"], ("2001:470::1", 0)),
        (["[2001:470::1]:4711"], ("2001:470::1", 4711)),
        (["::ffff:203.0.113.9"], ("203.0.113.9", 0)),
        # What stands before the first address that is not trusted may be forged.
        (["1.1.1.1, 203.0.113.9"], ("203.0.113.9", 0)),
        (["1.1.1.1", "203.0.113.9"], ("203.0.113.9", 0)),
        (["1.1.1.1, 203.0.113.9, 10.0.0.7"], ("203.0.113.9", 0)),
        (["203.0.113.9, 10.0.0.7 , 127.0.0.1"], ("203.0.113.9", 0)),
        (["10.0.0.8, 10.0.0.7"], ("10.0.0.8", 0)),
        (["203.0.113.9, nonsense"], None),
        (["nonsense, 10.0.0.7"], ("10.0.0.7", 0)),
        (["203.0.113.9:99999"], ("203.0.113.9", 0)),
        (["[203.0.113.9"], None),
        (["unknown"], None),
    ],
)
def test_a_front_proxys_client_is_the_last_one_that_nobody_trusted_vouches_for(
    forwarded: list[str], client: tuple[str, int] | None
) -> None:
    assert client_behind("127.0.0.1", forwarded, TRUSTED) == client


def test_a_stranger_names_nobody() -> None:
    assert client_behind("203.0.113.1", ["127.0.0.1"], TRUSTED) is None
    assert client_behind(None, ["127.0.0.1"], TRUSTED) is None


@given(st.lists(st.text()), st.sampled_from(["127.0.0.1", None, "x"]))
def test_no_header_breaks_it(forwarded: list[str], peer: str | None) -> None:
    client = client_behind(peer, forwarded, TRUSTED)
    assert client is None or address_kind(client[0]) in AddressKind
