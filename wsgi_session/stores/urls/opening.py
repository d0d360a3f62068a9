"""From a URL to a store: ``memory://`` and ``sqlite://`` from here, every other scheme from an entry point."""

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
from wsgi_session.stores.urls.options import choice, count, query_options, seconds, switch
from wsgi_session.stores.urls.parts import split_scheme, split_url, without_secrets

#: Where a package that has a store says so: the name is the URL scheme, the object a callable ``(url) -> Store``.
GROUP = "wsgi_session.stores"

# Which extra brings the client library of a module that is ours.
_EXTRAS = {
    "wsgi_session.stores.redis.urls": "redis",
    "wsgi_session.stores.sql.store": "sql",
    "wsgi_session.stores.cookie": "crypto",
}


def open_store(url: str) -> Store:
    """Return a new store for ``url``; whoever calls this closes it.

    Raises ``ConfigError`` for a URL that names no store: an unknown scheme, a client library that is not installed, an
    unknown option. No message shows a password.
    """
    # From here on no traceback with local variables shows the password.
    url = HiddenText(url).strip()
    scheme, _ = split_scheme(url)
    if not scheme:
        shown = without_secrets(url)
        shown += "" if shown == url else "…"
        raise ConfigError(f"store={shown!r} is not a URL, it has no '://': write sqlite:///sessions.db, or memory://")
    built_in = _BUILT_IN.get(scheme)
    if built_in is not None:
        return built_in(url)
    # Backwards: of two with one name, the first on the path.
    published = {entry.name: entry for entry in reversed(tuple(entry_points(group=GROUP)))}
    if scheme not in published:
        known = ", ".join(f"{name}://" for name in sorted({*_BUILT_IN, *published}))
        near = nearest(scheme, {*_BUILT_IN, *published})
        hint = f" (did you mean {near}://?)" if near else ""
        raise ConfigError(
            f"no store is known for {scheme}://{hint}; there are: {known}. For another URL of SQLAlchemy's, give "
            "wsgi_session.stores.sql.SQLStore.from_url(URL) as the store."
        )
    entry = published[scheme]
    try:
        factory = entry.load()
    except ImportError as error:
        extra = _EXTRAS.get(entry.module)
        remedy = f"pip install 'wsgi-session[{extra}]'" if extra else f"install what {entry.value} needs"
        raise ConfigError(f"the store for {scheme}:// cannot be loaded ({error}): {remedy}") from error
    store = factory(url)
    if not isinstance(store, Store):
        raise ConfigError(f"{entry.value}, published for {scheme}://, returned a {type(store).__name__}: not a Store.")
    return store


def _memory(url: str) -> Store:
    parts = split_url(url)
    if parts.login or parts.hosts or parts.path:
        raise ConfigError(f"{without_secrets(url)}: sessions in memory have no name or path: write memory://")
    return MemoryStore(**query_options(url, {"max_sessions": count, "sweep": switch}))


def _sqlite(url: str) -> Store:
    parts = split_url(url)
    if parts.login or parts.hosts or not parts.path.strip("/"):
        raise ConfigError(
            f"{without_secrets(url)}: write sqlite:///sessions.db for a path from here, sqlite:////var/lib/sessions.db "
            "for one from the root, and ? and # in a path as %3F and %23"
        )
    options = query_options(
        url, {"synchronous": choice("normal", "full"), "timeout": seconds, "pool": count, "sweep": switch}
    )
    named = {"timeout": "busy_timeout", "pool": "pool_size"}
    return SQLiteStore(unquote(parts.path[1:]), **{named.get(name, name): value for name, value in options.items()})


_BUILT_IN: dict[str, Callable[[str], Store]] = {"memory": _memory, "sqlite": _sqlite}
