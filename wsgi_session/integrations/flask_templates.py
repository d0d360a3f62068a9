"""``session`` in Jinja templates: ``{{ session.state }}`` is the key ``state``, if the session has one.

Jinja looks for an attribute first, and then for a key. Flask's own session has few attributes, so applications write
``{{ session.state }}`` or ``{{ session.owner }}`` for their keys. In templates, the attributes that only this package
has therefore come after the keys. In Python code, ``session.state`` is always the attribute.
"""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask import session as current_session
from flask.sessions import SecureCookieSession
from werkzeug.local import LocalProxy

from wsgi_session.integrations.flask_session import FlaskSession

#: The attributes that Flask's own session does not have.
OURS = {name for name in dir(FlaskSession) if not name.startswith("_")} - set(dir(SecureCookieSession))


class TemplateSession(LocalProxy[Any]):
    """``flask.session`` for templates: a key takes precedence over an attribute that only this package has."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        session = self._get_current_object()
        if name in OURS and name in session:
            return session[name]
        return getattr(session, name)


def prefer_keys_in_templates(app: Flask) -> None:
    """Replace the ``session`` of the application's templates by a :class:`TemplateSession`."""
    session = TemplateSession(current_session._get_current_object)  # type: ignore[attr-defined]

    def replace(environment: Any) -> Any:
        # An application may have replaced it itself.
        if environment.globals.get("session") is current_session:
            environment.globals["session"] = session
        return environment

    if "jinja_env" in vars(app):
        replace(app.jinja_env)
    else:
        # Flask creates the environment on first use, from settings that the application may still change.
        create = app.create_jinja_environment
        app.create_jinja_environment = lambda: replace(create())  # type: ignore[method-assign]
