"""The cookie's domain and path, which an application may set for one session, as with Beaker.

They are stored with the session, so that its later cookies have them too, and so that a logout removes the right one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from wsgi_session.codec.packing import pack
from wsgi_session.cookies.caching import Headers
from wsgi_session.cookies.cookie import check_cookie_options
from wsgi_session.errors import ConfigError
from wsgi_session.request.data import Data
from wsgi_session.request.states import SET

if TYPE_CHECKING:
    from wsgi_session.integrations.beaker_work import BeakerWork

_DOMAIN, _PATH = b"beaker.domain", b"beaker.path"


class Place(NamedTuple):
    """Where a browser sends the cookie."""

    domain: str | None = None
    path: str = "/"


def stored_place(work: BeakerWork, data: Data) -> Place:
    """Return the place that is stored with the session, or the configured one."""
    configured = work.beaker.place
    if _DOMAIN not in data:
        return configured
    return Place(work.peek(_DOMAIN, configured.domain), work.peek(_PATH, configured.path))


def set_place(work: BeakerWork, place: Place) -> None:
    """Store ``place`` with the session, and let the commit send the cookie there.

    Raises ``ConfigError`` for an invalid place, and over https if the configuration has neither a domain nor a path:
    browsers bind such a cookie to its host.
    """
    work.open()
    if place == work.place:
        return
    check_cookie_options("name", place.path, place.domain, False, "Lax", False)
    secure = work.beaker.secure
    if work.beaker.place == Place() and (secure is True or (secure == "auto" and work.scheme == "https")):
        raise ConfigError(
            f"The cookie cannot be set for {place.domain or place.path!r}: over https, its name starts with __Host-, "
            "which binds it to one host and the path '/'. Set session.cookie_domain in the configuration: then each "
            "request can set another one."
        )
    data = work.writable(needs_cookie=True)
    data.put(_DOMAIN, place.domain, pack(place.domain, "domain"))
    data.put(_PATH, place.path, pack(place.path, "path"))
    work.place = place
    if work.record is not None:
        # The commit then checks that no other request has ended the session.
        work.cookie, work.cookie_unconfirmed = SET, True


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
