"""Read the sessions of a site that encrypts them: with its secret, which must be in WSGI_SESSION_SECRET."""

from __future__ import annotations

import os
import time
from functools import cached_property
from itertools import islice
from typing import Any

import click

from wsgi_session.backends.revocation import every_session
from wsgi_session.codec.sealed import SealedData, looks_sealed
from wsgi_session.config.options import check_secrets
from wsgi_session.config.text import PARSERS
from wsgi_session.errors import ConfigError
from wsgi_session.stores.contract import Record, Scans, Store
from wsgi_session.stores.sealed import make_sealing, sealed

#: As in ``SessionMiddleware.from_environ``. Not an argument: every user of the machine can see a command line.
VARIABLE = "WSGI_SESSION_SECRET"
#: Takes the place of an owner that cannot be read.
HIDDEN_OWNER = "(encrypted)"
#: The number of sessions to look at before concluding that the site does not encrypt them.
FIRST = 100


class Unsealer:
    """Opens encrypted records if the secret is known, and counts those that stay closed."""

    def __init__(self) -> None:
        self._closed = 0

    def open(self, key: bytes, record: Record) -> Record:
        """Return the record with data that can be split, if it is encrypted and the secret is known."""
        if not looks_sealed(record.data):
            return record
        if self._sealing is None:
            self._closed += 1
            return record
        place = key, record.handle, record.owner, record.namespace
        return record._replace(data=self._sealing.stored(record.data, *place))

    def report(self) -> None:
        """Print on stderr how many sessions could not be read."""
        if self._closed:
            click.echo(
                f"encrypted sessions: {self._closed}. Their owners are not shown, and their data is not checked. Set "
                f"{VARIABLE} to the site's secret to read them.",
                err=True,
            )

    @cached_property
    def _sealing(self) -> Any:
        return make_sealing("accept-plain", site_secrets()) if os.environ.get(VARIABLE) else None


def is_closed(record: Record) -> bool:
    """Return whether the record is encrypted, and the secret is not known."""
    return looks_sealed(record.data) and not isinstance(record.data, SealedData)


def with_encryption(store: Store) -> Store:
    """Return ``store`` as one that encrypts, for a site with ``encrypt=True``. Raises ``ConfigError``."""
    if not os.environ.get(VARIABLE):
        raise ConfigError(f"--encrypt needs the site's secret. Set {VARIABLE}; several are separated by spaces.")
    return sealed(store, make_sealing(True, site_secrets()))


def warn_if_encrypted(store: Store, namespace: str) -> None:
    """Say on stderr that the site encrypts its sessions, if one of the first in the store is encrypted."""
    if isinstance(store, Scans):
        first = islice(every_session(store, namespace, time.time()), FIRST)
        if any(looks_sealed(record.data) for _, record in first):
            click.echo(
                "The store has encrypted sessions. A site with encrypt=True cannot read what is adopted without "
                "--encrypt.",
                err=True,
            )


def site_secrets() -> list[bytes]:
    """Return the secrets of the site, newest first, or raise ``ConfigError``."""
    return check_secrets(PARSERS["secret"](VARIABLE, os.environ[VARIABLE]))
