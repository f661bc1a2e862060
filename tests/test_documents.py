"""What the documents name is there: files, modules, classes and what they import."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "benchmarks/README.md"]
)

_FOLDERS = "rtchat|tests|docs|examples|benchmarks|static|twisted"
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(rf"(?:{_FOLDERS})/[\w./-]*\w")
_MODULE = re.compile(r"rtchat(?:\.[A-Za-z_]\w*)+")
_TEST = re.compile(r"(tests/[\w/]+\.py)::(\w+)")
_METHOD = re.compile(r"([A-Z][a-z]\w*)\.([a-z_]\w*)")
# The modules that the change log names as gone.
_GONE = re.compile(r"\| before \| now \|.*?\n\n", re.DOTALL)


def code_blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks in a language."""
    return [block for name, block in _BLOCK.findall(text) if name == language]


def inline_code(text: str) -> list[str]:
    """Return the code spans outside fenced blocks."""
    return _CODE.findall(_BLOCK.sub("", _GONE.sub("", text)))


def resolves(dotted: str) -> bool:
    """Return whether a dotted name is a module, or an attribute of one."""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for name in parts[count:]:
            if not hasattr(found, name):
                return False
            found = getattr(found, name)
        return True
    return False


def imported(source: str) -> Iterator[str]:
    """Yield the names that a snippet imports from rtchat, in full."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "rtchat":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("rtchat"))


def methods(root: Path) -> dict[str, set[str]]:
    """Map each class to the names of its methods and attributes; equal names together."""
    found: dict[str, set[str]] = {}
    for path in (root / "rtchat").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                names = found.setdefault(node.name, set())
                names.update(
                    inner.name for inner in node.body if isinstance(inner, ast.FunctionDef)
                )
                names.update(re.findall(r"\bself\.(\w+)", ast.unparse(node)))
    return found


METHODS = methods(ROOT)


def has_test(path: str, name: str) -> bool:
    """Return whether there is a test of this name in a file."""
    file = ROOT / path
    return file.exists() and f"\ndef {name}(" in file.read_text(encoding="utf-8")


def promises(text: str) -> list[str]:
    """Return the rows of the tables that say which test holds what."""
    tables = re.findall(r"^\| promise \| held by \|\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [row for table in tables for row in table.splitlines()]


def missing(text: str) -> list[str]:
    """Return everything that a document names and that is not there."""
    wrong = []
    for span in inline_code(text):
        is_placeholder = span.rpartition("/")[2].isupper()
        if _PATH.fullmatch(span.rstrip("/")) and not is_placeholder and not (ROOT / span).exists():
            wrong.append(span)
        if _MODULE.fullmatch(span) and not resolves(span):
            wrong.append(span)
        if (test := _TEST.fullmatch(span)) and not has_test(*test.groups()):
            wrong.append(span)
        if (found := _METHOD.fullmatch(span)) and found[2] not in METHODS.get(found[1], {found[2]}):
            wrong.append(span)
    for block in code_blocks(text, "python"):
        wrong += [name for name in imported(block) if not resolves(name)]
    return wrong


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_names_is_there(path: Path) -> None:
    assert missing(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("row", promises((ROOT / "docs/threats.md").read_text(encoding="utf-8")))
def test_each_promise_to_stand_an_attack_is_held_by_a_test(row: str) -> None:
    assert _TEST.search(row), "no test is named"


@pytest.mark.parametrize(
    "text",
    [
        "see `rtchat/core/nowhere.py`",
        "by `tests/test_documents.py::test_nothing`",
        "by `tests/test_nowhere.py::test_nothing`",
        "see `tests/nowhere`",
        "it is `rtchat.net.nowhere`",
        "it is `rtchat.errors.Nothing`",
        "with `FrameReader.nothing`",
        "```python\nfrom rtchat.errors import Nothing\n```\n",
    ],
)
def test_a_name_that_leads_nowhere_is_found(text: str) -> None:
    assert len(missing(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "see `rtchat/cli.py`, `tests/`, `/static/nowhere.html` and `rtchat/VERSION`",
        "by `tests/test_documents.py::test_a_name_that_leads_somewhere_is_left_alone`",
        "it is `rtchat.blocking.publish`, and `rtchat.net.websocket.WebSockets` by its package",
        "with `FrameReader.feed`, and `Factory.forProtocol` of Twisted",
        "```ini\nfrom rtchat.errors import Nothing\n```\n",
    ],
)
def test_a_name_that_leads_somewhere_is_left_alone(text: str) -> None:
    assert missing(text) == []
