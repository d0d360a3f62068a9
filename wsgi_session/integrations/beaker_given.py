"""Beaker's options: their names, and the values that an application gave."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from wsgi_session.config.secrets import hide
from wsgi_session.errors import ConfigError

_PREFIXES = ("beaker.session.", "session.")
# Beaker still accepts this one.
_OLD_PREFIX = "session_"
_TRUE = ("true", "yes", "on", "y", "t", "1")
_FALSE = ("false", "no", "off", "n", "f", "0")

SECRETS = ("secret", "encrypt_key", "validate_key")
#: Beaker's options that say where the sessions are kept.
STORE_OPTIONS = (
    *("type", "url", "urls", "data_dir", "table_name", "schema_name", "sa.url", "sa_opts", "bind", "table"),
    "optimistic",
)
# These make no difference: there are no locks, no pickles and no choice of a cipher. ("enabled" is TurboGears's.)
WITHOUT_EFFECT = ("lock_dir", "log_file", "crypto_type", "encrypt_nonce_bits", "invalidate_corrupt", "enabled")
REFUSED = {
    "namespace_class": "sessions are kept in a store of this package. Write store with a URL, or a Store of your own",
    "session_class": "the session is of this package's class. Leave it out",
    "id": "only the server chooses an id. Leave it out",
}
_TRANSLATED = (
    *("auto", "cookie_domain", "cookie_expires", "cookie_path", "data_serializer", "httponly", "key", "samesite"),
    *("save_accessed_time", "secure", "timeout", "use_cookies", "webtest_varname"),
)
_KNOWN = {*SECRETS, *STORE_OPTIONS, *WITHOUT_EFFECT, *REFUSED, *_TRANSLATED}
_HIDDEN = (*SECRETS, "store", "url", "urls", "sa.url")


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
        flag = as_flag(value)
        if flag is None:
            raise ConfigError(f"{self.name(option)}={value!r}: give true or false.")
        return flag

    def take_prefixed(self, prefix: str) -> dict[str, Any]:
        """Remove and return the options that start with ``prefix``, under their whole names."""
        return {option: self.take(option) for option in list(self._values) if option.startswith(prefix)}

    def rest(self) -> dict[str, Any]:
        """Return the options that were not taken."""
        return self._values


def as_flag(value: object) -> bool | None:
    """Return the flag; ``None`` if it is not one."""
    if isinstance(value, str):
        word = value.strip().lower()
        return True if word in _TRUE else False if word in _FALSE else None
    return value if isinstance(value, bool) else None


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
