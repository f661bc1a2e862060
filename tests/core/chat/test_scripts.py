"""Writing systems: a word is of one, or of Latin and one of East Asia."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from rtchat.core.chat.scripts import mixed_word


@pytest.mark.parametrize(
    "name",
    [
        *(
            "anna",
            "Zo\u00eb",
            "\u0418\u0432\u0430\u043d",
            "\u0391\u03bd\u03bd\u03b1",
            "\u05d0\u05e0\u05d4",
            "Anna \u0418\u0432\u0430\u043d\u043e\u0432\u0430",
        ),
        *(
            "\u6771\u4eac\u30bf\u30ef\u30fcTower",
            "\u307f\u304a\u3005",
            "\uff2a\uff30\u6771\u4eac",
            "\u5f35\u3105abc",
            "\uae40\u91d1Kim",
        ),
        *(
            "\u0418\u0432\u0430\u043d_2",
            "x\u00b2",
            "\u00aa",
            "e\u0301",
            "\U0001f469\u200d\U0001f4bb Zo\u00eb",
            "\u0645\u06cc\u200c\u062e",
            "1\u0661",
        ),
    ],
)
def test_a_word_of_one_script_is_a_name(name: str) -> None:
    assert mixed_word(name) == ""


@pytest.mark.parametrize(
    "name",
    [
        *(
            "\u0430nna",
            "ann\u0430",
            "P\u0430ypal",
            "\u0391nna",
            "\u0418\u0432an",
            "\u05d0b",
            "\u0561bc",
        ),
        *("\u3105\u30ab", "\uae40\u30ab", "x\u03b1", "\u13aanna"),
    ],
)
def test_a_word_of_several_is_none(name: str) -> None:
    assert mixed_word(f"x {name} y") != ""


def test_no_letter_is_without_a_script_by_mistake() -> None:
    # Latin beside any letter of another alphabet is mixed: those that are not belong to several.
    alphabets = ("GREEK", "CYRILLIC", "ARMENIAN", "HEBREW", "ARABIC", "CHEROKEE", "COPTIC", "LISU")
    for code in range(0x80, sys.maxunicode + 1):
        character = chr(code)
        name = unicodedata.name(character, "")
        is_letter = unicodedata.category(character)[0] == "L" and name.startswith(alphabets)
        if is_letter and unicodedata.normalize("NFKC", character) == character:
            assert mixed_word(f"x{character}") != "", name
