"""``migrating://PHASE?old=URL&new=URL``: a :class:`MigratingStore` for sites that are configured by text."""

from __future__ import annotations

from contextlib import ExitStack
from urllib.parse import unquote

from wsgi_session.errors import ConfigError
from wsgi_session.stores import MigratingStore, Store
from wsgi_session.stores.migrating import PHASES
from wsgi_session.stores.urls import open_store

_FORM = (
    "write migrating://prepare?old=URL&new=URL, later migrating://move?old=URL&new=URL, with each % inside of the two "
    "URLs as %25 and each & as %26"
)


def open_url(url: str) -> Store:
    """Return the store for ``migrating://prepare?old=URL&new=URL`` or ``migrating://move?old=URL&new=URL``.

    Each of the two URLs is percent-decoded once (a ``+`` stays a ``+``). Raises ``ConfigError``: no message shows a
    part of the two URLs that their own stores would not show.
    """
    phase, urls = _parse(url)
    with ExitStack() as opened:
        new = opened.enter_context(open_store(urls["new"]))
        old = opened.enter_context(open_store(urls["old"]))
        store = MigratingStore(new, old, phase)
        opened.pop_all()
    return store


def inner_urls(url: str) -> list[str]:
    """Return the two URLs in ``url``, or none if it is no URL of this scheme: for hiding their passwords."""
    try:
        return list(_parse(url)[1].values())
    except ConfigError:
        return []


def _parse(url: str) -> tuple[str, dict[str, str]]:
    """Return the phase, and the URLs by the names ``old`` and ``new``.

    Not by ``parse_qsl``, which reads the ``+`` of ``redis+cluster://`` as a space. No message repeats a name or a URL:
    an ``&`` in a password that was not encoded makes half of the password look like a name.
    """
    scheme, _, rest = url.partition("://")
    place, _, query = rest.partition("?")
    phase = place.rstrip("/")
    if scheme.lower() != "migrating" or phase not in PHASES:
        raise ConfigError(f"migrating://: the phase is missing or unknown: {_FORM}")
    urls: dict[str, str] = {}
    for part in query.split("&"):
        name, _, text = part.partition("=")
        if name not in ("old", "new") or name in urls or not text:
            raise ConfigError(f"migrating://{phase}: give old and new, each once, and nothing else: {_FORM}")
        urls[name] = unquote(text)
    if len(urls) < 2:
        raise ConfigError(f"migrating://{phase}: give both old and new: {_FORM}")
    if urls["old"] == urls["new"]:
        raise ConfigError(f"migrating://{phase}: old and new are one store: {_FORM}")
    return phase, urls
