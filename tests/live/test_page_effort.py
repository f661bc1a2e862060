"""How long the page takes for hostile texts: in three engines, and on the screen.

In every run Node stands for V8 (tests/js/effort.test.mjs); ``make soak`` measures in Chromium, too.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect
from support.browser import ENGINES, Window, in_both_browsers
from support.examples import IS_SOAK
from support.needs import require
from support.process import Server
from support.wire import Wire

pytestmark = [pytest.mark.live, pytest.mark.slow]

OpenWindow = Callable[..., Window]
Serve = Callable[..., Server]

SCRIPTS = Path(__file__).resolve().parent.parent / "js"
FORMS = (
    [{"more": 2000, "length": 4000}, {"more": 50, "length": 16_000, "seed": 2}]
    if IS_SOAK
    else [{"more": 0, "length": 2500}]
)
LEAST_COUNT = 5000
TIMEOUT_S = 1800 if IS_SOAK else 240

HISTORY = "\n[history]\n/topic/chat* = 1000, 7 days\nfile = :memory:\n"

# The longest time in which nothing else could run in the page, in ms.
_WATCH = """
window.longestMs = 0;
let last = performance.now();
setInterval(() => {
  const now = performance.now();
  window.longestMs = Math.max(window.longestMs, now - last);
  last = now;
}, 10);
"""
MOST_FROZEN_MS = 2500


def judge(found: dict[str, object]) -> None:
    """Fail if a function took too long for a text, or if too few were measured."""
    assert found["faults"] == []
    assert isinstance(found["count"], int)
    assert found["count"] > LEAST_COUNT


@pytest.mark.soak
@pytest.mark.browser
@pytest.mark.parametrize("engine", ENGINES if IS_SOAK else ["firefox"], indirect=True)
def test_texts_take_time_by_their_length_in_a_browser(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(more=f"\n[static]\neffort = {SCRIPTS}\n")
    page = open_window(server.url).page
    page.set_default_timeout(TIMEOUT_S * 1000)
    for form in FORMS:
        judge(
            page.evaluate(
                "async (form) => (await import('/effort/effort.mjs')).measure(form)", form
            )
        )


@pytest.mark.soak
def test_texts_take_time_by_their_length_in_webkits_engine(tmp_path: Path) -> None:
    script = tmp_path / "run.mjs"
    for form in FORMS:
        script.write_text(
            f'import {{ measure }} from "{SCRIPTS}/effort.mjs";\n'
            f"print(JSON.stringify(measure({json.dumps(form)})));\n",
            encoding="utf-8",
        )
        done = subprocess.run(
            [require("jsc"), "--module-file=" + str(script)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        judge(json.loads(done.stdout))


@pytest.mark.browser
@in_both_browsers
def test_no_stored_message_freezes_the_page(serve: Serve, open_window: OpenWindow) -> None:
    server = serve(more=HISTORY)
    texts = ["http://" + "." * 1951 + ")" * 1951, "http://" + ")." * 1951, "http://" + ")" * 3902]
    with Wire(server.stomp) as wire:
        wire.connect()
        for text in texts:
            wire.publish("/topic/chat", json.dumps({"nick": "eve", "text": text}), receipt="r")
            assert wire.frame().command == "RECEIPT"
    ada = open_window(server.url)
    ada.page.add_init_script(_WATCH)
    ada.page.reload()
    ada.choose_nick("Ada")
    expect(ada.page.locator("#rows .message")).to_have_count(len(texts), timeout=60_000)
    assert ada.page.evaluate("window.longestMs") < MOST_FROZEN_MS
