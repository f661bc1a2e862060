"""A Flask page with an embedded chat; docs/embedding.md explains how to run it."""

from __future__ import annotations

import argparse

from flask import Flask, redirect, render_template_string, request
from werkzeug.wrappers import Response

from rtchat.blocking import publish

PAGE = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>Kitchen</title><h1>Kitchen</h1>
<form method="post"><input name="dish" aria-label="Dish" required> <button>Ready</button></form>
<script src="{{ chat }}/static/embed.js" data-room="kitchen"></script></html>"""

app = Flask(__name__)


@app.get("/")
def page() -> str:
    return render_template_string(PAGE, chat=app.config["CHAT"])


@app.post("/")
def ready() -> Response:
    text = f"{request.form['dish'][:100]} is ready."
    publish("/topic/chat.kitchen", {"nick": "Cook", "text": text}, port=app.config["STOMP_PORT"])
    return redirect("/", 303)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--chat", default="http://localhost:9000")
    parser.add_argument("--stomp-port", type=int, default=61613)
    options = parser.parse_args()
    app.config.update(CHAT=options.chat, STOMP_PORT=options.stomp_port)
    app.run("127.0.0.1", options.port)
