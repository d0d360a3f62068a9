"""Several tenants in one application: each has a namespace, and so a backend, of its own.

A namespace is a part of everything that a cookie, an owner or a count is bound to: a tenant's cookie opens nothing at
another tenant, even over the same store with the same secret.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from wsgi_session.backends.base import Backend
from wsgi_session.errors import ConfigError

#: The number of tenants whose backends are kept. Clients may invent host names, so there must be a limit.
MAX_TENANTS = 1024
# Any other name is hashed: SQL stores allow 255 characters for a namespace, and a slash in it marks records that are
# not sessions.
_PLAIN = re.compile(r"[A-Za-z0-9._:-]{1,100}", re.ASCII)


class Tenants:
    """The backends of a middleware with ``namespace=``. ``make`` returns the backend of a namespace."""

    def __init__(
        self, function: Callable[[Mapping[str, Any]], str], cookie_name: str, make: Callable[[str], Backend]
    ) -> None:
        self._function = function
        self._cookie_name = cookie_name
        # A tenant whose backend was dropped gets an equal one. The cache contains namespaces, which are short, and not
        # names: a client may invent very long ones.
        self._make = lru_cache(MAX_TENANTS)(make)

    def backend_of(self, environ: Mapping[str, Any]) -> Backend:
        """Return the backend of the request's tenant. Raise ``ConfigError`` if the function returns no name."""
        return self.backend(self._function(environ))

    def backend(self, name: object) -> Backend:
        """Return the backend of a tenant, or raise ``ConfigError`` if ``name`` is not a non-empty text."""
        if type(name) is not str or not name:
            raise ConfigError(
                f"The namespace is {name!r}, but the name of a tenant is a non-empty str. For an unknown host, return "
                "a fixed name, or refuse the request outside of the middleware."
            )
        return self._make(namespace_of_tenant(self._cookie_name, name))


def namespace_of_tenant(cookie_name: str, name: str) -> str:
    """Return the namespace of a tenant. It is unlike any ``cookie_name``, which contains neither ``@`` nor ``:``."""
    if _PLAIN.fullmatch(name):
        return f"{cookie_name}@{name}"
    return f"{cookie_name}:{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()}"
