"""Adopt all sessions of another library's store in advance, so that the old store can be switched off.

At the visitor's first visit, the site reads the old session once more if the old store still answers: what was written
or ended there in the meantime counts.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator

from wsgi_session.backends.base import Credential
from wsgi_session.backends.settings import Settings
from wsgi_session.config.options import MAX_SECONDS, wall_clock
from wsgi_session.config.secrets import HiddenText
from wsgi_session.config.text import parse_options
from wsgi_session.errors import ConfigError
from wsgi_session.events import Events
from wsgi_session.lifetime import Lifetime
from wsgi_session.moving.adopt import Adopt, make_adopt
from wsgi_session.moving.adopter import Adopter, guard
from wsgi_session.moving.reader import NotAdopted
from wsgi_session.moving.records import Prepared, prepare
from wsgi_session.stores.contract import Store

#: What became of a session: it would be or was adopted, it was adopted before, or the reason why it was not.
ADOPTED, BEFORE, KEYS_DROPPED = "adopted", "adopted before", "with dropped keys"


def load_adopt(path: str) -> Adopt:
    """Return the object ``module:name``, which the site gives to the option ``adopt``. Raises ``ConfigError``."""
    module, colon, name = path.partition(":")
    if not colon or not module or not name:
        raise ConfigError(f"--from {path}: give module:name of what your site gives to adopt=, such as shop.app:ADOPT.")
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(f"--from {path}: the module cannot be imported: {error}. Give module:name.") from error
    if not hasattr(found, name):
        raise ConfigError(f"--from {path}: {module} has no {name}. Give module:name of what your site gives to adopt=.")
    return make_adopt(getattr(found, name))


def settings_of(namespace: str, idle_timeout: str, absolute_timeout: str) -> Settings:
    """Return the settings that adopted sessions depend on, from durations as text, such as ``30d`` or ``none``."""
    given = {"idle_timeout": idle_timeout, "absolute_timeout": absolute_timeout}
    options = parse_options({"secret": "", "store": "", **given}, "")
    return Settings(
        environ_key="session",
        cookie_name=namespace,
        namespace=namespace,
        cookie_path="/",
        samesite="Lax",
        persistent=True,
        lifetime=Lifetime(options["idle_timeout"], options["absolute_timeout"], MAX_SECONDS),
        max_size=1_048_576,
        anonymous_in_outage=False,
        validate=None,
        validate_every=None,
        outage_page=None,
        events=Events(None),
        clock=wall_clock,
    )


def adopt_all(
    adopt: Adopt, store: Store, settings: Settings, derive: Callable[[bytes], Credential], *, dry_run: bool
) -> Iterator[tuple[str, ...]]:
    """Adopt each session of each reader; yield what became of it, one or two of the words above, or a reason.

    ``derive``: the method ``derived_credential`` of the site's backend. ``dry_run``: write nothing. Raises
    ``StoreUnavailable`` if a store does not answer, and ``Unsupported`` if a reader cannot list its sessions. It is
    safe to interrupt, and to run again.
    """
    adopter = Adopter(store, settings, adopt, derive)
    for reader in adopt.readers:
        for listed in reader.session_ids():
            session_id = HiddenText(listed)
            now = time.time()
            if adopter.find_marker(reader, session_id, now) is not None:
                yield (BEFORE,)
                continue
            try:
                foreign = adopter.read(reader, session_id, now)
                prepared: Prepared = guard(prepare, foreign, adopt, settings, now)
                if not dry_run:
                    adopter.claim(reader, session_id, foreign, None, now, advance=True)
            except NotAdopted as refusal:
                yield (refusal.reason,)
                continue
            yield (ADOPTED, KEYS_DROPPED) if prepared.dropped else (ADOPTED,)
