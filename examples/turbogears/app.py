"""A TurboGears 2 shop with an embedded chat; the controller announces each order in the chat.

    python examples/turbogears/app.py

It listens on 127.0.0.1:8080 until Ctrl-C. README.md says what else has to run.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tg import (
    MinimalApplicationConfigurator,
    TGController,
    abort,
    config,
    expose,
    flash,
    redirect,
    request,
)
from waitress import serve

from rtchat.blocking import publish
from rtchat.errors import ServerRefused

FRUIT = ("apple", "pear", "quince")
ROOM = "shop"


class ShopController(TGController):
    """The pages of the shop."""

    @expose("page.xhtml")
    def index(self) -> dict[str, Any]:
        """Show the fruit on offer and the chat."""
        return {"fruit": FRUIT, "chat": config["chat"], "room": ROOM}

    @expose()
    def order(self, fruit: str = "", **_: str) -> None:
        """Take an order and announce it in the room."""
        if request.method != "POST" or fruit not in FRUIT:
            abort(400)
        message = {"nick": "Shop", "text": f"Somebody ordered a fresh {fruit}."}
        try:
            publish(
                f"/topic/chat.{ROOM}",
                message,
                host=config["stomp_server"],
                port=config["stomp_port"],
                timeout_s=2,
            )
        except ServerRefused as error:
            # The order counts even if the chat is down.
            flash(f"Your {fruit} is on its way; the chat was not told: {error}", "warning")
        else:
            flash(f"Your {fruit} is on its way.")
        redirect("/")


def make_app(chat: str, stomp_server: str, stomp_port: int) -> Callable[..., Any]:
    """Build the WSGI application.

    Args:
        chat: The URL of rtchat's page for browsers, for example ``http://localhost:9000``.
        stomp_server: The host of rtchat's STOMP port, as seen from this program.
        stomp_port: The STOMP port.
    """
    configurator = MinimalApplicationConfigurator()
    configurator.update_blueprint(
        {
            "root_controller": ShopController(),
            "renderers": ["kajiki"],
            "paths": {"templates": [str(Path(__file__).parent)]},
            "chat": chat.rstrip("/"),
            "stomp_server": stomp_server,
            "stomp_port": stomp_port,
        }
    )
    app: Callable[..., Any] = configurator.make_wsgi_app()
    return app


def main() -> None:
    """Serve until a signal arrives."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=8080, help="where it listens (%(default)s)")
    parser.add_argument("--chat", default="http://localhost:9000", help="rtchat (%(default)s)")
    parser.add_argument("--stomp-server", default="localhost", help="its STOMP host (%(default)s)")
    parser.add_argument("--stomp-port", type=int, default=61613, help="and port (%(default)s)")
    options = parser.parse_args()
    app = make_app(options.chat, options.stomp_server, options.stomp_port)
    serve(app, host="127.0.0.1", port=options.port)


if __name__ == "__main__":
    main()
