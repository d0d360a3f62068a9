"""Beaker's configuration, translated into the options of ``SessionMiddleware``.

======================================= ================================================================================
Beaker's option                         what it becomes
======================================= ================================================================================
``type``, ``url``, ``data_dir`` …       ``store``: see :mod:`wsgi_session.integrations.beaker_stores`
``key``                                 ``cookie_name``
``secret``, ``validate_key``,           ``secret``: the longest of those that are given. See
``encrypt_key``                         :mod:`wsgi_session.integrations.beaker_secret`
``timeout``                             ``idle_timeout``. Without it, 400 days: browsers keep no cookie longer
``cookie_expires``                      ``True``: the cookie ends with the browser. ``False``: it stays. Seconds or a
                                        timedelta: it stays, and that is also the ``absolute_timeout``
``secure``                              ``True``: ``cookie_secure=True``. ``False``: ``"auto"``
``samesite``                            ``cookie_samesite``
``cookie_domain``, ``cookie_path``      the options of these names
======================================= ================================================================================

Options without an effect here are accepted: ``lock_dir``, ``crypto_type``, ``data_serializer="json"``. Options that ask
for something else raise ``ConfigError``: ``httponly=False``, ``namespace_class``, ``encrypt_key`` for any type
except ``cookie``. Each option of this package's ``SessionMiddleware`` is accepted too, and takes precedence.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from wsgi_session.config.text import parse_options
from wsgi_session.errors import ConfigError
from wsgi_session.integrations.beaker_given import REFUSED, WITHOUT_EFFECT, Given, as_flag
from wsgi_session.integrations.beaker_secret import secret_option
from wsgi_session.integrations.beaker_stores import store_of

_FOREVER = timedelta(days=400)


class Translated(NamedTuple):
    """The options of a middleware, and what only Beaker's sessions have."""

    options: dict[str, Any]
    #: Whether each request saves its changes, without a call of ``save()``.
    autosave: bool
    #: The name under which WebTest finds the session, or ``None``.
    test_variable: str | None
    #: Whether the store was made for this middleware, which has to close it.
    owns_store: bool


def translate(given: Given) -> Translated:
    """Return this package's options for Beaker's. Raises ``ConfigError`` for an option that cannot be translated."""
    _check_unsupported(given)
    options = {
        "cookie_name": given.take("key", "beaker.session.id"),
        "cookie_path": given.take("cookie_path", "/"),
        "cookie_domain": given.take("cookie_domain"),
        # Beaker's None sends no SameSite, which browsers treat as Lax.
        "cookie_samesite": str(given.take("samesite", "Lax")).title(),
        "cookie_secure": given.take_flag("secure", default=False) or "auto",
        **_times(given),
        **secret_option(given),
    }
    autosave = given.take_flag("auto", default=False)
    test_variable = given.take("webtest_varname")
    # A store that the application gave is closed by the application.
    owns_store = "store" not in given
    options["store"] = store_of(given)
    options.update(given.rest())
    options = parse_options({f"session.{name}": value for name, value in options.items()}, "session.")
    return Translated(options, autosave, test_variable, owns_store)


def _check_unsupported(given: Given) -> None:
    for option, reason in REFUSED.items():
        if option in given:
            raise ConfigError(f"{given.name(option)}: {reason}.")
    for option in WITHOUT_EFFECT:
        given.take(option)
    if "encrypt_key" in given and given.get("type") != "cookie":
        raise ConfigError(
            f"{given.name('encrypt_key')}: sessions in a store are not encrypted there. Leave it out, and write "
            "session.secret; or write session.type = cookie."
        )
    if not given.take_flag("httponly", default=True):
        raise ConfigError(
            f"{given.name('httponly')}=False: scripts must not read this cookie. Leave it out; a script can get the "
            "user's data from session_info()."
        )
    if not given.take_flag("use_cookies", default=True):
        raise ConfigError(
            f'{given.name("use_cookies")}=False: the session is found by its cookie. Leave it out; environ["beaker.'
            'get_session"]() makes a session without a cookie.'
        )
    if not given.take_flag("save_accessed_time", default=True) and "timeout" in given:
        raise ConfigError(
            f"{given.name('save_accessed_time')}=False: a timeout needs the times of access. Leave out one of the two."
        )
    serializer = given.take("data_serializer", "json")
    if serializer not in ("json", "pickle"):
        raise ConfigError(
            f"{given.name('data_serializer')}={serializer!r}: leave it out. Values keep their types; convert other "
            "objects yourself before you store them."
        )


def _times(given: Given) -> dict[str, Any]:
    timeout = given.take("timeout", _FOREVER)
    expires = given.take("cookie_expires", default=True)
    name, written = given.name("cookie_expires"), expires
    flag = as_flag(expires)
    if flag is not None:
        return {"idle_timeout": timeout, "cookie_persistent": not flag, "absolute_timeout": None}
    if isinstance(expires, str) and expires.strip().isdigit():
        expires = int(expires)
    if isinstance(expires, datetime) or not isinstance(expires, (int, float, timedelta)):
        raise ConfigError(
            f"{name}={written!r}: give true (the cookie ends with the browser), false (it stays), or the session's "
            "maximum age in seconds or as a timedelta."
        )
    return {"idle_timeout": timeout, "cookie_persistent": True, "absolute_timeout": expires}
