"""What a Flask application says of its sessions: to ``FlaskSessions``, in settings of ours, in settings of Flask's.

``app.config`` has to be filled when ``FlaskSessions(app)`` or ``init_app(app)`` is called. What was given to
``FlaskSessions`` counts most; then ``WSGI_SESSION_STORE``, ``WSGI_SESSION_IDLE_TIMEOUT`` and so on, text or objects
(see ``SessionMiddleware.from_config``); then Flask's own:

* ``SECRET_KEY``, then ``SECRET_KEY_FALLBACKS``, newest first: ``secret``;
* ``SESSION_COOKIE_NAME``, ``_DOMAIN``, ``_PATH`` (else ``APPLICATION_ROOT``), ``_SAMESITE`` (``None`` is ``Lax``),
  ``_PARTITIONED``: those of the cookie. ``_SECURE=True`` is ``cookie_secure=True``, and ``False`` is ``"auto"``: over
  https the cookie is Secure anyway. ``_HTTPONLY=False`` is refused;
* ``PERMANENT_SESSION_LIFETIME``: ``idle_timeout``; ``absolute_timeout`` is as long if that is more than 90 days;
* ``SESSION_REFRESH_EACH_REQUEST`` means nothing: the cookie is sent again when its life has moved on by
  ``touch_interval``.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Flask

from wsgi_session.config.options import check_names, hide_secret, parse_options
from wsgi_session.config.secrets import hide
from wsgi_session.errors import ConfigError

PREFIX = "WSGI_SESSION_"
# Settings by which Flask-Session finds its store: who comes from there may have left them.
_FLASK_SESSION = ("SESSION_TYPE", "SESSION_REDIS", "SESSION_SQLALCHEMY", "SESSION_CACHELIB", "SESSION_FILE_DIR")
_NINETY_DAYS = timedelta(days=90)


def options_for(app: Flask, given: dict[str, Any]) -> dict[str, Any]:
    """Return the middleware's options; ``given`` are those that ``FlaskSessions`` was given, its secret hidden."""
    ours = [name for name in app.config if name.startswith(PREFIX)]
    settings = hide_secret({name[len(PREFIX) :].lower(): app.config[name] for name in ours}, "")
    if isinstance(given.get("secret"), str):
        # One secret: only a setting's text may hold several, apart by spaces.
        given = {**given, "secret": [given["secret"]]}
    check_names(given)
    options = {**_of_flask(app), **settings, **given}
    if "secret" not in options:
        raise ConfigError(
            'secret is missing: set app.config["SECRET_KEY"] before, or give secret=... '
            "Make one with: python -m wsgi_session keygen"
        )
    if "store" not in options:
        theirs = next((f" ({name} is Flask-Session's.)" for name in _FLASK_SESSION if name in app.config), "")
        raise ConfigError(
            f'store is missing: give store="sqlite:///sessions.db", or app.config["WSGI_SESSION_STORE"].{theirs}'
        )
    return parse_options({PREFIX + name: value for name, value in options.items()}, PREFIX, spell=str.upper)


def _of_flask(app: Flask) -> dict[str, Any]:
    """Return the options that Flask has settings of its own for."""
    if not app.config["SESSION_COOKIE_HTTPONLY"]:
        raise ConfigError(
            "SESSION_COOKIE_HTTPONLY=False: no script may read this cookie. Remove the setting; what scripts may know "
            "they get from session_info()."
        )
    lifetime = app.permanent_session_lifetime
    options = {
        "cookie_name": app.config["SESSION_COOKIE_NAME"],
        "cookie_domain": app.config["SESSION_COOKIE_DOMAIN"] or None,
        "cookie_path": app.config["SESSION_COOKIE_PATH"] or app.config["APPLICATION_ROOT"],
        "cookie_samesite": (app.config["SESSION_COOKIE_SAMESITE"] or "Lax").title(),
        "cookie_secure": app.config["SESSION_COOKIE_SECURE"] or "auto",
        # Since Flask 3.1, as SECRET_KEY_FALLBACKS.
        "cookie_partitioned": app.config.get("SESSION_COOKIE_PARTITIONED", False),
        "cookie_persistent": False,
        "idle_timeout": lifetime,
        "absolute_timeout": max(lifetime, _NINETY_DAYS),
    }
    if app.secret_key:
        options["secret"] = hide([app.secret_key, *(app.config.get("SECRET_KEY_FALLBACKS") or ())])
    return options
