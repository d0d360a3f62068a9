"""The session options of a Flask application.

Fill ``app.config`` before you call ``FlaskSessions(app)`` or ``init_app(app)``. Arguments of ``FlaskSessions`` take
precedence; then come the settings ``WSGI_SESSION_STORE``, ``WSGI_SESSION_IDLE_TIMEOUT`` and so on, as text or objects
(see ``SessionMiddleware.from_config``); then Flask's own settings:

* ``SECRET_KEY``, then ``SECRET_KEY_FALLBACKS``, newest first: ``secret``;
* ``SESSION_COOKIE_NAME``, ``_DOMAIN``, ``_PATH`` (or ``APPLICATION_ROOT``), ``_SAMESITE`` (``None`` means ``Lax``),
  ``_PARTITIONED``: the cookie options of these names. ``_SECURE=True`` is ``cookie_secure=True``, and ``False`` is
  ``"auto"``: over https the cookie is Secure anyway. ``_HTTPONLY=False`` is refused;
* ``PERMANENT_SESSION_LIFETIME``: ``idle_timeout``; ``absolute_timeout`` is the same or 90 days, whichever is longer;
* ``SESSION_REFRESH_EACH_REQUEST`` is ignored: the cookie is sent again when its expiry has moved by ``touch_interval``.

If the application used Flask-Session, that extension's settings come last: see
:mod:`wsgi_session.integrations.flask_session_settings`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Flask

from wsgi_session.config.options import check_secrets
from wsgi_session.config.secrets import hide, hide_secret
from wsgi_session.config.text import check_names, parse_options
from wsgi_session.errors import ConfigError
from wsgi_session.integrations.flask_session_settings import store_of_flask_session, uses_flask_session

PREFIX = "WSGI_SESSION_"
_NINETY_DAYS = timedelta(days=90)


def options_for(app: Flask, given: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return the middleware's options, and whether the caller must close the store, which was opened here.

    ``given`` are the arguments of ``FlaskSessions``, with the secret hidden.
    """
    names = [name for name in app.config if name.startswith(PREFIX)]
    settings = hide_secret({name[len(PREFIX) :].lower(): app.config[name] for name in names}, "")
    if isinstance(given.get("secret"), str):
        # An argument is one secret. Only a text setting may contain several, separated by spaces.
        given = {**given, "secret": [given["secret"]]}
    check_names(given)
    options = {**_flask_options(app), **settings, **given}
    if "secret" not in options:
        raise ConfigError(
            'secret is missing: set app.config["SECRET_KEY"] before FlaskSessions(app), or give secret=... '
            "Make one with: python -m wsgi_session keygen."
        )
    if "secret" not in settings and "secret" not in given:
        _check_secret_key(options["secret"])
    opens = "store" not in options
    if opens:
        if not uses_flask_session(app.config):
            raise ConfigError(
                'store is missing: give store="sqlite:///sessions.db", or set app.config["WSGI_SESSION_STORE"].'
            )
        options["store"] = store_of_flask_session(app)
    return parse_options({PREFIX + name: value for name, value in options.items()}, PREFIX, spell=str.upper), opens


def _check_secret_key(secret: object) -> None:
    try:
        check_secrets(secret)
    except ConfigError as error:
        raise ConfigError(
            f'{error} The secret comes from app.config["SECRET_KEY"] and SECRET_KEY_FALLBACKS. Other extensions sign '
            "with them: to keep what they have signed, give FlaskSessions(app, secret=...) a secret of its own."
        ) from None


def _flask_options(app: Flask) -> dict[str, Any]:
    """Return the options that Flask's own settings provide."""
    if not app.config["SESSION_COOKIE_HTTPONLY"]:
        raise ConfigError(
            "SESSION_COOKIE_HTTPONLY=False: scripts must not read this cookie. Remove the setting; a script can get "
            "the user's data from session_info()."
        )
    lifetime = app.permanent_session_lifetime
    options = {
        "cookie_name": app.config["SESSION_COOKIE_NAME"],
        "cookie_domain": app.config["SESSION_COOKIE_DOMAIN"] or None,
        "cookie_path": app.config["SESSION_COOKIE_PATH"] or app.config["APPLICATION_ROOT"],
        "cookie_samesite": (app.config["SESSION_COOKIE_SAMESITE"] or "Lax").title(),
        "cookie_secure": app.config["SESSION_COOKIE_SECURE"] or "auto",
        # Flask has this setting since 3.1, and SECRET_KEY_FALLBACKS too.
        "cookie_partitioned": app.config.get("SESSION_COOKIE_PARTITIONED", False),
        # Flask-Session's cookie is permanent unless its application says otherwise.
        "cookie_persistent": uses_flask_session(app.config) and bool(app.config.get("SESSION_PERMANENT", True)),
        "idle_timeout": lifetime,
        "absolute_timeout": max(lifetime, _NINETY_DAYS),
    }
    if app.secret_key:
        options["secret"] = hide([app.secret_key, *(app.config.get("SECRET_KEY_FALLBACKS") or ())])
    return options
