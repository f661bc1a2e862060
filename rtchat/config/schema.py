"""Sections of chat.ini become dataclasses; unknown names are refused with the nearest known one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from rtchat.config.file import text_of
from rtchat.config.ini import Section, SourceLine, read_sections
from rtchat.config.keys import keys_of, lines_of
from rtchat.config.values import reader_of
from rtchat.errors import ConfigError

__all__ = ["ChatIni", "Schema", "nearest"]

_T = TypeVar("_T")


class Schema:
    """The sections and keys that a set of dataclasses declares with ``rtchat.config.keys``.

    Args:
        kinds: The dataclasses. Several may share a section, but not a key.

    Attributes:
        keys: The names of the keys in each section, in the order of their declaration.
        beginnings: How the lines begin whose keys the user chooses, for the sections that have
            such lines.

    Raises:
        ValueError: Two of the dataclasses declare the same key, or the lines of one section.
    """

    def __init__(self, kinds: Iterable[type]) -> None:
        self.keys: dict[str, list[str]] = {}
        self.beginnings: dict[str, str] = {}
        for kind in kinds:
            for key in keys_of(kind).values():
                names = self.keys.setdefault(key.section, [])
                if key.name in names:
                    raise ValueError(f"[{key.section}] {key.name} is declared twice")
                names.append(key.name)
            for lines in lines_of(kind).values():
                self.keys.setdefault(lines.section, [])
                if lines.section in self.beginnings:
                    raise ValueError(f"the lines of [{lines.section}] are declared twice")
                self.beginnings[lines.section] = lines.beginning

    def refuse_unknown(self, sections: Mapping[str, Section], file: str) -> None:
        """Refuse the first section or key that nothing declares.

        Raises:
            ConfigError: Names it, and the nearest name that is known.
        """
        for name, section in sections.items():
            if name not in self.keys:
                near = nearest(name, self.keys)
                known = ", ".join(f"[{known}]" for known in sorted(self.keys))
                remedy = f"did you mean [{near}]?" if near else f"the sections are {known}"
                raise ConfigError(
                    f"[{name}] is not a known section; {remedy}", file=file, line=section.line
                )
            beginning = self.beginnings.get(name)
            for key, source_line in section.source_lines.items():
                if key in self.keys[name] or (beginning is not None and key.startswith(beginning)):
                    continue
                raise ConfigError(
                    f"[{name}] {key} is not a known key; {self._remedy(name, key)}",
                    file=file,
                    line=source_line.line,
                )

    def _remedy(self, section: str, key: str) -> str:
        for other, names in self.keys.items():
            if key in names:
                return f"it belongs in [{other}]"
        if near := nearest(key, self.keys[section]):
            return f"did you mean {near}?"
        for other, names in self.keys.items():
            if near := nearest(key, names):
                return f"did you mean {near} in [{other}]?"
        return f"the keys of [{section}] are {', '.join(self.keys[section])}"


class ChatIni:
    """A chat.ini whose sections and keys are all known; the values are read on request.

    Args:
        text: The text of the file.
        file: Its name, for error messages. Relative paths in it start at its folder.
        schema: The sections and keys that are known.

    Attributes:
        file: As above.
        schema: As above.

    Raises:
        ConfigError: The text has the wrong form, or a section or a key is not known.
    """

    def __init__(self, text: str, file: str, schema: Schema) -> None:
        self.file = file
        self.schema = schema
        self._path = Path(file).absolute()  # twistd may go to another folder
        self._sections = read_sections(text, file)
        schema.refuse_unknown(self._sections, file)

    def again(self) -> ChatIni:
        """Return what the file says now.

        Raises:
            ConfigError: It cannot be read again, or is not valid.
        """
        if self._path.is_fifo() or self._path.is_char_device():
            raise ConfigError("a pipe cannot be read again; name a file", file=self.file)
        return ChatIni(text_of(self._path), self.file, self.schema)

    def lines(self, section: str) -> Mapping[str, SourceLine]:
        """Return the lines of a section by key, in the order of the file; none if it is absent."""
        found = self._sections.get(section)
        return {} if found is None else found.source_lines

    def has_section(self, section: str) -> bool:
        """Return whether the file has a section, with or without lines in it."""
        return section in self._sections

    def read(self, kind: type[_T], **defaults: Any) -> _T:
        """Read all that a dataclass declares.

        Args:
            kind: The dataclass.
            defaults: Values for fields that the file does not set, and that have another default
                here than in the dataclass.

        Raises:
            ConfigError: A value cannot be used.
        """
        values = dict(defaults)
        for name, key in keys_of(kind).items():
            source_line = self.lines(key.section).get(key.name)
            if source_line is not None:
                values[name] = reader_of(key)(source_line)
        for name, lines in lines_of(kind).items():
            found = self.lines(lines.section)
            values[name] = lines.read(
                {key: line for key, line in found.items() if key.startswith(lines.beginning)}
            )
        return kind(**values)

    def error(self, problem: str, section: str = "") -> ConfigError:
        """Return the error to raise when something is missing.

        Args:
            problem: What is wrong and what to do.
            section: The section to blame; the error names its line if the file has it.
        """
        found = self._sections.get(section)
        return ConfigError(problem, file=self.file, line=0 if found is None else found.line)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word that is most like the given one, or ""."""
    from difflib import get_close_matches  # for mistakes only; most starts have none

    return next(iter(get_close_matches(word.lower(), list(known), n=1)), "")
