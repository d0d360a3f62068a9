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

import warnings
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from wsgi_session.config.secrets import hide
from wsgi_session.config.text import parse_options
from wsgi_session.errors import ConfigError
from wsgi_session.integrations.beaker_secret import SECRETS, secret_option
from wsgi_session.integrations.beaker_stores import STORE_OPTIONS, store_of

_PREFIXES = ("beaker.session.", "session.")
# Beaker still accepts this one.
_OLD_PREFIX = "session_"
_FOREVER = timedelta(days=400)
_TRUE = ("true", "yes", "on", "y", "t", "1")
_FALSE = ("false", "no", "off", "n", "f", "0")

_HIDDEN = (*SECRETS, "store", "url", "urls", "sa.url")
# These make no difference: there are no locks, no pickles and no choice of a cipher. ("enabled" is TurboGears's.)
_WITHOUT_EFFECT = ("lock_dir", "log_file", "crypto_type", "encrypt_nonce_bits", "invalidate_corrupt", "enabled")
_REFUSED = {
    "namespace_class": "sessions are kept in a store of this package. Write store with a URL, or a Store of your own",
    "session_class": "the session is of this package's class. Leave it out",
    "id": "only the server chooses an id. Leave it out",
}
_TRANSLATED = (
    *("auto", "cookie_domain", "cookie_expires", "cookie_path", "data_serializer", "httponly", "key", "samesite"),
    *("save_accessed_time", "secure", "timeout", "use_cookies", "webtest_varname"),
)
_KNOWN = {*SECRETS, *STORE_OPTIONS, *_WITHOUT_EFFECT, *_REFUSED, *_TRANSLATED}


class Translated(NamedTuple):
    """The options of a middleware, and what only Beaker's sessions have."""

    options: dict[str, Any]
    #: Whether each request saves its changes, without a call of ``save()``.
    autosave: bool
    #: The name under which WebTest finds the session, or ``None``.
    test_variable: str | None
    #: Whether the store was made for this middleware, which has to close it.
    owns_store: bool


class Given:
    """The options as they were given, each with the name that was written, and secrets hidden from tracebacks."""

    def __init__(self, config: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        names = {name: option for name in config if (option := _option_of(name)) is not None}
        written = {name: config[name] for name in names}
        names.update((name, _option_of(name) or name) for name in arguments)
        written.update(arguments)
        self._names = {option: name for name, option in names.items()}
        self._values = {
            option: _hidden(option, written[name]) for option, name in self._names.items() if written[name] is not None
        }

    def __contains__(self, option: str) -> bool:
        return option in self._values

    def name(self, option: str) -> str:
        """Return the option's name as it was written, for messages."""
        return self._names.get(option, f"session.{option}")

    def get(self, option: str) -> Any:
        """Return a value; ``None`` if it was not given."""
        return self._values.get(option)

    def take(self, option: str, default: Any = None) -> Any:
        """Remove and return a value; ``default`` if it was not given."""
        return self._values.pop(option, default)

    def take_flag(self, option: str, default: bool) -> bool:
        """Remove and return a flag. Raises ``ConfigError`` if it is not one."""
        value = self.take(option, default)
        flag = _as_flag(value)
        if flag is None:
            raise ConfigError(f"{self.name(option)}={value!r}: give true or false.")
        return flag

    def take_prefixed(self, prefix: str) -> dict[str, Any]:
        """Remove and return the options that start with ``prefix``, under their whole names."""
        return {option: self.take(option) for option in list(self._values) if option.startswith(prefix)}

    def rest(self) -> dict[str, Any]:
        """Return the options that were not taken."""
        return self._values


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


def _option_of(name: str) -> str | None:
    """Return the option that ``name`` names; ``None`` if it is not one of the sessions' options."""
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            return name[len(prefix) :]
    option = name.removeprefix(_OLD_PREFIX)
    if option != name and option in _KNOWN:
        warnings.warn(f"Write session.{option} in place of {name}.", DeprecationWarning, stacklevel=2)
        return option
    return None


def _hidden(option: str, value: Any) -> Any:
    if option == "sa_opts":
        return {name: _hidden(name, one) for name, one in value.items()}
    return hide(value) if option in _HIDDEN else value


def _as_flag(value: object) -> bool | None:
    if isinstance(value, str):
        word = value.strip().lower()
        return True if word in _TRUE else False if word in _FALSE else None
    return value if isinstance(value, bool) else None


def _check_unsupported(given: Given) -> None:
    for option, reason in _REFUSED.items():
        if option in given:
            raise ConfigError(f"{given.name(option)}: {reason}.")
    for option in _WITHOUT_EFFECT:
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
    flag = _as_flag(expires)
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
