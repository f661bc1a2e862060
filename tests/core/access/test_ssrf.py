"""Which addresses a name in a rule may turn out to mean."""

from __future__ import annotations

import pytest

from rtchat.core.access.ssrf import NamePolicy


@pytest.mark.parametrize("name", ["irc.example", "localhost", "box", "db", "a.localhost"])
@pytest.mark.parametrize(
    "address",
    [
        "169.254.1.1",
        "169.254.169.254",
        "100.100.100.200",
        "fd00:ec2::254",
        "fe80::1",
        "224.0.0.1",
        "255.255.255.255",
        "0.0.0.0",
        "::",
    ],
)
def test_no_name_means_an_address_that_only_a_literal_rule_reaches(name: str, address: str) -> None:
    refusal = NamePolicy(["box"]).refusal(name, address)
    assert refusal.startswith(f"{name} resolves to {address}, which is ")
    assert refusal.endswith("only a rule that names the address itself reaches it")


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.1.1", "::1"])
def test_this_machine_is_meant_by_its_own_names_only(address: str) -> None:
    policy = NamePolicy(["box", "box.local"])
    for name in ("localhost", "chat.localhost", "box", "box.local", "ip6-localhost"):
        assert policy.refusal(name, address) == ""
    for name in ("irc.example", "db", "localhost.example", "notlocalhost", "xbox"):
        assert policy.refusal(name, address) == (
            f"{name} resolves to {address}, which is this machine itself; name localhost in the "
            "rule, or add the name to [global] hosts"
        )


@pytest.mark.parametrize("address", ["10.0.0.5", "172.18.0.2", "192.168.1.9", "fd00::5"])
def test_a_name_may_mean_a_private_address_unless_that_is_turned_off(address: str) -> None:
    assert NamePolicy().refusal("db", address) == ""
    strict = NamePolicy(["box"], private_names=False)
    assert strict.refusal("box", address) == ""
    assert strict.refusal("db", address) == (
        f"db resolves to {address}, which is a private address; set [proxy] private.names = yes, "
        "or name the address in the rule"
    )


def test_a_name_may_mean_a_public_address() -> None:
    assert NamePolicy(private_names=False).refusal("irc.example", "192.0.2.1") == ""
