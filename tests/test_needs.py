"""What tests need is checked before the first one runs, and said in one block."""

from __future__ import annotations

import re
import shutil

import pytest
from support import needs
from support.needs import NEEDS, ROOT, Need, main, report, require, require_package

NOTHING = Need("Nothing", ("rtchat-no-such-program",), ("no-such-package",), "no test at all")


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Need something that no machine has."""
    monkeypatch.setattr(needs, "NEEDS", (*NEEDS, NOTHING))
    monkeypatch.delenv("CI", raising=False)


@pytest.mark.usefixtures("lacking")
def test_a_missing_program_is_named_with_its_tests_and_the_remedy(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 0
    said = capsys.readouterr().err
    assert re.search(r"^  Nothing +skipped: no test at all$", said, re.MULTILINE)
    assert re.search(r"^  apt-get install .*no-such-package$", said, re.MULTILINE)


@pytest.mark.usefixtures("lacking")
def test_in_ci_a_missing_program_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CI", "true")
    assert main([]) == 1
    said = capsys.readouterr().err
    assert re.search(r"^  Nothing +needed by: no test at all$", said, re.MULTILINE)
    assert "no test was run" in said


@pytest.mark.parametrize("ci", ["", "true"])
def test_nothing_is_said_when_nothing_is_missing(
    ci: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(needs, "NEEDS", ())
    assert main([]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("lacking")
def test_the_packages_are_given_on_one_line_for_apt_get(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--packages"]) == 0
    assert capsys.readouterr().out.split()[-1] == "no-such-package"


def test_one_of_several_names_is_enough() -> None:
    need = Need("Python", ("rtchat-no-such-program", "env"), (), "")
    assert need.path() == shutil.which("env")


def test_the_report_of_every_need_fits_a_terminal() -> None:
    text = report(NEEDS, is_error=True)
    assert max(map(len, text.splitlines())) <= 110


@pytest.mark.usefixtures("lacking")
def test_a_test_that_lacks_its_program_is_skipped() -> None:
    with pytest.raises(pytest.skip.Exception, match="rtchat-no-such-program is missing"):
        require("rtchat-no-such-program")
    with pytest.raises(pytest.skip.Exception, match="run 'npm ci' in tests/js"):
        require_package("no-such-package")


@pytest.mark.usefixtures("lacking")
def test_in_ci_a_test_that_lacks_its_program_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no test may be skipped"):
        require("rtchat-no-such-program")


@pytest.mark.parametrize("need", NEEDS, ids=lambda need: need.name)
def test_the_files_that_a_need_names_exist(need: Need) -> None:
    for name in re.findall(r"tests/[\w/.]+\w", need.tests):
        assert (ROOT / name).exists(), name


def test_ci_installs_what_the_list_says() -> None:
    assert "tests/support/needs.py --packages" in (ROOT / ".ci" / "run").read_text()
