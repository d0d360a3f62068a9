"""Whether a request opens a page in the browser, or a script (fetch, htmx) or an element of a page has sent it.

A redirect to the login page is for navigations only. A script follows it without noticing, and takes the login page for
the answer that it wanted. No security depends on this: a client that sends false headers gets the other refusal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_HTML = frozenset({"text/html", "application/xhtml+xml", "text/*"})
# The number of media types that are read, and of parts of each. Browsers send fewer than ten, with one parameter.
_MAX_TYPES, _MAX_PARTS = 50, 5
# A page's URL, as htmx sends it: host, path with query, and fragment.
_PAGE_URL = re.compile(r"https?://([^/?#]+)([^#]*)(?:#.*)?", re.IGNORECASE | re.DOTALL)


def is_navigation(environ: Mapping[str, Any]) -> bool:
    """Return False if the request says that it is not a navigation; a request that says nothing may be one.

    It says so by one of: a ``Sec-Fetch-Mode`` other than ``navigate`` (W3C Fetch Metadata); ``HX-Request`` (htmx);
    ``X-Requested-With: XMLHttpRequest``; an ``Accept`` without HTML. (Android's WebView sends the name of its app as
    ``X-Requested-With`` with every navigation.)
    """
    if environ.get("HTTP_SEC_FETCH_MODE", "navigate") not in ("navigate", ""):
        return False
    if is_htmx(environ) or str(environ.get("HTTP_X_REQUESTED_WITH", "")).lower() == "xmlhttprequest":
        return False
    accept = environ.get("HTTP_ACCEPT")
    return not accept or _accepts_html(str(accept))


def is_htmx(environ: Mapping[str, Any]) -> bool:
    """Return whether htmx has sent the request: it obeys ``HX-Redirect`` in the response, whatever the status is."""
    return bool(environ.get("HTTP_HX_REQUEST"))


def htmx_page(environ: Mapping[str, Any]) -> str | None:
    """Return path and query of the page that htmx runs in, unchecked; ``None`` if it is not a page of this host."""
    match = _PAGE_URL.fullmatch(str(environ.get("HTTP_HX_CURRENT_URL", "")))
    if match is None or match[1].lower() != str(environ.get("HTTP_HOST", "")).lower():
        return None
    return match[2]


def _accepts_html(accept: str) -> bool:
    """Return whether an ``Accept`` header allows HTML.

    ``*/*`` does, because curl and old browsers send it; but not beside JSON, which no browser lists for a navigation.
    (axios sends ``application/json, text/plain, */*``.)
    """
    anything = json = False
    for item in accept.lower().split(",", _MAX_TYPES)[:_MAX_TYPES]:
        name, *parameters = (part.strip() for part in item.split(";", _MAX_PARTS)[:_MAX_PARTS])
        if any(re.fullmatch(r"q\s*=\s*0(\.0*)?", parameter) for parameter in parameters):
            continue
        if name in _HTML:
            return True
        anything |= name == "*/*"
        json |= name.endswith(("/json", "+json"))
    return anything and not json
