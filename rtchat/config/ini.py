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
from dataclasses import dataclass

from rtchat.errors import ConfigError

__all__ = ["Section", "SourceLine", "read_sections", "split_lines"]


_SECTION = re.compile(r"\[(?P<header>[^\[\]]+)\]$")

_COMMENT = re.compile(r"(?:^|\s)#.*|^;.*")


@dataclass(frozen=True, slots=True)
class SourceLine:
    """Where a setting stands, for messages about it.

    Attributes:
        file: The file as it was named on the command line.
        line: Its line, counted from 1.
        key: What stands before ``=``, or the whole line when there is none.
        value: What stands behind ``=``, or "".
        section: The name of the section, without brackets.
    """

    file: str
    line: int
    key: str
    value: str
    section: str = ""

    @property
    def setting(self) -> str:
        """The line as it stands in the file, comments aside."""
        return f"{self.key} = {self.value}" if self.value else self.key

    def __str__(self) -> str:
        return f"[{self.section}] {self.setting}" if self.section else self.setting

    def error(self, problem: str) -> ConfigError:
        """Return the error to raise for this line.

        Args:
            problem: What is wrong and what to do; it continues the sentence that the setting
                begins, such as "needs [ssl] crt and key".
        """
        return ConfigError(f"{self} {problem}", file=self.file, line=self.line)


@dataclass(frozen=True, slots=True)
class Section:
    """One section of the file; its places are in the order of the file."""

    line: int
    source_lines: Mapping[str, SourceLine]


class _ChatIni(ConfigParser):
    """The dialect: ``=`` alone, names as written, no default section, no interpolation."""

    # Nothing may follow "]": an IPv6 source, as in "[::1] -> localhost:61613", is no section.
    SECTCRE = _SECTION

    def __init__(self) -> None:
        super().__init__(
            strict=True,
            interpolation=None,
            delimiters=("=",),
            allow_no_value=True,
            empty_lines_in_values=False,
            default_section="",
            # _clean_lines has taken the comments away: the line numbers need the same lines.
            comment_prefixes=(),
            inline_comment_prefixes=(),
        )

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def read_sections(text: str, file: str) -> dict[str, Section]:
    """Return every section with its settings; nothing is judged yet but the form."""
    lines = _clean_lines(text, file)
    numbers = _number_lines(lines)
    parser = _ChatIni()
    try:
        parser.read_file(lines, source=file)
    except DuplicateSectionError as error:
        first = numbers[str(error.section), None]
        raise ConfigError(
            f"[{error.section}] begins in line {first} already; move these lines there",
            file=file,
            line=error.lineno or 0,
        ) from None
    except DuplicateOptionError as error:
        first = numbers[str(error.section), str(error.option)]
        raise ConfigError(
            f"[{error.section}] {error.option} stands in line {first} already; keep one of them",
            file=file,
            line=error.lineno or 0,
        ) from None
    except MissingSectionHeaderError as error:
        raise ConfigError(
            f"{lines[error.lineno - 1]} stands before any section; begin with a line such as "
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
    """Split where an editor does; ``str.splitlines`` knows eight line ends more."""
    return re.split(r"\r\n|\r|\n", text)


def _clean_lines(text: str, file: str) -> list[str]:
    """Return the lines without comments and surrounding white space.

    Indentation goes too: configparser would take an indented line for the rest of the value
    above it, and a rule or a port would silently be lost.
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
    """Map (section, key) to its first line; configparser keeps no numbers.

    The section itself has the key None.
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
