"""The dialect of chat.ini: lines, sections, comments; what each error says."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.chat_ini import LISTEN, read, refused

from rtchat.config.ini import SourceLine
from rtchat.server.access import AccessPart
from rtchat.server.listeners import ListenersPart
from rtchat.server.privileges import PrivilegesPart
from rtchat.server.settings import Settings


def addresses(settings: Settings) -> list[tuple[str, str, int]]:
    return [(each.kind, each.host, each.port) for each in settings.of(ListenersPart).listeners]


def user_and_group(settings: Settings) -> tuple[str, str]:
    privileges = settings.of(PrivilegesPart)
    assert privileges.user is not None
    assert privileges.group is not None
    return privileges.user.value, privileges.group.value


def test_indented_lines_are_lines_of_their_own(ini: Path) -> None:
    settings = read(ini, "  [listen]\n\thttp://:9000\n\t\tstomp://:61613\n [access]\n  * -> a:1\n")
    assert addresses(settings) == [("http", "", 9000), ("stomp", "", 61613)]
    assert [str(rule) for rule in settings.of(AccessPart).rules] == ["* -> a:1"]


def test_an_indented_line_does_not_join_the_value_above_it(ini: Path) -> None:
    settings = read(ini, f"{LISTEN}[global]\nuser = nobody\n    group = nogroup\n")
    assert user_and_group(settings) == ("nobody", "nogroup")


def test_comments_stand_at_the_start_of_a_line_or_after_white_space(ini: Path) -> None:
    settings = read(
        ini,
        "; first\n[listen] # the ports\n  # indented\nhttp://:9000 # page\n"
        "[global]\nuser = no#body # and a comment\ngroup = a;b ; c\n",
    )
    assert addresses(settings) == [("http", "", 9000)]
    assert user_and_group(settings) == ("no#body", "a;b ; c")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_line_end_of_every_editor_counts_one_line(ini: Path, end: str) -> None:
    text = end.join(["[listen]", "http://:9000", "", "[global]", "user = nobody"])
    source_line = read(ini, text).of(PrivilegesPart).user
    assert source_line == SourceLine(str(ini), 5, "user", "nobody", "global")


def test_a_byte_order_mark_is_no_part_of_the_first_line(ini: Path) -> None:
    assert addresses(read(ini, "\N{BOM}" + LISTEN)) == [("http", "", 9000)]


def test_percent_signs_and_further_equal_signs_belong_to_the_value(ini: Path) -> None:
    settings = read(ini, "[listen]\nhttp = tcp:9000:interface=%h\n")
    assert settings.of(ListenersPart).listeners[0].endpoint == "tcp:9000:interface=%h"


@pytest.mark.parametrize(
    "text, error",
    [
        (
            "http://:9000\n[listen]\n",
            "chat.ini:1: http://:9000 comes before any section; begin with a line such as [listen]",
        ),
        (
            LISTEN + "[global]\nuser = a\n\nuser = b\n",
            "chat.ini:6: [global] user is already set in line 4; keep one of them",
        ),
        (
            LISTEN + "http://:9000\n",
            "chat.ini:3: [listen] http://:9000 is already set in line 2; keep one of them",
        ),
        (
            LISTEN + "[global]\n[listen]\nstomp://:1\n",
            "chat.ini:4: [listen] already begins in line 1; move these lines there",
        ),
        (LISTEN + "= 7\n", "chat.ini:3: = 7 has no key before the =; write key = value"),
        (
            "[listen\nhttp://:9000\n",
            "chat.ini:1: [listen is not a section; write its name alone in brackets, such as "
            "[listen]",
        ),
        (
            "[listen] http://:9000\n",
            "chat.ini:1: [listen] http://:9000 is not a section; write its name alone in "
            "brackets, such as [listen]",
        ),
        (
            LISTEN + "[global]\nuser = no\0body\n",
            "chat.ini:4: the line has a control character (U+0000); remove it",
        ),
        (
            "",
            "chat.ini: there is nothing to listen on; write a section [listen] with a line such "
            "as http://127.0.0.1:9000",
        ),
        (
            "[access]\n\n[listen]\n# http://:9000\n",
            "chat.ini:3: there is nothing to listen on; write a section [listen] with a line such "
            "as http://127.0.0.1:9000",
        ),
    ],
)
def test_a_text_of_the_wrong_form_is_refused(ini: Path, text: str, error: str) -> None:
    assert refused(ini, text) == error


def test_a_place_makes_the_error_for_a_port_that_is_taken(ini: Path) -> None:
    (listener,) = read(ini, LISTEN).of(ListenersPart).listeners
    error = listener.source_line.error("is taken; stop the other server or choose another port")
    assert str(error) == (
        f"{ini}:2: [listen] http://:9000 is taken; stop the other server or choose another port"
    )
    assert (error.file, error.line) == (str(ini), 2)


def test_a_place_without_a_section_writes_the_setting_alone() -> None:
    assert str(SourceLine("chat.ini", 2, "user", "nobody")) == "user = nobody"
