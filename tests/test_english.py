"""The language of docstrings, comments and documents.

A docstring says what a function returns or does (``Return …``), not what it gives or tells. Actors
have names: the client, the caller, the operator. Prose in Markdown keeps to lines that an editor
shows without wrapping.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent

MAX_PROSE_CHARACTERS = 110

_VAGUE_ACTOR = re.compile(r"\b(whoever|nobody|somebody|everybody)\b", re.IGNORECASE)
_VAGUE_VERB = re.compile(r"(Give|Tell)s? ")
_CODE = re.compile(r"``.*?``|`[^`]*`", re.DOTALL)
# Strings come first: "http://…" is no comment.
_JAVASCRIPT = re.compile(
    r""" " (?:\\.|[^"\\\n])* " | ' (?:\\.|[^'\\\n])* ' | ` (?:\\.|[^`\\])* `
       | (?P<comment> //[^\n]* | /\*.*?\*/ ) """,
    re.VERBOSE | re.DOTALL,
)
_CSS = re.compile(r"(?P<comment>/\*.*?\*/)", re.DOTALL)
_HTML = re.compile(r"(?P<comment><!--.*?-->)", re.DOTALL)
_COMMENTS = {".js": _JAVASCRIPT, ".mjs": _JAVASCRIPT, ".css": _CSS, ".html": _HTML}
_LINK_TARGET = re.compile(r"(?<=\])\([^)\s]*\)|<https?://[^>]*>|https?://\S*")
_FENCE = re.compile(r"\s*(```|~~~)")


class Passage(NamedTuple):
    """A docstring, a comment, or a line of prose.

    Attributes:
        line: The line where it starts, counted from 1.
        text: Its text.
        is_docstring: Whether it is a docstring, of Python or of JavaScript (``/**``).
    """

    line: int
    text: str
    is_docstring: bool = False


def docstrings(source: str) -> Iterator[Passage]:
    """Yield every docstring in Python source, those of attributes and constants included."""
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            if (
                isinstance(statement, ast.Expr)
                and isinstance(statement.value, ast.Constant)
                and isinstance(statement.value.value, str)
            ):
                yield Passage(statement.lineno, statement.value.value, is_docstring=True)


def comments(source: str) -> Iterator[Passage]:
    """Yield every comment in Python source."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield Passage(token.start[0], token.string.lstrip("# "))


def static_comments(source: str, suffix: str) -> Iterator[Passage]:
    """Yield every comment in JavaScript, CSS or HTML source."""
    for found in _COMMENTS[suffix].finditer(source):
        if text := found["comment"]:
            line = source.count("\n", 0, found.start()) + 1
            yield Passage(line, text.lstrip("/*<!- \n"), is_docstring=text.startswith("/**"))


def prose(source: str) -> Iterator[Passage]:
    """Yield the lines of Markdown outside code blocks, tables and HTML tags."""
    fence = ""
    for number, line in enumerate(source.splitlines(), 1):
        if found := _FENCE.match(line):
            fence = "" if fence == found[1] else fence or found[1]
        elif not fence and not line.lstrip().startswith(("|", "<")):
            yield Passage(number, line)


def wrong_words(passage: Passage) -> Iterator[str]:
    """Yield what is wrong with the words of a passage."""
    if passage.is_docstring and (found := _VAGUE_VERB.match(passage.text.lstrip())):
        yield f"begins with {found[0].strip()!r}; write what is returned or done"
    for found in _VAGUE_ACTOR.finditer(_CODE.sub("", passage.text)):
        yield f"says {found[0]!r}; name the actor"


def too_long(passage: Passage) -> Iterator[str]:
    """Yield a complaint if a line of prose is too long, the targets of links left out."""
    length = len(_LINK_TARGET.sub("", passage.text))
    if length > MAX_PROSE_CHARACTERS:
        yield f"has {length} characters; break the line before {MAX_PROSE_CHARACTERS}"


def complaints(path: Path, source: str) -> list[str]:
    """Return everything that is wrong in a file, as ``LINE: WHAT``."""
    if path.suffix == ".py":
        passages = [*docstrings(source), *comments(source)]
    elif path.suffix == ".md":
        passages = list(prose(source))
    else:
        passages = list(static_comments(source, path.suffix))
    found = [(one.line, text) for one in passages for text in wrong_words(one)]
    if path.suffix == ".md":
        found += [(one.line, text) for one in passages for text in too_long(one)]
    return [f"{line}: {text}" for line, text in sorted(found)]


def files() -> list[Path]:
    """Return every file that is held to the rules."""
    folders = ("rtchat", "examples", "benchmarks", "tests")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    found += [path for path in (ROOT / "static").rglob("*") if path.suffix in _COMMENTS]
    found += [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    found += [*(ROOT / "examples").rglob("*.md"), ROOT / "benchmarks/README.md"]
    return sorted(found)


def test_the_language_is_plain() -> None:
    """Every complaint names file and line."""
    wrong = [
        f"{path.relative_to(ROOT)}:{text}"
        for path in files()
        for text in complaints(path, path.read_text(encoding="utf-8"))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "name, source, line",
    [
        ("a.py", '"""Give the name."""\n', 1),
        ("a.py", '"""Fine."""\ndef f():\n    """\n    Tell whether it is so.\n    """\n', 3),
        ("a.py", 'X = 1\n"""Gives one."""\n', 2),
        ("a.py", 'class A:\n    x = 1\n    """What nobody\n    wants."""\n', 3),
        ("a.py", 'x = "#"\ny = 1  # for whoever asks\n', 2),
        ("a.js", 'const x = "//";\n// Somebody else did it.\n', 2),
        ("a.mjs", "/** Tell whether it is so. */\n", 1),
        ("a.css", "a { }\n/* Everybody sees\n   it. */\n", 2),
        ("a.html", "<p>\n<!-- nobody reads this -->\n", 2),
        ("a.md", "# One\n\n" + "word " * 23 + "\n", 3),
        ("a.md", "```\n~~~\n```\n" + "word " * 23 + "\n", 4),
        ("a.md", "- An item\n  for everybody.\n", 2),
    ],
)
def test_a_planted_fault_is_found(name: str, source: str, line: int) -> None:
    (complaint,) = complaints(Path(name), source)
    assert complaint.startswith(f"{line}: ")


@pytest.mark.parametrize(
    "name, source",
    [
        ("a.py", '"""Return what is given to everyone."""\nx = "Give nobody anything"\n'),
        ("a.py", '"""Given a name, return the ``nobody`` user."""\n'),
        ("a.js", 'const x = "// nobody"; const y = `/* nobody */`;\n'),
        ("a.md", "| " + "cell " * 40 + "|\n\n```\n" + "nobody " * 40 + "\n```\n"),
        ("a.md", "A [link](https://example.org/" + "x" * 100 + ") and `nobody is called so`.\n"),
        ("a.md", '<img src="' + "x" * 120 + '">\n'),
    ],
)
def test_what_is_plain_is_left_alone(name: str, source: str) -> None:
    assert complaints(Path(name), source) == []
