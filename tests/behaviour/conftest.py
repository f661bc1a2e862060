"""Options, fixtures and the table of results of the behaviour suite.

``pytest tests/behaviour`` runs it against an rtchat that it starts. ``--broker HOST:PORT`` points
it at any other STOMP broker: see docs/comparing.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from support.behaviour.brokers import Broker, Stomp, running_rtchat

__all__: list[str] = []

_OPTIONS = {
    "broker": ("HOST:PORT", "", "test the STOMP broker there, not an rtchat of our own"),
    "login": ("NAME", "", "log in with this name"),
    "passcode": ("TEXT", "", "log in with this passcode"),
    "vhost": ("NAME", "localhost", "the host header of CONNECT"),
    "queue-prefix": ("TEXT", "/queue/", "how the broker's queues begin"),
    "topic-prefix": ("TEXT", "/topic/", "how the broker's topics begin"),
    "ws-url": ("URL", "", "where that broker speaks STOMP over WebSocket"),
}
_GROUPS = {
    "test_specification.py": "sentences of STOMP 1.2",
    "test_practice.py": "customs of practice",
}


class _Result(NamedTuple):
    """What became of one test on one wire."""

    group: str
    text: str
    wire: str
    outcome: str


_results = pytest.StashKey[list[_Result]]()
_product = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say which broker to test, and whether to print the table."""
    group = parser.getgroup("behaviour", "the broker under test")
    for name, (metavar, default, text) in _OPTIONS.items():
        group.addoption(f"--{name}", metavar=metavar, default=default, help=text)
    group.addoption("--table", action="store_true", default=False, help="print results as Markdown")


def _option(config: pytest.Config, name: str) -> str:
    # Where the options were parsed before this file was read, none of them was given.
    return str(config.getoption(name.replace("-", "_"), default=_OPTIONS[name][1]))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test over every wire there is."""
    if "wire" in metafunc.fixturenames:
        is_ours = not _option(metafunc.config, "broker")
        wires = ["tcp"]
        if is_ours or _option(metafunc.config, "ws-url"):
            wires.append("websocket")
        metafunc.parametrize("wire", wires)


@pytest.fixture(scope="session")
def broker(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Broker]:
    """The broker under test."""
    address = _option(pytestconfig, "broker")
    if not address:
        with running_rtchat(tmp_path_factory.mktemp("rtchat")) as ours:
            yield ours
        return
    host, _, port = address.rpartition(":")
    yield Broker(
        host.strip("[]"),
        int(port),
        _option(pytestconfig, "ws-url"),
        _option(pytestconfig, "login"),
        _option(pytestconfig, "passcode"),
        _option(pytestconfig, "vhost"),
        _option(pytestconfig, "queue-prefix"),
        _option(pytestconfig, "topic-prefix"),
    )


@pytest.fixture(scope="session")
def product(pytestconfig: pytest.Config, broker: Broker) -> str:
    """What the broker says it is."""
    stomp = Stomp(broker, "tcp", "")
    connected = stomp.connect().connected
    stomp.close()
    assert connected is not None
    name = connected.get("server") or "a broker that does not say its name"
    pytestconfig.stash[_product] = name
    return name


@pytest.fixture
def stomp(broker: Broker, wire: str, product: str) -> Iterator[Stomp]:
    """Clients of the broker, over one wire."""
    clients = Stomp(broker, wire, product)
    yield clients
    clients.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iterator[pytest.TestReport]:
    """Keep the outcome for the table."""
    report: pytest.TestReport = yield  # type: ignore[assignment, misc]  # what the wrapper is sent
    group = _GROUPS.get(item.path.name)
    if group is not None and isinstance(item, pytest.Function):
        is_over = report.when == "call" or (report.when == "setup" and not report.passed)
        if is_over:
            text = (item.function.__doc__ or item.name).strip().split("\n\n")[0]
            wire = item.callspec.params["wire"] if hasattr(item, "callspec") else ""
            result = _Result(group, " ".join(text.split()), str(wire), report.outcome)
            item.config.stash.setdefault(_results, []).append(result)
    return report  # type: ignore[return-value]  # a wrapper's own return


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Count sentences, not tests: one holds if it holds on every wire."""
    results = config.stash.get(_results, [])
    if not results:
        return
    product = config.stash.get(_product, "the broker")
    wires = list(dict.fromkeys(result.wire for result in results))
    terminalreporter.section(f"{product} over {' and '.join(wires)}")
    for group in _GROUPS.values():
        rows: dict[str, dict[str, set[str]]] = {}
        for result in results:
            if result.group == group:
                row = rows.setdefault(result.text, {})
                row.setdefault(result.wire, set()).add(result.outcome)
        if not rows:
            continue
        verdicts = [_verdict(set[str]().union(*row.values())) for row in rows.values()]
        terminalreporter.write_line(
            f"{verdicts.count('pass')} passed of {len(rows)} {group}, "
            f"{verdicts.count('fail')} failed, {verdicts.count('-')} do not apply"
        )
        if config.getoption("table", default=False):
            terminalreporter.write_line(f"\n| {group} | {' | '.join(wires)} |")
            terminalreporter.write_line(f"|---|{'---|' * len(wires)}")
            for text, row in rows.items():
                cells = " | ".join(_verdict(row.get(wire, set())) for wire in wires)
                terminalreporter.write_line(f"| {text.replace('|', chr(92) + '|')} | {cells} |")
            terminalreporter.write_line("")


def _verdict(outcomes: set[str]) -> str:
    if "failed" in outcomes:
        return "fail"
    return "pass" if "passed" in outcomes else "-"
