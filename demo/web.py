"""Small WSGI helpers for the site: redirects, static files and security headers."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webob import Request, Response

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_FOLDER = Path(__file__).parent / "pages" / "static"
#: Read once and served by exact name, so that path traversal is impossible.
FILES = {f"/static/{path.name}": path.read_bytes() for path in _FOLDER.iterdir()}

# No inline code, nothing from other sites, no scripts, and no frames (against clickjacking).
_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = [
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
]
#: For a page with a script: allows script files of this site, and requests to this site only.
POLICY_WITH_SCRIPT = _POLICY + "; script-src 'self'; connect-src 'self'"


def see_other(path: str) -> WSGIApplication:
    """Redirect the browser to ``path`` with GET. Every POST ends with this, so that a reload does not post again."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # ``webob.exc.HTTPSeeOther`` would build an absolute URL from the Host header, which the client controls.
        start_response("303 See Other", [("Location", path), ("Content-Length", "0"), ("Cache-Control", "no-store")])
        return [b""]

    return answer


def file(request: Request) -> Response:
    """Serve one of :data:`FILES`. A browser that already has it gets a 304."""
    path = request.environ["PATH_INFO"]
    body = FILES[path]
    response = Response(body=body, content_type=mimetypes.guess_type(path)[0], conditional_response=True)
    response.etag = sha256(body).hexdigest()[:16]
    response.cache_control = "no-cache"
    return response


def secure(app: WSGIApplication) -> WSGIApplication:
    """Add :data:`SECURITY_HEADERS` to every response of ``app``, except those that it sets itself."""

    def secured(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: OptExcInfo | None = None) -> Any:
            there = {name.lower() for name, _ in headers}
            missing = [(name, value) for name, value in SECURITY_HEADERS if name.lower() not in there]
            return start_response(status, headers + missing, exc_info)

        return app(environ, start)

    return secured
