"""Corrupt the record of a session in its store, as a bad disk or a manual edit does."""

from __future__ import annotations

import os

from tests.support.site import Browser
from wsgi_session.codec.packing import split
from wsgi_session.cookies import tokens
from wsgi_session.middleware import internals_of
from wsgi_session.stores import Store
from wsgi_session.stores.sealed import SealedStore


def key_of(browser: Browser) -> bytes:
    """Return the key under which the store keeps the browser's session."""
    return tokens.store_key(browser.token.partition(".")[0].encode())


def damage(browser: Browser, *, data: bytes | None = None, value: bytes | None = None, key: str | bytes = "a") -> bytes:
    """Put ``data``, or a ``value`` under ``key``, into the session's record; return the record's new data.

    On a site that encrypts, ``data`` is what the store has, and ``value`` what was encrypted.
    """
    store = browser.site.calls.inner if data is not None else plain_store(browser)
    now = browser.site.clock()
    record = store.load(key_of(browser), now)
    assert record is not None
    if data is None:
        assert value is not None
        data = internals_of(browser.site.middleware).backend.settings.join({**split(record.data), key: value})
    store.replace(key_of(browser), record._replace(data=data, version=os.urandom(16)), record.version, now)
    left = browser.site.calls.inner.load(key_of(browser), now)
    assert left is not None
    return left.data


def plain_store(browser: Browser) -> Store:
    """Return the store of the browser's site, as one that encrypts if the site does, without a count of its calls."""
    store, inner = internals_of(browser.site.middleware).backend.store, browser.site.calls.inner
    return SealedStore(inner, store._sealing) if isinstance(store, SealedStore) else inner
