"""Makes the unit of work where requests differ: in their tenant or transport, or if ``validate`` takes the environ."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from wsgi_session.backends.base import Backend
from wsgi_session.backends.header import TokenHeader
from wsgi_session.backends.tenants import Tenants
from wsgi_session.request.work import Work


def make_work(
    work_type: type[Work],
    backend: Backend,
    tenants: Tenants | None,
    header: TokenHeader | None,
    keep_environ: bool,
    environ: dict[str, Any],
    other_type: type[Work] | None = None,
) -> Work:
    """Return the unit of work of a request, with the backend of its tenant and its kind of credential.

    ``other_type`` replaces ``work_type``.
    """
    if tenants is not None:
        backend = tenants.backend_of(environ)
    if header is not None and backend.by_header is not None and header.read(environ) is not None:
        backend = backend.by_header
    work = (other_type or work_type)(backend, environ)
    if not backend.browser_sends:
        work.token_header = {backend.credential_key: environ.get(backend.credential_key, "")}
    if keep_environ:
        # A copy without the session, because only the garbage collector would free such a cycle.
        key = backend.settings.environ_key
        work.validated_environ = {name: value for name, value in environ.items() if name != key}
    return work


def takes_environ(validate: Callable[..., Any] | None) -> bool:
    """Return whether ``validate`` requires a second argument; one with a default does not count."""
    try:
        parameters = inspect.signature(validate).parameters.values() if validate is not None else ()
    except (TypeError, ValueError):
        return False  # Written in C.
    places = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [one for one in parameters if one.kind in places and one.default is inspect.Parameter.empty]
    return len(required) > 1


def make_validator(validate: Callable[..., bool], session_type: Callable[[Work], Any]) -> Callable[[Work], bool]:
    """Return ``validate`` as a function of the unit of work."""
    if takes_environ(validate):
        return lambda work: validate(session_type(work), work.validated_environ)
    return lambda work: validate(session_type(work))
