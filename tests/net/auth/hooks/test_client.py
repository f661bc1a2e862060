"""Why there is no answer, in words, and whether the request can have reached the site."""

from __future__ import annotations

import pytest
from OpenSSL import SSL
from twisted.internet import error
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed, ResponseNeverReceived

from rtchat.net.auth.hooks.client import ConnectionLost, _failure_of

URL = "http://site/hook?key=secret"


@pytest.mark.parametrize(
    "problem, kind, is_untold",
    [
        (error.ConnectionRefusedError(), "connection refused", True),
        (error.DNSLookupError(), "name not found", True),
        (error.TimeoutError(), "no connection", True),
        (error.TCPTimedOutError(), "no connection", True),
        (error.NoRouteError(), "no connection", True),
        (ResponseNeverReceived([Failure(error.ConnectionDone())]), "connection lost", False),
        (ResponseNeverReceived([Failure(error.ConnectionLost())]), "connection lost", False),
        (
            ResponseNeverReceived([Failure(SSL.Error([("a", "", "bad")]))]),
            "no TLS connection",
            True,
        ),
        (ResponseNeverReceived([Failure(SSL.Error())]), "no TLS connection", True),
        (ResponseFailed([Failure(ValueError("7"))]), "an answer that is not HTTP", False),
        (CancelledError(), "no answer", False),
        (ZeroDivisionError(), "no answer", False),
    ],
)
def test_why_there_is_no_answer(problem: Exception, kind: str, is_untold: bool) -> None:
    failed = _failure_of(problem, URL)
    assert failed.kind == kind
    assert failed.is_untold == is_untold
    assert "http://site/hook" in failed.detail
    assert "secret" not in failed.detail


def test_a_failure_stays_what_it_is() -> None:
    lost = ConnectionLost(URL)
    assert _failure_of(lost, URL) is lost
