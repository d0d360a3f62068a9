"""Corrupt the record of a session in its store, as a bad disk or a manual edit does."""

from __future__ import annotations

from tests.support.site import Browser
from wsgi_session.codec.packing import join, split
from wsgi_session.cookies import tokens
from wsgi_session.stores import Store


def key_of(browser: Browser) -> bytes:
    """Return the key under which the store keeps the browser's session."""
    return tokens.store_key(browser.token.partition(".")[0].encode())


def damage(browser: Browser, *, data: bytes | None = None, value: bytes | None = None, key: str | bytes = "a") -> bytes:
    """Put ``data``, or a ``value`` under ``key``, into the session's record; return the record's new data."""
    store: Store = browser.site.calls.inner
    now = browser.site.clock()
    record = store.load(key_of(browser), now)
    assert record is not None
    if data is None:
        assert value is not None
        data = join({**split(record.data), key: value})
    store.replace(key_of(browser), record._replace(data=data, version=b"d" * 16), record.version, now)
    return data
