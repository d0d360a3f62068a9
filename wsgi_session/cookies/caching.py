"""What a response with a session in it must say to caches. Works on lists of its own, never on the application's."""

from __future__ import annotations

import re

Headers = list[tuple[str, str]]

# A directive, with an argument that may be quoted and then may hold commas.
_DIRECTIVE = re.compile(r'\s*([^\s=,]+)\s*(?:=\s*(?:"(?:[^"\\]|\\.)*"?|[^\s,]*))?[^,]*')
_SHARED = frozenset({"public", "s-maxage", "immutable"})
_MARKS_PUBLIC = frozenset({"public", "s-maxage"})
# What a CDN is told when it is to keep nothing.
_KEEPS_OUT = frozenset({"no-store", "private"})
# What any of the headers that matter to a cache ends with.
_ENDINGS = frozenset({"control", "expires"})
_CDN_HEADERS = frozenset({"surrogate-control", "edge-control", "x-accel-expires"})


def add_vary_cookie(headers: Headers) -> None:
    """Add ``Cookie`` to Vary, unless it is there or ``*`` is (CVE-2023-30861: it was missing on a refresh)."""
    for name, _ in headers:
        if len(name) == 4 and name.lower() == "vary":
            break
    else:
        headers.append(("Vary", "Cookie"))
        return
    place = -1
    for index, (name, value) in enumerate(headers):
        if name.lower() == "vary":
            fields = [field.strip().lower() for field in value.split(",")]
            if "cookie" in fields or "*" in fields:
                return
            place = index
    name, value = headers[place]
    headers[place] = (name, f"{value}, Cookie" if value.strip() else "Cookie")


def is_public(headers: Headers) -> bool:
    """Whether the application lets shared caches keep this response."""
    for name, value in headers:
        lower = name.lower()
        if lower == "cache-control":
            if not _MARKS_PUBLIC.isdisjoint(_names(value)):
                return True
        elif _lets_cdn_in(lower, value):
            return True
    return False


def make_private(headers: Headers) -> list[str]:
    """Keep shared caches out of a response with our Set-Cookie; return what had to be dropped for it."""
    dropped: list[str] = []
    kept: list[str] = []
    for name, _ in headers:
        if name[-7:].lower() in _ENDINGS:
            break
    else:
        headers.append(("Cache-Control", "private"))
        return dropped
    for index in range(len(headers) - 1, -1, -1):
        name, value = headers[index]
        lower = name.lower()
        if _lets_cdn_in(lower, value):
            dropped.append(name)
            del headers[index]
        elif lower == "cache-control":
            directives = [match.group().strip() for match in _DIRECTIVE.finditer(value)]
            dropped += [text for text in directives if _name(text) in _SHARED]
            kept[:0] = [text for text in directives if _name(text) not in _SHARED]
            del headers[index]
    # `private="Some-Header"` is not `private`: it speaks of that header only.
    if "private" not in (text.lower() for text in kept):
        kept.append("private")
    headers.append(("Cache-Control", ", ".join(kept)))
    return dropped


def _names(value: str) -> list[str]:
    return [match.group(1).lower() for match in _DIRECTIVE.finditer(value)]


def _name(directive: str) -> str:
    return directive.partition("=")[0].strip().lower()


def _lets_cdn_in(lower: str, value: str) -> bool:
    # RFC 9213: each cache has a name to put in front (CDN-, Akamai-, Vercel-CDN-, X-LiteSpeed- ...).
    speaks_to_cdn = lower.endswith("-cache-control") or lower in _CDN_HEADERS
    return speaks_to_cdn and value.strip() != "0" and _KEEPS_OUT.isdisjoint(_names(value))
