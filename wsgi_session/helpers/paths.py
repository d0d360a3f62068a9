"""Checks of redirect targets: only paths on this site are accepted, and nothing that a browser takes for another site.

Return addresses that were not checked strictly have become open redirects: WebOb CVE-2024-42353 and its first fix,
Flask-Security CVE-2021-32618 and CVE-2023-49438, Devise CVE-2026-40295. So this module repairs nothing, and refuses
everything that is not plainly a path. Browsers follow the WHATWG URL standard: they read ``\\`` as ``/``, remove tabs
and newlines, and resolve ``/.//host`` to the path ``//host``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

from wsgi_session.helpers.lookup import bytes_of

#: The maximum length of a path in bytes. Servers and proxies refuse long headers.
MAX_PATH = 2000

# Characters that RFC 3986 allows in path, query and fragment; all others are percent-encoded in the result.
_UNQUOTED = "/?#[]@!$&'()*+,;=:-._~%"
_UNQUOTED_IN_PATH = "/@!$&'()*+,;=:-._~"
_UNQUOTED_IN_QUERY = _UNQUOTED.replace("#", "")
# Refused after each decoding: control characters (C0, DEL, C1).
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Refused in the text as given: also white space, backslashes and lone surrogates.
_REFUSED = re.compile(r"[\x00-\x20\x7f-\x9f\\\ud800-\udfff]")
# A path that is still encoded after this number of decodings is refused: no form and no framework makes such a path.
_MAX_DECODINGS = 3


def local_path_or_none(text: str) -> str | None:
    """Return ``text``, encoded for a ``Location`` header, if it is a path on this site; else ``None``.

    A valid path starts with exactly one slash, and contains no backslash, white space or control character. This must
    still hold after dot segments and path parameters are removed, and after the path is percent-decoded again, because
    proxies and applications that remove a prefix do both. Non-ASCII characters are percent-encoded as UTF-8.
    """
    if len(text) > MAX_PATH or not text.startswith("/") or _REFUSED.search(text):
        return None
    if not _stays_local(re.split(r"[?#]", text, maxsplit=1)[0]):
        return None
    path = quote(text, safe=_UNQUOTED)
    return path if len(path) <= MAX_PATH else None


def _stays_local(path: str) -> bool:
    for _ in range(_MAX_DECODINGS):
        if _CONTROL.search(path) or _leaves_site(path):
            return False
        decoded = unquote(path)
        if decoded == path:
            return True
        path = decoded
    return False


def _leaves_site(path: str) -> bool:
    """Return whether a browser or a server may read ``path`` as a host's name after two slashes."""
    path = re.sub("%2e", ".", path.replace("\\", "/"), flags=re.IGNORECASE)
    # A server may read "..;a" as ".." with a parameter. A browser reads a name, and resolves "/.//..;a" to "//..;a".
    return _starts_with_two_slashes(path) or _starts_with_two_slashes(re.sub(";[^/]*", "", path))


def _starts_with_two_slashes(path: str) -> bool:
    """Return whether ``path`` starts with two slashes, as given or after its dot segments are resolved."""
    segments: list[str] = []
    for name in path.split("/")[1:]:
        if name == "..":
            segments[-1:] = []
        elif name != ".":
            segments.append(name)
    return path.startswith("//") or (len(segments) > 1 and not segments[0])


def script_path(environ: Mapping[str, Any]) -> bytes:
    """Return the application's mount point: ``b""``, or a path with one leading slash and no trailing slash.

    With a dispatcher that takes the mount point from the path (a tenant's name), a client can send ``//evil`` here.
    """
    script = bytes_of(environ, "SCRIPT_NAME").strip(b"/\\")
    return b"/" + script if script else b""


def requested_path(environ: Mapping[str, Any]) -> bytes:
    """Return the decoded path of the request, including the mount point."""
    return script_path(environ) + bytes_of(environ, "PATH_INFO")


def requested_target(environ: Mapping[str, Any]) -> str | None:
    """Return path and query of this request, checked by :func:`local_path_or_none`. Host and Referer are not used."""
    path = quote(b"/" + requested_path(environ).lstrip(b"/\\"), safe=_UNQUOTED_IN_PATH)
    query = quote(bytes_of(environ, "QUERY_STRING"), safe=_UNQUOTED_IN_QUERY)
    return local_path_or_none(f"{path}?{query}" if query else path)


def with_mount_point(environ: Mapping[str, Any], path: str) -> str:
    """Return ``path`` with the mount point in front, unless it has it already, or the mount point is not valid."""
    script = quote(script_path(environ), safe=_UNQUOTED_IN_PATH)
    if local_path_or_none(script) is None or re.match(re.escape(script) + r"(?:[/?#]|\Z)", path):
        return path
    return script + path
