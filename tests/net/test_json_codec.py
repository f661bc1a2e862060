"""Strict JSON."""

from __future__ import annotations

import pytest

from rtchat.net.json_codec import json_object


def test_an_object_is_read() -> None:
    assert json_object(b' {"a": [1, 2.5, "\xc3\xa4", null], "b": {"c": true}}\n') == {
        "a": [1, 2.5, "ä", None],
        "b": {"c": True},
    }
    assert json_object(b'{"a": %s}' % (b"9" * 5000 + b"e-5000")) == {"a": pytest.approx(1.0)}


@pytest.mark.parametrize(
    "data, problem",
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"{} x", "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b"[]", "not an object"),
        (b"null", "not an object"),
        (b"\xff", "not UTF-8"),
        (b'{"a": 1, "a": 2}', "a key is there twice"),
        (b'{"b": [{"a": 1, "a": 2}]}', "a key is there twice"),
        (b'{"a": NaN}', "not finite"),
        (b'{"a": -Infinity}', "not finite"),
        (b'{"a": 1e999}', "not finite"),
        (b'{"a": %s}' % (b"9" * 5000), "not finite"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"\\ud800": 1}', "surrogate"),
        (b'{"a": [["\\udc00"]]}', "surrogate"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"a":' + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_doubtful_is_not(data: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        json_object(data)
