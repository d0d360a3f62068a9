"""Open a store for a URL: ``memory://`` and ``sqlite://`` directly, every other scheme through an entry point."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from urllib.parse import unquote

from wsgi_session.config.naming import nearest
from wsgi_session.config.secrets import HiddenText
from wsgi_session.errors import ConfigError
from wsgi_session.stores.contract import Store
from wsgi_session.stores.memory.store import MemoryStore
from wsgi_session.stores.sqlite.store import SQLiteStore
from wsgi_session.stores.urls.options import (
    choice_parser,
    parse_count,
    parse_query_options,
    parse_seconds,
    parse_switch,
)
from wsgi_session.stores.urls.parts import split_scheme, split_url, without_secrets

#: The entry point group in which packages publish their stores. The name of an entry point is the URL scheme, its
#: object a callable ``(url) -> Store``.
ENTRY_POINT_GROUP = "wsgi_session.stores"

# The extra that installs the client library of a module of this package.
_EXTRAS = {
    "wsgi_session.stores.redis.urls": "redis",
    "wsgi_session.stores.sql.store": "sql",
    "wsgi_session.stores.cookie": "crypto",
}


def open_store(url: str) -> Store:
    """Return a new store for ``url``; the caller must close it.

    Raises ``ConfigError`` for an unknown scheme, a client library that is not installed, and an unknown or invalid
    option. No message shows a password.
    """
    # A traceback that shows local variables shows this text without the password.
    url = HiddenText(url).strip()
    scheme, _ = split_scheme(url)
    if not scheme:
        shown = without_secrets(url)
        shown += "" if shown == url else "…"
        raise ConfigError(f"store={shown!r} is not a URL: it has no '://'. Write sqlite:///sessions.db, or memory://.")
    built_in = _BUILT_IN.get(scheme)
    if built_in is not None:
        return built_in(url)
    # In reverse order, so that if two packages publish the same name, the first one on the path is used.
    published = {entry.name: entry for entry in reversed(tuple(entry_points(group=ENTRY_POINT_GROUP)))}
    if scheme not in published:
        known = ", ".join(f"{name}://" for name in sorted({*_BUILT_IN, *published}))
        near = nearest(scheme, {*_BUILT_IN, *published})
        hint = f" (did you mean {near}://?)" if near else ""
        raise ConfigError(
            f"No store is known for {scheme}://{hint}. The known schemes are: {known}. For another URL of "
            "SQLAlchemy's, give wsgi_session.stores.sql.SQLStore.from_url(URL) as the store."
        )
    entry = published[scheme]
    try:
        factory = entry.load()
    except ImportError as error:
        extra = _EXTRAS.get(entry.module)
        remedy = f"Run pip install 'wsgi-session[{extra}]'." if extra else f"Install what {entry.value} needs."
        raise ConfigError(f"The store for {scheme}:// cannot be imported ({error}). {remedy}") from error
    store = factory(url)
    if not isinstance(store, Store):
        raise ConfigError(f"{entry.value}, published for {scheme}://, returned a {type(store).__name__}, not a Store.")
    return store


def _open_memory(url: str) -> Store:
    parts = split_url(url)
    if parts.login or parts.hosts or parts.path:
        raise ConfigError(f"{without_secrets(url)}: memory:// takes no host and no path. Write memory://.")
    return MemoryStore(**parse_query_options(url, {"max_sessions": parse_count, "sweep": parse_switch}))


def _open_sqlite(url: str) -> Store:
    parts = split_url(url)
    if parts.login or parts.hosts or not parts.path.strip("/"):
        raise ConfigError(
            f"{without_secrets(url)}: write sqlite:///sessions.db for a relative path, sqlite:////var/lib/sessions.db "
            "for an absolute one, and ? and # in a path as %3F and %23."
        )
    options = parse_query_options(
        url,
        {
            "synchronous": choice_parser("normal", "full"),
            "timeout": parse_seconds,
            "pool": parse_count,
            "sweep": parse_switch,
        },
    )
    parameters = {"timeout": "busy_timeout", "pool": "pool_size"}
    arguments = {parameters.get(option, option): value for option, value in options.items()}
    return SQLiteStore(unquote(parts.path[1:]), **arguments)


_BUILT_IN: dict[str, Callable[[str], Store]] = {"memory": _open_memory, "sqlite": _open_sqlite}
