"""The backend of a middleware with ``experimental_device_bound``: a bound session needs the second cookie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsgi_session.backends.base import Loaded
from wsgi_session.backends.binding import device_key
from wsgi_session.backends.server import StoreBackend
from wsgi_session.backends.stored_owner import stored_owner
from wsgi_session.codec.packing import CorruptData

#: The entry in the environ that marks a request for a renewal: it proves that it has the device's key, so it needs no
#: second cookie. No client can set it, because its name does not begin with ``HTTP_``.
PROVING = "wsgi_session.proving"


class DeviceBoundBackend(StoreBackend):
    """The sessions of one middleware, in a store, some of them bound to a device."""

    def load(self, environ: Mapping[str, Any], now: float) -> Loaded:
        """Return the request's live session. A bound session counts as unknown without its second cookie."""
        return only_with_proof(self, super().load(environ, now), environ, now)

    def remove_cookies(self, environ: Mapping[str, Any]) -> list[str]:
        """Return the Set-Cookie values that remove the request's session cookie, and its second cookie."""
        assert self.binding is not None
        second = self.binding.cookie(environ)
        removal = [second.remove()] if second.read(environ.get("HTTP_COOKIE", "")) else []
        return super().remove_cookies(environ) + removal


def only_with_proof(backend: StoreBackend, loaded: Loaded, environ: Mapping[str, Any], now: float) -> Loaded:
    """Return ``loaded``, or an unknown session if it is bound to a device and the request has no valid second cookie.

    If the browser says that it could not renew the cookie, the session counts as rotated: then the request cannot
    replace the session's cookie, and the visitor is back as soon as the browser succeeds.
    """
    (_, credential, record, packed), binding = loaded, backend.binding
    if record is None or binding is None:
        return loaded
    try:
        key = device_key(packed, record.handle)
    except CorruptData:
        backend.settings.events("corrupt", handle=record.handle)
        return "unknown", credential, None, {}
    if key is None or PROVING in environ or binding.has_proof(environ, record.handle, key, now):
        return loaded
    skipped = bool(environ.get("HTTP_SECURE_SESSION_SKIPPED"))
    reason = "skipped" if skipped else "no_proof"
    backend.settings.events("device_missing", handle=record.handle, owner=stored_owner(record), reason=reason)
    return ("rotated" if skipped else "unknown"), credential, None, {}
