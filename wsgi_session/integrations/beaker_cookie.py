"""The cookie's domain and path, which an application may set for one session, as with Beaker.

They are stored with the session, so that its later cookies have them too, and so that a logout removes the right one.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from wsgi_session.codec.packing import pack
from wsgi_session.cookies.caching import Headers
from wsgi_session.request.data import Data
from wsgi_session.request.work import Work

_DOMAIN, _PATH = b"beaker.domain", b"beaker.path"


class Place(NamedTuple):
    """The domain and the path to which a browser sends the cookie."""

    domain: str | None = None
    path: str = "/"


def stored_place(work: Work, data: Data, configured: Place) -> Place:
    """Return the place that is stored with the session, or the configured one."""
    if _DOMAIN not in data:
        return configured
    return Place(work.peek(_DOMAIN, configured.domain), work.peek(_PATH, configured.path))


def store_place(data: Data, place: Place) -> None:
    """Store ``place`` with the session."""
    data.put(_DOMAIN, place.domain, pack(place.domain, "domain"))
    data.put(_PATH, place.path, pack(place.path, "path"))


def name_pattern(cookie_name: str) -> re.Pattern[str]:
    """Return the pattern of the Set-Cookie values of this name, also over https and of a split value."""
    return re.compile(rf"(?:__Secure-)?{re.escape(cookie_name)}(?:\.\d+)?=")


def with_place(headers: Headers, names: re.Pattern[str], place: Place) -> Headers:
    """Return the headers with ``place`` in each Set-Cookie whose name matches ``names``."""
    return [
        (name, _moved(value, place) if name == "Set-Cookie" and names.match(value) else value)
        for name, value in headers
    ]


def _moved(cookie: str, place: Place) -> str:
    first, *attributes = cookie.split("; ")
    kept = [attribute for attribute in attributes if not attribute.startswith(("Domain=", "Path="))]
    domain = [] if place.domain is None else [f"Domain={place.domain}"]
    return "; ".join([first, *domain, f"Path={place.path}", *kept])
