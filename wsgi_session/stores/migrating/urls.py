"""``migrating://PHASE?old=URL&new=URL``: a :class:`MigratingStore` for sites that are configured by text."""

from __future__ import annotations

from contextlib import ExitStack
from urllib.parse import unquote

from wsgi_session.config.secrets import HiddenText
from wsgi_session.errors import ConfigError
from wsgi_session.stores.contract import Store
from wsgi_session.stores.migrating.store import PHASES, MigratingStore
from wsgi_session.stores.urls.opening import open_store

_FORM = (
    "write migrating://prepare?old=URL&new=URL, later migrating://move?old=URL&new=URL, with each % inside of the two "
    "URLs as %25 and each & as %26"
)


def open_url(url: str) -> Store:
    """Return the store for ``migrating://prepare?old=URL&new=URL`` or ``migrating://move?old=URL&new=URL``.

    Each of the two URLs is percent-decoded once (a ``+`` stays a ``+``). Raises ``ConfigError`` for anything else; no
    message shows a part of the two URLs that their own stores would not show.
    """
    url = HiddenText(url)  # From here on no traceback with local variables shows a password.
    phase, pairs = _split(url)
    if phase not in PHASES:
        raise ConfigError(f"migrating://: the phase is missing or unknown: {_FORM}")
    urls = dict(pairs)
    # No message repeats a name: an & in a password that was not encoded makes the rest of the password look like one.
    if len(pairs) != 2 or urls.keys() != {"old", "new"} or not all(urls.values()):
        raise ConfigError(f"migrating://{phase}: give old and new, each once, and nothing else: {_FORM}")
    if urls["old"] == urls["new"]:
        raise ConfigError(f"migrating://{phase}: old and new are one store: {_FORM}")
    with ExitStack() as opened:
        new = opened.enter_context(open_store(urls["new"]))
        old = opened.enter_context(open_store(urls["old"]))
        store = MigratingStore(new, old, phase)
        opened.pop_all()
    return store


def inner_urls(url: str) -> list[str]:
    """Return the URLs in ``url`` if it has this scheme: their passwords must not be shown either."""
    return [text for _, text in _split(url)[1]] if url.lower().startswith("migrating://") else []


def _split(url: str) -> tuple[str, list[tuple[str, str]]]:
    """Return the phase, and names and URLs.

    Not by ``parse_qsl``, which reads the ``+`` of ``redis+cluster://`` as a space.
    """
    place, _, query = url.partition("://")[2].partition("?")
    pairs = [part.partition("=") for part in query.split("&")]
    return HiddenText(place.rstrip("/")), [(HiddenText(name), HiddenText(unquote(text))) for name, _, text in pairs]
