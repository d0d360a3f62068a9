"""The cache headers (Vary, Cache-Control) of responses that use the session.

The functions change the list that they are given: pass a copy of the application's headers.
"""

from __future__ import annotations

import re

Headers = list[tuple[str, str]]

# One directive with its argument; a quoted argument may contain commas.
_DIRECTIVE = re.compile(r'\s*([^\s=,]+)\s*(?:=\s*(?:"(?:[^"\\]|\\.)*"?|[^\s,]*))?[^,]*')
# Directives that do not fit a private response.
_SHARED_DIRECTIVES = frozenset({"public", "s-maxage", "immutable"})
# Directives that allow shared caches to store a response.
_PUBLIC_DIRECTIVES = frozenset({"public", "s-maxage"})
# Directives that tell a CDN not to store the response.
_FORBIDS_STORING = frozenset({"no-store", "private"})
# The last seven letters of every header that controls caching, and the last letter of these, which is quick to compare.
_ENDINGS = frozenset({"control", "expires"})
_LAST_LETTERS = frozenset("lsLS")
_CDN_HEADERS = frozenset({"surrogate-control", "edge-control", "x-accel-expires"})


def add_vary(headers: Headers, vary: str) -> None:
    """Add the names in ``vary`` to Vary, unless Vary has them or is ``*`` (CVE-2023-30861)."""
    for name, _ in headers:
        if len(name) == 4 and name.lower() == "vary":
            break
    else:
        headers.append(("Vary", vary))
        return
    place = -1
    present: set[str] = set()
    for index, (name, value) in enumerate(headers):
        if name.lower() == "vary":
            present.update(field.strip().lower() for field in value.split(","))
            place = index
    missing = ", ".join(name for name in vary.split(", ") if name.lower() not in present)
    if missing and "*" not in present:
        name, value = headers[place]
        headers[place] = (name, f"{value}, {missing}" if value.strip() else missing)


def is_public(headers: Headers) -> bool:
    """Return whether the application allows shared caches to store this response."""
    for name, value in headers:
        lower = name.lower()
        if lower == "cache-control":
            if not _PUBLIC_DIRECTIVES.isdisjoint(_directive_names(value)):
                return True
        elif _allows_cdn_caching(lower, value):
            return True
    return False


def make_private(headers: Headers, *, no_store: bool = False) -> list[str]:
    """Forbid shared caches to store a response that sets our cookie; return the removed directives and headers.

    ``no_store``: forbid it to the browser's cache too.
    """
    dropped: list[str] = []
    kept: list[str] = []
    for name, _ in headers:
        if name and name[-1] in _LAST_LETTERS and name[-7:].lower() in _ENDINGS:
            break
    else:
        headers.append(("Cache-Control", "private, no-store" if no_store else "private"))
        return dropped
    for index in range(len(headers) - 1, -1, -1):
        name, value = headers[index]
        lower = name.lower()
        if _allows_cdn_caching(lower, value):
            dropped.append(name)
            del headers[index]
        elif lower == "cache-control":
            directives = [match.group().strip() for match in _DIRECTIVE.finditer(value)]
            dropped += [text for text in directives if _directive_name(text) in _SHARED_DIRECTIVES]
            kept[:0] = [text for text in directives if _directive_name(text) not in _SHARED_DIRECTIVES]
            del headers[index]
    # `private="Some-Header"` is not enough, because it covers that header only.
    if "private" not in (text.lower() for text in kept):
        kept.append("private")
    if no_store and "no-store" not in (text.lower() for text in kept):
        kept.append("no-store")
    headers.append(("Cache-Control", ", ".join(kept)))
    return dropped


def _directive_names(value: str) -> list[str]:
    return [match.group(1).lower() for match in _DIRECTIVE.finditer(value)]


def _directive_name(directive: str) -> str:
    return directive.partition("=")[0].strip().lower()


def _allows_cdn_caching(name: str, value: str) -> bool:
    # RFC 9213: a targeted header starts with the name of the cache (CDN-, Akamai-, Vercel-CDN-, X-LiteSpeed- ...).
    is_cdn_header = name.endswith("-cache-control") or name in _CDN_HEADERS
    return is_cdn_header and value.strip() != "0" and _FORBIDS_STORING.isdisjoint(_directive_names(value))
