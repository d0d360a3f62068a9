"""Flask-Login in an application of ours: two users, and a page that asks them to log in."""

from __future__ import annotations

from flask import Flask, get_flashed_messages
from flask_login import LoginManager, UserMixin


class User(UserMixin):  # type: ignore[misc]
    def __init__(self, name: str) -> None:
        self.id = name


USERS = {name: User(name) for name in ("ann", "bob")}


def with_logins(app: Flask) -> Flask:
    manager = LoginManager(app)
    manager.login_view = "log_in"
    manager.user_loader(USERS.get)
    app.add_url_rule("/login", "log_in", lambda: "Please log in: " + "; ".join(map(str, get_flashed_messages())))
    return app
