"""Sections and their keys: unknown ones are refused with the nearest known name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from rtchat.config.ini import Section, SourceLine
from rtchat.config.values import Reader
from rtchat.errors import ConfigError

__all__ = ["nearest", "read_fields", "refuse_unknown"]


def refuse_unknown(
    sections: Mapping[str, Section], file: str, known_keys: Mapping[str, tuple[str, ...]]
) -> None:
    """Refuse the first section or key that rtchat does not know, naming the nearest it knows."""
    for name, section in sections.items():
        if name not in known_keys:
            near = nearest(name, known_keys)
            known = ", ".join(f"[{known}]" for known in known_keys)
            remedy = f"did you mean [{near}]?" if near else f"the sections are {known}"
            raise ConfigError(
                f"[{name}] is not a known section; {remedy}", file=file, line=section.line
            )
        for key, source_line in section.source_lines.items():
            if name == "history" and key.startswith("/"):
                continue
            if known_keys[name] and key not in known_keys[name]:
                raise ConfigError(
                    f"[{name}] {key} is not a known key; {_key_remedy(name, key, known_keys)}",
                    file=file,
                    line=source_line.line,
                )


def _key_remedy(section: str, key: str, known_keys: Mapping[str, tuple[str, ...]]) -> str:
    for other, keys in known_keys.items():
        if key in keys:
            return f"it belongs in [{other}]"
    if near := nearest(key, known_keys[section]):
        return f"did you mean {near}?"
    for other, keys in known_keys.items():
        if near := nearest(key, keys):
            return f"did you mean {near} in [{other}]?"
    return f"the keys of [{section}] are {', '.join(known_keys[section])}"


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word that is most like the given one, or ""."""
    return next(iter(get_close_matches(word.lower(), list(known), n=1)), "")


def read_fields(
    source_lines: Mapping[str, SourceLine], table: Mapping[str, tuple[str, Reader]]
) -> dict[str, Any]:
    """Return field name and value of every key that the file sets."""
    return {
        table[key][0]: table[key][1](source_line)
        for key, source_line in source_lines.items()
        if key in table
    }
