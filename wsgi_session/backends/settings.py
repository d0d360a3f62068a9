"""The options of a middleware, after they were checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from wsgi_session.codec.packing import Packed, join
from wsgi_session.events import Events
from wsgi_session.lifetime import Lifetime


@dataclass(frozen=True, slots=True)
class Settings:
    """The checked options of one middleware. Times are in seconds, sizes in bytes."""

    environ_key: str
    #: The cookie's name as configured, without the prefix that it gets over https.
    cookie_name: str
    #: The cookie's name, and with ``namespace=`` also the tenant's: see ``namespace_of_tenant``.
    namespace: str
    #: As in a WSGI environ: percent-decoded.
    cookie_path: str
    samesite: str
    persistent: bool
    lifetime: Lifetime
    max_size: int
    #: Whether an outage gives an empty read-only session in place of a 503 response.
    anonymous_in_outage: bool
    validate: Callable[[Any], bool] | None
    #: The minimum seconds between two calls of ``validate`` for a session; ``None``: it is called in every request.
    validate_every: float | None
    #: The application's page for an outage: a WSGI application.
    outage_page: Callable[..., Any] | None
    events: Events
    clock: Callable[[], float]
    #: Describes the device of a login, given the values of the request's environ that are text.
    describe: Callable[[Mapping[str, Any]], str | None] | None = None
    #: How many live sessions a user may have. ``None``: any number.
    max_sessions: int | None = None
    #: The request headers on which a response with a session depends.
    vary: str = "Cookie"
    #: Makes a record's data of packed values; with encryption, it seals them.
    join: Callable[[Packed], bytes] = join
