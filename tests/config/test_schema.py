"""Sections and keys: unknown ones are refused with the nearest known name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.chat_ini import LISTEN, refused

from rtchat.config.ini import SourceLine
from rtchat.config.keys import KIB, MIB, Setting, key, lines
from rtchat.config.schema import ChatIni, Schema
from rtchat.errors import ConfigError


def test_a_default_section_does_not_exist(ini: Path) -> None:
    assert refused(ini, LISTEN + "[DEFAULT]\nuser = root\n") == (
        "chat.ini:3: [DEFAULT] is not a known section; the sections are [access], [broker], "
        "[chat], [front], [global], [groups], [history], [hooks], [listen], [log], [presence], "
        "[proxy], [pubsub], [rate], [rights], [ssl], [static], [tokens], [users]"
    )


@pytest.mark.parametrize(
    "text, error",
    [
        (
            "[listens]\n",
            "chat.ini:1: [listens] is not a known section; did you mean [listen]?",
        ),
        ("[Listen]\n", "chat.ini:1: [Listen] is not a known section; did you mean [listen]?"),
        (
            LISTEN + "\n[people]\n",
            "chat.ini:4: [people] is not a known section; the sections are [access], [broker], "
            "[chat], [front], [global], [groups], [history], [hooks], [listen], [log], "
            "[presence], [proxy], [pubsub], [rate], [rights], [ssl], [static], [tokens], [users]",
        ),
        (
            LISTEN + "[global]\n\n# comment\nsession.ping_intervall = 20\n",
            "chat.ini:6: [global] session.ping_intervall is not a known key; "
            "did you mean session.ping_interval?",
        ),
        (
            LISTEN + "[global]\nUser = nobody\n",
            "chat.ini:4: [global] User is not a known key; did you mean user?",
        ),
        (
            LISTEN + "[global]\ncrt = server.pem\n",
            "chat.ini:4: [global] crt is not a known key; it belongs in [ssl]",
        ),
        (
            LISTEN + "[proxy]\nserver-header = no\n",
            "chat.ini:4: [proxy] server-header is not a known key; "
            "did you mean server_header in [broker]?",
        ),
        (
            LISTEN + "[ssl]\nzzz\n",
            "chat.ini:4: [ssl] zzz is not a known key; the keys of [ssl] are crt, key, chain",
        ),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(
    ini: Path, text: str, error: str
) -> None:
    assert refused(ini, text) == error


# ---------------------------------------------------------------- dataclasses of our own


def _read_pair(setting: Setting) -> tuple[str, ...]:
    one, comma, other = setting.value.partition(",")
    if not comma:
        raise setting.error("is one; write two")
    return one, other


def _read_notes(source_lines: Mapping[str, SourceLine]) -> tuple[str, ...]:
    return tuple(str(line) for line in source_lines.values())


@dataclass(frozen=True)
class Echo:
    delay_s: float = key("[echo] delay", 1.5, unit="seconds", low=0.5, high=60, or_zero=True)
    count: int = key("[echo] count", 3, unit="echoes", low=2, high=9)
    is_loud: bool = key("[echo] loud", False)
    pair: tuple[str, ...] = key("[echo] pair", (), read=_read_pair)
    notes: tuple[str, ...] = lines("[echo]", _read_notes, beginning="/")
    other: int = 7


@dataclass(frozen=True)
class Shared:
    max_bytes: int = key("[echo] max_bytes", KIB, unit="bytes", low=KIB, high=MIB)
    names: tuple[str, ...] = lines("[names]", _read_notes)


SCHEMA = Schema([Echo, Shared])


def test_a_section_without_lines_is_there() -> None:
    ini = ChatIni("[echo]\n", "chat.ini", SCHEMA)
    assert ini.has_section("echo")
    assert not ini.has_section("names")


def test_several_dataclasses_may_share_a_section() -> None:
    assert SCHEMA.keys == {"echo": ["delay", "count", "loud", "pair", "max_bytes"], "names": []}
    assert SCHEMA.beginnings == {"echo": "/", "names": ""}


def test_two_dataclasses_may_not_share_a_key() -> None:
    @dataclass(frozen=True)
    class Again:
        loud: bool = key("[echo] loud", True)

    @dataclass(frozen=True)
    class Names:
        names: tuple[str, ...] = lines("[names]", _read_notes)

    with pytest.raises(ValueError, match=r"\[echo\] loud is declared twice"):
        Schema([Echo, Again])
    with pytest.raises(ValueError, match=r"the lines of \[names\] are declared twice"):
        Schema([Shared, Names])


def test_what_the_file_does_not_set_keeps_its_default() -> None:
    ini = ChatIni("[names]\n", "x.ini", SCHEMA)
    assert ini.read(Echo) == Echo(1.5, 3, False, (), (), 7) == Echo()
    assert ini.read(Shared) == Shared(1024, ())


def test_every_key_becomes_the_value_of_its_field() -> None:
    text = (
        "[echo]\ndelay = 0\ncount = 9\nloud = on\npair = a,b\n/one = 1\n/two\nmax_bytes = 1 MiB\n"
        "[names]\nany name\n/another = 1\n"
    )
    ini = ChatIni(text, "x.ini", SCHEMA)
    assert ini.read(Echo) == Echo(0.0, 9, True, ("a", "b"), ("[echo] /one = 1", "[echo] /two"))
    assert ini.read(Shared) == Shared(MIB, ("[names] any name", "[names] /another = 1"))


def test_a_caller_may_have_another_default_that_the_file_overrides() -> None:
    ini = ChatIni("[echo]\ncount = 4\n", "x.ini", SCHEMA)
    assert ini.read(Echo, count=5, other=8) == Echo(count=4, other=8)
    assert ChatIni("", "x.ini", SCHEMA).read(Echo, count=5, other=8) == Echo(count=5, other=8)


@pytest.mark.parametrize(
    "line, problem",
    [
        ("delay = 0.4", "cannot be used; write 0 or a number of seconds from 0.5 to 60"),
        ("count = 1", "cannot be used; write a number of echoes from 2 to 9"),
        ("loud = 2", "cannot be used; write yes or no"),
        ("pair = a", "is one; write two"),
        ("pair =", "has no value; write pair = …, or remove the line"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused(line: str, problem: str) -> None:
    ini = ChatIni(f"[echo]\n{line}\n", "x.ini", SCHEMA)
    with pytest.raises(ConfigError) as error:
        ini.read(Echo)
    assert str(error.value) == f"x.ini:2: [echo] {line.removesuffix(' =')} {problem}"


def test_a_line_that_begins_otherwise_is_an_unknown_key() -> None:
    with pytest.raises(ConfigError) as error:
        ChatIni("[echo]\none = 1\n", "x.ini", SCHEMA)
    assert str(error.value) == (
        "x.ini:2: [echo] one is not a known key; "
        "the keys of [echo] are delay, count, loud, pair, max_bytes"
    )


def test_a_key_without_a_type_that_says_how_it_is_written_needs_a_reader() -> None:
    @dataclass(frozen=True)
    class Silent:
        text: str = key("[silent] text", "")

    ini = ChatIni("[silent]\ntext = x\n", "x.ini", Schema([Silent]))
    with pytest.raises(TypeError, match=r"\[silent\] text needs a reader"):
        ini.read(Silent)


def test_something_missing_is_blamed_on_its_section_if_there_is_one() -> None:
    ini = ChatIni("\n[echo]\n", "x.ini", SCHEMA)
    assert str(ini.error("too little", section="echo")) == "x.ini:2: too little"
    assert str(ini.error("too little", section="names")) == "x.ini: too little"
    assert str(ini.error("too little")) == "x.ini: too little"
