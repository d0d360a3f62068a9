"""Whether a page of this site has sent a request, by what the browser itself says of it.

The rules are those of Go's ``net/http.CrossOriginProtection`` (1.25) and of Laravel 13's ``PreventRequestForgery``; the
stricter one where they differ. ``Sec-Fetch-Site`` (W3C Fetch Metadata; all browsers since 2023, over https and on
localhost) decides. Without it, ``Origin`` (RFC 6454) is compared with the host. No page can set either header.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from wsgi_session.errors import ConfigError

# An origin as browsers send it; also of an app's web view, such as capacitor://localhost.
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
# Browsers leave these ports out, but a proxy may add one to the Host header.
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def check_trusted_origins(origins: Iterable[str]) -> frozenset[str]:
    """Return the origins as browsers send them, or raise ``ConfigError``."""
    if isinstance(origins, (str, bytes)) or not hasattr(origins, "__iter__"):
        raise ConfigError(f"trusted_origins={origins!r}: give a sequence, such as ['https://pay.example'].")
    return frozenset(map(_check_trusted_origin, origins))


def _check_trusted_origin(origin: object) -> str:
    found = _normalized(origin.lower()) if isinstance(origin, str) else None
    if found is None:
        raise ConfigError(
            f"trusted_origins: {origin!r} is not an origin. Give a scheme, a host and, if needed, a port, such as "
            "'https://pay.example' or 'http://localhost:3000', without a path, a slash at the end, a user or a '*'. "
            "Write a host with other letters than ASCII as browsers send it ('xn--…')."
        )
    return found


def is_same_origin(environ: Mapping[str, Any], trusted: frozenset[str]) -> bool | None:
    """Return True if a page of this site or of a ``trusted`` origin has sent the request, False if another page has.

    Return ``None`` if the request does not say: it has neither header (an old browser, or another kind of client), or
    the visitor has started it (``Sec-Fetch-Site: none``; Go allows that, Laravel does not).

    A value that no browser sends (two values, capitals) counts as another site's, and so does ``Origin: null`` (a
    sandboxed frame). Another host of the same domain is another site, and so is ``http`` for a request over https.
    """
    site = environ.get("HTTP_SEC_FETCH_SITE")
    if site == "same-origin":
        return True
    origin = environ.get("HTTP_ORIGIN")
    if origin and origin in trusted:
        return True
    if site and site != "none":
        return False
    return _is_own(str(origin), environ) if origin else None


def host_of(environ: Mapping[str, Any]) -> str:
    """Return the host that the request was sent to, in lower case, with the port if there is one."""
    host = environ.get("HTTP_HOST") or f"{environ.get('SERVER_NAME', '')}:{environ.get('SERVER_PORT', '')}"
    return str(host).lower()


def _is_own(origin: str, environ: Mapping[str, Any]) -> bool:
    scheme = origin.partition("://")[0]
    # Behind a proxy, the server may not know that the browser uses https, but it never takes http for https.
    if scheme == "http" and environ.get("wsgi.url_scheme") == "https":
        return False
    found = _normalized(origin)
    return scheme in _DEFAULT_PORTS and found is not None and found == _normalized(f"{scheme}://{host_of(environ)}")


def _normalized(origin: str) -> str | None:
    """Return ``origin`` without the default port of its scheme; ``None`` if it is not an origin."""
    match = _ORIGIN.fullmatch(origin)
    if match is None:
        return None
    scheme, host, port = match.groups(default="")
    return f"{scheme}://{host}" if port == _DEFAULT_PORTS.get(scheme) else f"{scheme}://{host}{port}"
