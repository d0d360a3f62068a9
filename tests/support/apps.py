"""A mobile app, or a page's script, that keeps the token of its session and sends it in a header."""

from __future__ import annotations

from typing import Any

from tests.support.client import Answer
from tests.support.site import Browser, Site


class AppClient(Browser):
    """A client of a site with ``transport="header"`` or ``"both"``; ``header`` is the site's ``transport_header``."""

    def __init__(self, site: Site, header: str = "Authorization", **environ: Any) -> None:
        super().__init__(site, **environ)
        self.key = f"HTTP_{header.upper().replace('-', '_')}"
        #: ``None`` until a response has one.
        self.bearer: str | None = None

    def send(self, environ: dict[str, Any], *, lint: bool = True) -> Answer:
        environ.setdefault(self.key, self.sent(self.bearer or "new"))
        answer = super().send(environ, lint=lint)
        self.bearer = answer.header("Session-Token") or self.bearer
        return answer

    def sent(self, token: str) -> str:
        """Return the value of the header for ``token``."""
        return f"Bearer {token}" if self.key == "HTTP_AUTHORIZATION" else token

    def copy(self) -> AppClient:
        other = AppClient(self.site, **self.environ)
        other.key, other.bearer, other.jar = self.key, self.bearer, dict(self.jar)
        return other
