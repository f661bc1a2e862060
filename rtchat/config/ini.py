"""The dialect of chat.ini: lines, sections, and where each setting stands."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from configparser import (
    ConfigParser,
    DuplicateOptionError,
    DuplicateSectionError,
    MissingSectionHeaderError,
    ParsingError,
)
from pathlib import Path
from typing import NamedTuple

from rtchat.errors import ConfigError

__all__ = ["Section", "SourceLine", "read_sections", "split_lines"]

_SECTION = re.compile(r"\[(?P<header>[^\[\]]+)\]$")
_COMMENT = re.compile(r"(?:^|\s)#.*|^;.*")


class SourceLine(NamedTuple):
    """One line of chat.ini, and where it stands.

    Attributes:
        file: The file as the command line names it.
        line: The line's number, counted from 1.
        key: The text before ``=``, or the whole line if it has no ``=``.
        value: The text after ``=``, or "".
        section: The name of the section, without brackets.
    """

    file: str
    line: int
    key: str
    value: str
    section: str = ""

    @property
    def setting(self) -> str:
        """The line as it stands in the file, without comments."""
        return f"{self.key} = {self.value}" if self.value else self.key

    @property
    def folder(self) -> Path:
        """The folder that relative paths in the file start at."""
        return Path(self.file).absolute().parent

    def __str__(self) -> str:
        return f"[{self.section}] {self.setting}" if self.section else self.setting

    def error(self, problem: str) -> ConfigError:
        """Return the error to raise for this line.

        Args:
            problem: What is wrong and what to do. It continues the sentence that begins with
                the setting, such as "needs [ssl] crt and key".
        """
        return ConfigError(f"{self} {problem}", file=self.file, line=self.line)


class Section(NamedTuple):
    """One section of the file.

    Attributes:
        line: The number of the line that opens it, counted from 1.
        source_lines: Its lines by key, in the order of the file.
    """

    line: int
    source_lines: Mapping[str, SourceLine]


class _ChatIni(ConfigParser):
    """The dialect: ``=`` only, names as written, no default section, no interpolation."""

    # Nothing may follow "]": "[::1] -> localhost:61613" is a rule with an IPv6 source, no section.
    SECTCRE = _SECTION

    def __init__(self) -> None:
        super().__init__(
            strict=True,
            interpolation=None,
            delimiters=("=",),
            allow_no_value=True,
            empty_lines_in_values=False,
            default_section="",
            # _clean_lines has removed the comments; _number_lines needs the same text.
            comment_prefixes=(),
            inline_comment_prefixes=(),
        )

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def read_sections(text: str, file: str) -> dict[str, Section]:
    """Return every section with its lines; only the form of the text is checked.

    Args:
        text: The text of the file.
        file: Its name, for error messages.

    Raises:
        ConfigError: A line is no section, key or comment, or stands in the wrong place.
    """
    lines = _clean_lines(text, file)
    numbers = _number_lines(lines)
    parser = _ChatIni()
    try:
        parser.read_file(lines, source=file)
    except DuplicateSectionError as error:
        first = numbers[str(error.section), None]
        raise ConfigError(
            f"[{error.section}] already begins in line {first}; move these lines there",
            file=file,
            line=error.lineno or 0,
        ) from None
    except DuplicateOptionError as error:
        first = numbers[str(error.section), str(error.option)]
        raise ConfigError(
            f"[{error.section}] {error.option} is already set in line {first}; keep one of them",
            file=file,
            line=error.lineno or 0,
        ) from None
    except MissingSectionHeaderError as error:
        raise ConfigError(
            f"{lines[error.lineno - 1]} comes before any section; begin with a line such as "
            "[listen]",
            file=file,
            line=error.lineno,
        ) from None
    except ParsingError as error:
        number = error.errors[0][0]
        raise ConfigError(
            f"{lines[number - 1]} has no key before the =; write key = value",
            file=file,
            line=number,
        ) from None
    return {
        section: Section(
            numbers[section, None],
            {
                key: SourceLine(file, numbers[section, key], key, value or "", section)
                for key, value in parser.items(section)
            },
        )
        for section in parser.sections()
    }


def split_lines(text: str) -> list[str]:
    """Split a text where editors do; ``str.splitlines`` knows eight more line ends."""
    return re.split(r"\r\n|\r|\n", text)


def _clean_lines(text: str, file: str) -> list[str]:
    """Return the lines without comments and without white space around them.

    Indentation has to go: configparser takes an indented line for a continuation of the value
    above it, so that a rule or a port would silently be lost.
    """
    lines = []
    for number, line in enumerate(split_lines(text), start=1):
        clean = _COMMENT.sub("", line.strip()).strip()
        for character in clean:
            if unicodedata.category(character) == "Cc" and character != "\t":
                raise ConfigError(
                    f"the line has a control character (U+{ord(character):04X}); remove it",
                    file=file,
                    line=number,
                )
        if clean.startswith("[") and "->" not in clean and not _SECTION.match(clean):
            raise ConfigError(
                f"{clean} is not a section; write its name alone in brackets, such as [listen]",
                file=file,
                line=number,
            )
        lines.append(clean)
    return lines


def _number_lines(lines: Sequence[str]) -> dict[tuple[str, str | None], int]:
    """Map (section, key) to the number of its first line, which configparser does not keep.

    The line that opens a section has the key None.
    """
    numbers: dict[tuple[str, str | None], int] = {}
    section = ""
    for number, line in enumerate(lines, start=1):
        if header := _SECTION.match(line):
            section = header["header"]
            numbers.setdefault((section, None), number)
        elif line:
            numbers.setdefault((section, line.partition("=")[0].rstrip()), number)
    return numbers
