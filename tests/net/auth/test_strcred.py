"""Twisted's credentials checkers: which can be used, and what their answers mean."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import LoginFailed, UnauthorizedLogin, UnhandledCredentials
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from rtchat.errors import ConfigError, LimitExceeded
from rtchat.net.auth.hashes import Scrypt
from rtchat.net.auth.strcred import CredChecker, WrongAnswer


class PlugIn:
    """A checker, and the factory that makes it."""

    authType = "plugin"  # noqa: N815
    argStringFormat = "a word"  # noqa: N815
    credentialInterfaces = (IUsernamePassword,)  # noqa: N815

    def __init__(self, answer: Callable[[bytes, bytes], object]) -> None:
        self.answer = answer
        self.argument = ""

    def generateChecker(self, argument: str) -> PlugIn:  # noqa: N802
        self.argument = argument
        return self

    def requestAvatarId(self, credentials: object) -> object:  # noqa: N802
        name, password = (getattr(credentials, one) for one in ("username", "password"))
        return self.answer(name, password)


Install = Callable[[Callable[[bytes, bytes], object]], PlugIn]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Make a plug-in that answers so."""

    def installed(answer: Callable[[bytes, bytes], object]) -> PlugIn:
        plug_in = PlugIn(answer)
        monkeypatch.setattr("rtchat.net.auth.strcred.findCheckerFactory", lambda _: plug_in)
        return plug_in

    return installed


def asked(checker: CredChecker, name: str = "ada", password: str = "secret") -> list[object]:
    """Ask; return a list that gets the answer, or the exception."""
    answers: list[object] = []
    checker.ask(name, password).addBoth(
        lambda one: answers.append(one.value if isinstance(one, Failure) else one)
    )
    return answers


class TestTwistedsOwn:
    def test_a_file_of_passwords(self, tmp_path: Path) -> None:
        path = tmp_path / "plain"
        path.write_text("ada:secret\njörg:grüße\nempty:\n", encoding="utf-8")
        checker = CredChecker(f"file:{path}", Clock())
        assert checker.is_blocking
        assert checker.check_here("ada", "secret")
        assert checker.check_here("jörg", "grüße")
        assert not checker.check_here("ada", "Secret")
        assert not checker.check_here("grace", "secret")

    def test_its_changes_count_at_once(self, tmp_path: Path) -> None:
        path = tmp_path / "plain"
        path.write_text("ada:secret\n", encoding="utf-8")
        checker = CredChecker(f"file:{path}", Clock())
        path.write_text("grace:secret\n", encoding="utf-8")
        assert not checker.check_here("ada", "secret")
        assert checker.check_here("grace", "secret")

    def test_hashes_are_no_passwords(self, tmp_path: Path) -> None:
        """With the file alone one could log in."""
        path = tmp_path / "users"
        path.write_text(f"ada:{Scrypt.of('x', ln=4, r=1, p=1).text}\n", encoding="utf-8")
        with pytest.raises(ConfigError, match=f"hashed passwords.*write file = {path} instead"):
            CredChecker(f"file:{path}", Clock())

    @pytest.mark.parametrize("text", ["file", "file:", "file:/no/such/file", "file:/"])
    def test_a_file_that_is_not_there(self, text: str) -> None:
        with pytest.raises(ConfigError, match="is no file; name one with lines NAME:PASSWORD"):
            CredChecker(text, Clock())

    def test_memory(self) -> None:
        checker = CredChecker("memory:ada:secret:grace:other", Clock())
        assert checker.check_here("ada", "secret")
        assert checker.check_here("grace", "other")
        assert not checker.check_here("ada", "other")
        assert not checker.check_here("joan", "secret")
        assert checker.text == "memory", "the log must not have the passwords"

    def test_a_text_that_it_does_not_understand(self) -> None:
        with pytest.raises(ConfigError, match=r"'memory' cannot be used: .*; its text is memory:"):
            CredChecker("memory:ada", Clock())

    def test_unix(self, monkeypatch: pytest.MonkeyPatch) -> None:
        if sys.version_info >= (3, 13):
            with pytest.raises(ConfigError, match="has no module crypt"):
                CredChecker("unix", Clock())
            return
        checker = CredChecker("unix", Clock())
        assert checker.is_blocking
        import crypt
        import pwd

        hashed = crypt.crypt("secret", crypt.METHOD_SHA512)
        monkeypatch.setattr(pwd, "getpwnam", lambda name: {"ada": _Entry(hashed)}[name])
        assert checker.check_here("ada", "secret")
        assert not checker.check_here("ada", "Secret")
        assert not checker.check_here("grace", "secret")

    def test_unix_without_the_modules_of_python_is_refused_at_the_start(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "crypt", None)
        with pytest.raises(ConfigError, match=r"does not work with Python 3.*use Python 3\.12 or"):
            CredChecker("unix", Clock())


class _Entry:
    def __init__(self, hashed: str) -> None:
        self.pw_passwd = hashed


class TestOthers:
    def test_an_unknown_one_is_refused_with_those_that_are_there(self) -> None:
        with pytest.raises(ConfigError, match="no credentials checker 'ldap'; use one of file, "):
            CredChecker("ldap:x", Clock())

    @pytest.mark.parametrize("text", ["anonymous", "sshkey"])
    def test_one_that_checks_no_passwords_is_refused(self, text: str) -> None:
        with pytest.raises(ConfigError, match=f"'{text}' does not check passwords"):
            CredChecker(text, Clock())

    def test_a_plug_in_gets_its_text_and_is_asked_where_the_reactor_is(
        self, install: Install
    ) -> None:
        plug_in = install(lambda name, password: name if password == b"secret" else b"")
        checker = CredChecker("plugin:one:two", Clock())
        assert (plug_in.argument, checker.text, checker.is_blocking) == ("one:two", "plugin", False)
        assert asked(checker) == [True]

    def test_one_that_blocks_says_so(self, install: Install) -> None:
        install(lambda name, _: name).is_blocking = True  # type: ignore[attr-defined]
        checker = CredChecker("plugin", Clock())
        assert checker.is_blocking
        assert checker.check_here("ada", "secret")

    def test_a_plug_in_of_the_system_is_found(self, tmp_path: Path) -> None:
        """As a site installs its own: a module in ``twisted/plugins`` on the path."""
        folder = tmp_path / "twisted" / "plugins"
        folder.mkdir(parents=True)
        (folder / "cred_of_a_site.py").write_text(
            "from twisted.cred.credentials import IUsernamePassword\n"
            "from twisted.cred.strcred import ICheckerFactory\n"
            "from twisted.plugin import IPlugin\n"
            "from zope.interface import implementer\n"
            "@implementer(ICheckerFactory, IPlugin)\n"
            "class Factory:\n"
            "    authType, authHelp, argStringFormat = 'site', 'x', 'x'\n"
            "    credentialInterfaces = (IUsernamePassword,)\n"
            "    def generateChecker(self, text):\n"
            "        return self\n"
            "    def requestAvatarId(self, credentials):\n"
            "        return credentials.username\n"
            "factory = Factory()\n",
            encoding="utf-8",
        )
        program = (
            "from twisted.internet.task import Clock\n"
            "from rtchat.net.auth.strcred import CredChecker\n"
            "checker = CredChecker('site:x', Clock())\n"
            "checker.ask('ada', 'x').addCallback(print)\n"
        )
        shown = subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout
        assert shown == "True\n"


class TestAnswers:
    @pytest.mark.parametrize("answer", [b"ada", "ada"])
    def test_the_name_lets_in(self, install: Install, answer: object) -> None:
        install(lambda *_: answer)
        assert asked(CredChecker("plugin", Clock())) == [True]

    @pytest.mark.parametrize("error", [UnauthorizedLogin(), LoginFailed("locked")])
    def test_a_refusal_does_not(self, install: Install, error: Exception) -> None:
        install(lambda *_: Failure(error))
        assert asked(CredChecker("plugin", Clock())) == [False]

    def test_what_is_raised_is_like_what_is_returned(self, install: Install) -> None:
        def refuse(name: bytes, password: bytes) -> object:
            raise UnauthorizedLogin

        install(refuse)
        checker = CredChecker("plugin", Clock())
        assert asked(checker) == [False]
        assert not checker.check_here("ada", "secret")

    def test_twisteds_anonymous_does_not(self, install: Install) -> None:
        install(lambda *_: ())
        assert asked(CredChecker("plugin", Clock())) == [False]

    @pytest.mark.parametrize("answer", [b"", "Ada", b"grace", None, 1, b"\xff"])
    def test_another_name_is_a_fault_of_the_checker(self, install: Install, answer: object) -> None:
        install(lambda *_: answer)
        checker = CredChecker("plugin", Clock())
        assert isinstance(asked(checker)[0], WrongAnswer)
        with pytest.raises(WrongAnswer, match="has to answer with the name that was given"):
            checker.check_here("ada", "secret")

    @pytest.mark.parametrize("error", [OSError("no LDAP"), UnhandledCredentials()])
    def test_other_failures_are_no_refusals(self, install: Install, error: Exception) -> None:
        install(lambda *_: Failure(error))
        assert asked(CredChecker("plugin", Clock())) == [error]


class TestAnswersThatTakeTime:
    def test_are_waited_for(self, install: Install) -> None:
        answer: Deferred[bytes] = Deferred()
        install(lambda *_: answer)
        answers = asked(CredChecker("plugin", Clock()))
        assert answers == []
        answer.callback(b"ada")
        assert answers == [True]

    def test_but_not_for_ever(self, install: Install) -> None:
        clock = Clock()
        install(lambda *_: Deferred())
        answers = asked(CredChecker("plugin", clock, timeout_s=3))
        clock.advance(2.9)
        assert answers == []
        clock.advance(0.1)
        assert isinstance(answers[0], DeferredTimeout)

    def test_are_missing_so_many_at_once(self, install: Install) -> None:
        clock = Clock()
        install(lambda *_: Deferred())
        checker = CredChecker("plugin", clock, max_asked=2)
        answers = [asked(checker) for _ in range(3)]
        assert isinstance(answers[2][0], LimitExceeded)
        clock.advance(10)
        assert asked(checker) == []

    def test_end_when_the_client_has_gone(self, install: Install) -> None:
        cancelled: list[object] = []
        clock = Clock()
        install(lambda *_: Deferred(cancelled.append))
        checker = CredChecker("plugin", clock, max_asked=1)
        answer = checker.ask("ada", "secret")
        answer.cancel()
        answer.addErrback(lambda failure: failure.trap(CancelledError))
        assert len(cancelled) == 1
        assert clock.getDelayedCalls() == []
        assert asked(checker) == []

    def test_in_a_thread_they_are_a_fault_of_the_checker(self, install: Install) -> None:
        install(lambda *_: Deferred())
        with pytest.raises(WrongAnswer, match="let its is_blocking be False"):
            CredChecker("plugin", Clock()).check_here("ada", "secret")
