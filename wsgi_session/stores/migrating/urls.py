"""``migrating://PHASE?old=URL&new=URL``: open a :class:`MigratingStore` for a URL."""

from __future__ import annotations

from contextlib import ExitStack
from urllib.parse import unquote

from wsgi_session.config.secrets import HiddenText
from wsgi_session.errors import ConfigError
from wsgi_session.stores.contract import Store
from wsgi_session.stores.migrating.store import PHASES, MigratingStore
from wsgi_session.stores.urls.opening import open_store

_USAGE = (
    "Write migrating://prepare?old=URL&new=URL, later migrating://move?old=URL&new=URL, with each % inside the two "
    "URLs as %25 and each & as %26."
)


def open_url(url: str) -> Store:
    """Return the store for ``migrating://prepare?old=URL&new=URL`` or ``migrating://move?old=URL&new=URL``.

    Each of the two URLs is percent-decoded once (a ``+`` stays a ``+``). Raises ``ConfigError`` for any other URL. No
    message shows a part of the two URLs that their own stores would not show.
    """
    url = HiddenText(url)  # A traceback that shows local variables shows this text without the passwords.
    phase, pairs = _split(url)
    if phase not in PHASES:
        raise ConfigError(f"migrating://: the phase is missing or unknown. {_USAGE}")
    urls = dict(pairs)
    # The message repeats no name: after an unencoded & in a password, the rest of the password looks like a name.
    if len(pairs) != 2 or urls.keys() != {"old", "new"} or not all(urls.values()):
        raise ConfigError(f"migrating://{phase}: give old and new, each once, and nothing else. {_USAGE}")
    if urls["old"] == urls["new"]:
        raise ConfigError(f"migrating://{phase}: old and new are the same store. {_USAGE}")
    with ExitStack() as opened:
        new = opened.enter_context(open_store(urls["new"]))
        old = opened.enter_context(open_store(urls["old"]))
        store = MigratingStore(new, old, phase)
        opened.pop_all()
    return store


def inner_urls(url: str) -> list[str]:
    """Return the URLs in ``url`` if it has this scheme, because their passwords must not be shown either."""
    return [text for _, text in _split(url)[1]] if url.lower().startswith("migrating://") else []


def _split(url: str) -> tuple[str, list[tuple[str, str]]]:
    """Return the phase, and pairs of names and URLs.

    ``parse_qsl`` is not used, because it reads the ``+`` of ``redis+cluster://`` as a space.
    """
    phase, _, query = url.partition("://")[2].partition("?")
    pairs = [part.partition("=") for part in query.split("&")]
    return HiddenText(phase.rstrip("/")), [(HiddenText(name), HiddenText(unquote(text))) for name, _, text in pairs]
