"""The options that name the middleware and the tenant whose sessions a command works on."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from wsgi_session.backends.tenants import namespace_of_tenant

#: The default of SessionMiddleware.
COOKIE_NAME = "sid"
_VARIABLE = "WSGI_SESSION_COOKIE_NAME"


def namespace_options(text: str, default: str | None = COOKIE_NAME) -> Callable[[Callable[..., None]], Any]:
    """Return a decorator that adds ``--cookie-name`` and ``--tenant``; the command gets both as ``namespace``."""

    def decorate(command: Callable[..., None]) -> Any:
        @click.option(
            "--cookie-name",
            "--namespace",
            "cookie_name",
            metavar="NAME",
            default=default,
            show_default=True,
            envvar=_VARIABLE if default else None,
            help=text,
        )
        @click.option("--tenant", metavar="NAME", help="The tenant, as the middleware's namespace= returns it.")
        @wraps(command)
        def run(cookie_name: str | None, tenant: str | None, **given: Any) -> None:
            if tenant is None:
                return command(namespace=cookie_name, **given)
            if not tenant:
                raise click.UsageError("--tenant is empty: give the tenant's name.")
            # Without a default, the variable is only for this: there is no tenant of all cookie names.
            name = cookie_name or os.environ.get(_VARIABLE) or COOKIE_NAME
            return command(namespace=namespace_of_tenant(name, tenant), **given)

        return run

    return decorate
