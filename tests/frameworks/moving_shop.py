"""A shop with logins in Flask, with the sessions of another library or with ours, and a process that serves it.

``python -m tests.frameworks.moving_shop PORT FOLDER KIND PEER``: KIND is ``old``, ``first`` or ``second``; PEER is
``cookie`` (Flask's own sessions) or ``folder`` (Flask-Session with cachelib). The processes of one folder are one site.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flask import Flask, flash, get_flashed_messages, request, session
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user

from tests.support.servers.process import Server
from wsgi_session.integrations.flask import FlaskSessions
from wsgi_session.moving import Adopt, FlaskCookie, FlaskSessionStore, Reader

KEY = "a key that is long enough for both, 0123456789abcdef"


class User(UserMixin):  # type: ignore[misc]
    def __init__(self, id: str) -> None:
        self.id = id


def make_app(**config: Any) -> Flask:
    """Return the shop, as an application of Flask has it."""
    app = Flask("shop")
    app.config.update(SECRET_KEY=KEY, **config)
    manager = LoginManager(app)
    manager.user_loader(User)

    @app.get("/login")
    def log_in() -> str:
        session.permanent = True
        session["cart"] = ["bun", {"price": 1.5}]
        flash("Welcome")
        flash("<b>back</b>", "html")
        login_user(User(request.args.get("user", "7")))
        return "in"

    @app.get("/")
    def home() -> dict[str, Any]:
        user = current_user.get_id() if current_user.is_authenticated else None
        return {"user": user, "cart": session.get("cart"), "flashes": get_flashed_messages(with_categories=True)}

    @app.get("/logout")
    def log_out() -> str:
        logout_user()
        return "out"

    return app


def site(kind: str, peer: str, folder: Path) -> Flask:
    """Return the shop of one process of the site."""
    if kind == "old":
        app = make_app()
        if peer == "folder":
            import cachelib
            import flask_session

            app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=cachelib.FileSystemCache(str(folder / "old")))
            flask_session.Session(app)
        return app
    reader: Reader = FlaskCookie(KEY) if peer == "cookie" else FlaskSessionStore(folder / "old")
    app = make_app(SESSION_COOKIE_NAME="sid")
    FlaskSessions(app, store=f"sqlite:///{folder}/new.db", adopt=Adopt(reader, keep_old=kind == "first"))
    return app


class ShopServer(Server):
    """One process of the site."""

    name = "shop"

    def __init__(self, kind: str, peer: str, site: Path) -> None:
        super().__init__()
        self._arguments = [str(site), kind, peer]

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "tests.frameworks.moving_shop", str(self.port), *self._arguments]

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


if __name__ == "__main__":
    from waitress import serve

    port, place, kind, peer = sys.argv[1:]
    serve(site(kind, peer, Path(place)), port=int(port), host="127.0.0.1")
