"""What a middleware was told, checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wsgi_session.events import Events
from wsgi_session.lifetime import Lifetime


@dataclass(frozen=True, slots=True)
class Settings:
    """What a middleware was told, checked. Times in seconds, sizes in bytes."""

    environ_key: str
    #: The cookie's name as configured, without the prefix it gets over https.
    namespace: str
    #: The requests that a browser sends the cookie with; spelt as in a WSGI environ.
    cookie_path: str
    persistent: bool
    lifetime: Lifetime
    max_size: int
    #: An outage shows as an empty read-only session, not as a 503.
    anonymous_in_outage: bool
    validate: Callable[[Any], bool] | None
    #: The application's page for an outage, a WSGI application.
    outage_page: Callable[..., Any] | None
    events: Events
    clock: Callable[[], float]
