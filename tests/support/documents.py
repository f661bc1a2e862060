"""The code blocks of README and docs, and what each of them is to be checked by.

Each block has a language. A comment right above a block may say more::

    <!-- run: until ready -->            a server: it has to come up, and is stopped
    <!-- run: a shell for each line -->  each line goes on beside the next ones
    <!-- part of: FILE -->               the block is literally in that file
    <!-- not run: REASON -->             it cannot be run here
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from support.process import ROOT

__all__ = ["DOCUMENTS", "Block", "blocks_of", "recipe"]

DOCUMENTS = tuple(
    sorted(
        [
            *ROOT.glob("*.md"),
            *(ROOT / "docs").glob("*.md"),
            ROOT / "benchmarks" / "README.md",
            *(ROOT / "examples").rglob("*.md"),
        ]
    )
)
"""The documents whose blocks are run."""

_BLOCK = re.compile(
    r"(?:^<!-- (?P<note>(?:run|not run|part of): [^\n]*) -->\n)?"
    r"^```(?P<language>[^\n]*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A code block of a document.

    Attributes:
        document: The path of the document in the tree.
        line: The line of the block's beginning.
        language: Its language, or "" if it names none.
        note: What the comment above it says; "" without one.
        text: Its lines.
    """

    document: str
    line: int
    language: str
    note: str
    text: str

    @property
    def is_run(self) -> bool:
        """Whether the block is checked; what a program prints or sends is only shown."""
        return self.language != "text" and not self.note.startswith("not run: ")

    def __str__(self) -> str:
        """Return where it is, for the name of a test."""
        return f"{self.document}:{self.line}:{self.language}"


def blocks_of(path: Path) -> list[Block]:
    """Return the code blocks of a document, in order."""
    text = path.read_text(encoding="utf-8")
    return [
        Block(
            path.relative_to(ROOT).as_posix(),
            text.count("\n", 0, found.start("language")) + 1,
            found["language"],
            found["note"] or "",
            found["text"],
        )
        for found in _BLOCK.finditer(text)
    ]


def recipe(heading: str, language: str) -> str:
    """Return the last block in a language under a heading of docs/security.md, as it stands."""
    path = ROOT / "docs" / "security.md"
    text = path.read_text(encoding="utf-8")
    begin = text.count("\n", 0, text.index(f"\n## {heading}\n") + 1) + 1
    end = next(
        (n for n, line in enumerate(text.splitlines(), 1) if n > begin and line.startswith("## ")),
        text.count("\n") + 1,
    )
    found = [
        block
        for block in blocks_of(path)
        if begin < block.line < end and block.language == language
    ]
    return found[-1].text
