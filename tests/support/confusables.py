"""Makes ``rtchat/core/chat/lookalikes.py`` of Unicode's table of confusable characters.

    python tests/support/confusables.py confusables.txt VERSION > rtchat/core/chat/lookalikes.py

The file ``confusables.txt`` is at unicode.org, in the folder ``security`` of each version. What the
module does not need is left out: characters that NFKD or folding the case takes apart, and those
that cannot be part of a nickname.
"""

from __future__ import annotations

import re
import sys
import textwrap
import unicodedata
from collections.abc import Iterable
from pathlib import Path

__all__ = ["lines_of", "main", "read"]

_LINE = re.compile(r"^\ufeff?([0-9A-F]+) ;\t([0-9A-F ]+) ;\tMA", re.MULTILINE)
# Letters, marks, numbers, punctuation, symbols; unassigned in this Python means newer than it.
_IN_NICKS = "LMNPS"

_HEAD = '''\
"""Characters that look the same: the table of UTS 39, in short form.

Made by ``tests/support/confusables.py`` of ``confusables.txt`` of Unicode {version}, copyright ©
1991-2026 Unicode, Inc.; LICENSE-UNICODE has its terms. What is left out: characters that NFKD or
folding the case takes apart, and those that cannot be part of a nickname.
"""

from __future__ import annotations

__all__ = ["PROTOTYPES"]

# Code points in hexadecimal: what characters look like, with a colon, and then the characters.
_TABLE = """
'''
_TAIL = '''\
"""


def _read(table: str) -> dict[int, str]:
    prototypes: dict[int, str] = {}
    prototype = ""
    for token in table.split():
        if token.endswith(":"):
            prototype = "".join(chr(int(code, 16)) for code in token[:-1].split("+"))
        else:
            prototypes[int(token, 16)] = prototype
    return prototypes


PROTOTYPES = _read(_TABLE)
"""What to put in the place of a character of a text in NFKD, for ``str.translate``."""
'''


def read(text: str) -> dict[str, str]:
    """Return the table in a ``confusables.txt``: what each character looks like."""
    return {
        chr(int(source, 16)): "".join(chr(int(code, 16)) for code in target.split())
        for source, target in _LINE.findall(text)
    }


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _useful(table: dict[str, str]) -> dict[str, str]:
    """Return the entries that make a difference after NFKD, with their final values."""
    numbers = {ord(source): target for source, target in table.items()}
    found = {}
    for source, target in table.items():
        while (after := unicodedata.normalize("NFKD", target).translate(numbers)) != target:
            target = after
        is_decomposed = unicodedata.normalize("NFKD", source) != source
        is_part = unicodedata.category(source)[0] in _IN_NICKS
        if is_part and not is_decomposed and _folded(source) != _folded(target):
            found[source] = target
    return found


def lines_of(table: dict[str, str], version: str) -> Iterable[str]:
    """Yield the lines of the module."""
    yield from _HEAD.format(version=version).splitlines()
    sources: dict[str, list[str]] = {}
    for source, target in sorted(_useful(table).items()):
        sources.setdefault(target, []).append(f"{ord(source):x}")
    tokens: list[str] = []
    for target, codes in sorted(sources.items()):
        tokens += ["+".join(f"{ord(character):x}" for character in target) + ":", *codes]
    yield from textwrap.wrap(" ".join(tokens), 100, break_on_hyphens=False)
    yield from _TAIL.splitlines()


def main(path: str, version: str) -> None:
    """Print the module."""
    table = read(Path(path).read_text(encoding="utf-8"))
    sys.stdout.write("".join(f"{line}\n" for line in lines_of(table, version)))


if __name__ == "__main__":
    main(*sys.argv[1:])
