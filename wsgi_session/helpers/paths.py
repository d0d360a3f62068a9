"""Paths on this site, and nothing that a browser would follow off it.

Every "go back to" address that was trusted became an open redirect: WebOb CVE-2024-42353 and its first fix, Flask-
Security CVE-2021-32618 and CVE-2023-49438, Devise CVE-2026-40295. So nothing is repaired here: what is not plainly a
path is refused. Browsers follow the WHATWG URL standard, where ``\\`` is ``/``, where tabs and newlines vanish, and
where ``/.//host`` has the path ``//host``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

from wsgi_session.helpers.lookup import bytes_of

#: Bytes. Longer ones make headers that servers and proxies refuse.
MAX_PATH = 2000

# What RFC 3986 allows in path, query and fragment; everything else leaves percent-encoded.
_KEPT = "/?#[]@!$&'()*+,;=:-._~%"
_KEPT_IN_PATH = "/@!$&'()*+,;=:-._~"
_KEPT_IN_QUERY = _KEPT.replace("#", "")
# Control characters (C0, DEL, C1); in what was not encoded white space, backslashes and lone surrogates too.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_REFUSED = re.compile(r"[\x00-\x20\x7f-\x9f\\\ud800-\udfff]")
# A path that is still encoded after so many decodings was not made by a form or a framework.
_DECODINGS = 3


def local_path(text: str) -> str | None:
    """Return ``text`` as it can stand in a ``Location`` header if it is a path on this site, else ``None``.

    A path starts with exactly one slash, holds no backslash, white space or control character, and keeps that true
    when dot segments and path parameters are taken out of it and when it is percent-decoded again, as proxies and
    applications that cut a prefix off do. What is not ASCII comes back percent-encoded as UTF-8.
    """
    if len(text) > MAX_PATH or not text.startswith("/") or _REFUSED.search(text):
        return None
    if not _stays_local(re.split(r"[?#]", text, maxsplit=1)[0]):
        return None
    path = quote(text, safe=_KEPT)
    return path if len(path) <= MAX_PATH else None


def _stays_local(path: str) -> bool:
    for _ in range(_DECODINGS):
        if _CONTROL.search(path) or _leads_away(path):
            return False
        decoded = unquote(path)
        if decoded == path:
            return True
        path = decoded
    return False


def _leads_away(path: str) -> bool:
    """Whether ``path``, as it is or resolved, starts with two slashes: a host's name would follow."""
    path = re.sub("%2e", ".", path.replace("\\", "/"), flags=re.IGNORECASE)
    # To a server, "..;a" may be "..", with a parameter. To a browser it is a name, and "/.//..;a" leads to "//..;a".
    return _resolves_away(path) or _resolves_away(re.sub(";[^/]*", "", path))


def _resolves_away(path: str) -> bool:
    segments: list[str] = []
    for name in path.split("/")[1:]:
        if name == "..":
            segments[-1:] = []
        elif name != ".":
            segments.append(name)
    return path.startswith("//") or (len(segments) > 1 and not segments[0])


def script_path(environ: Mapping[str, Any]) -> bytes:
    """Return where the application is mounted: ``b""``, or with one slash in front and none behind.

    Dispatchers that take the mount point from the path (a tenant's name) let the client write ``//evil`` here.
    """
    script = bytes_of(environ, "SCRIPT_NAME").strip(b"/\\")
    return b"/" + script if script else b""


def requested_path(environ: Mapping[str, Any]) -> bytes:
    """Return the decoded path that was asked for, mount point included."""
    return script_path(environ) + bytes_of(environ, "PATH_INFO")


def requested_target(environ: Mapping[str, Any]) -> str | None:
    """Return path and query of this request as one :func:`local_path`; never from Host or Referer."""
    path = quote(b"/" + requested_path(environ).lstrip(b"/\\"), safe=_KEPT_IN_PATH)
    query = quote(bytes_of(environ, "QUERY_STRING"), safe=_KEPT_IN_QUERY)
    return local_path(f"{path}?{query}" if query else path)


def on_mount(environ: Mapping[str, Any], path: str) -> str:
    """Return ``path`` with the mount point in front, unless it is there already, or is no path on this site."""
    script = quote(script_path(environ), safe=_KEPT_IN_PATH)
    if local_path(script) is None or re.match(re.escape(script) + r"(?:[/?#]|\Z)", path):
        return path
    return script + path
