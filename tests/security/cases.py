"""The mark ``@case``, and functions that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.damage import plain_store
from tests.support.site import SECRET, Browser, Site
from wsgi_session import Session
from wsgi_session.codec.packing import Packed, split
from wsgi_session.cookies import tokens
from wsgi_session.cookies.tokens import TokenSigner
from wsgi_session.stores import Record
from wsgi_session.stores.cookie import CookieStore

#: ``@case(10)``: this test covers case 10.
case = pytest.mark.case

DAY = 86_400.0
HTTPS = {"wsgi.url_scheme": "https"}
OLD_SECRET = "an older secret: 5b1f0e77a2c94d16b0c4"
#: Functions that return a Cookie header of a given length that is slow to read for a careless parser.
FLOODS: dict[str, Callable[[int], str]] = {
    "backslashes": lambda size: 'sid="' + "\\" * (size - 5),
    "quoted backslashes": lambda size: 'sid="' + '\\"' * ((size - 5) // 2),
    "semicolons": lambda size: ";" * size,
    "pairs": lambda size: "a=a; " * (size // 5),
    "our name": lambda size: "sid=a;" * (size // 6),
    "spaces": lambda size: " " * (size - 4) + "sid=",
}


def look(session: Session) -> tuple[str, dict[str, Any]]:
    return session.state, session.copy()


def opened_by(site: Site, header: str, **environ: Any) -> dict[str, Any]:
    """Return the data of the session for this Cookie header; the request must succeed."""
    answer = site.browser(**environ).do(look, HTTP_COOKIE=header)
    assert answer.code == 200, answer
    state, data = answer.result
    assert data == {} or state == "live", answer.result
    return data  # type: ignore[no-any-return]


def issued_to_nobody(character: bytes = b"n") -> str:
    """Return a cookie with a valid signature that the site never issued."""
    return TokenSigner([SECRET.encode()], "sid").sign(character * 43)


def stored(site: Site, browser: Browser | str) -> Record | None:
    """Return the record or tombstone in the store for the token of a browser or of a cookie's value."""
    if isinstance(site.calls.inner, CookieStore):
        return None
    value = browser if isinstance(browser, str) else browser.token
    return site.calls.inner.load(tokens.store_key(value.partition(".")[0].encode()), site.clock())


def values_of(site: Site, browser: Browser) -> Packed:
    """Return the packed values of the browser's session as its site reads them; an empty dict if there is none."""
    if isinstance(site.calls.inner, CookieStore):
        return {}
    record = plain_store(browser).load(tokens.store_key(browser.token.partition(".")[0].encode()), site.clock())
    return {} if record is None or not record.handle else split(record.data)


def opens_nothing(record: Record | None) -> bool:
    """Return whether a record is missing, or is a tombstone: without an owner, and with only a key as its data."""
    return record is None or (record.handle, len(record.data), record.owner) == ("", 32, None)


def with_cookies_of(site: Site, browser: Browser, **environ: Any) -> Browser:
    """Return a browser of ``site`` with the cookies of another site's browser."""
    other = site.browser(**environ)
    other.jar = dict(browser.jar)
    return other
