"""Events for logs and metrics. No event and no log line contains a token, a secret or a session value.

=====================  =================================================================  ========
event                  when                                                         level
=====================  =================================================================  ========
``created``            a session was stored for the first time                      debug
``rotated``            a session got a new token (``login`` included)               debug
``logged_in``          ``login()`` was saved                                        info
``destroyed``          the application ended a session                              info
``invalid``            ``validate`` ended a session                                 info
``revoked``            ``middleware.sessions`` ended sessions                       info
``nothing_revoked``    ``middleware.sessions`` found no session of that user            info
``tampered``           a session cookie had no valid signature                      debug
``foreign_cookie``     another secret signed a session cookie; reported once              warning
``corrupt``            a stored record could not be read; it was left unchanged     error
``dropped``            changes were dropped: another request ended the session      warning
``conflict``           another request wrote first; the changes were merged         debug
``unavailable``        the store failed                                             error
``touch_failed``       activity could not be recorded; the response is unaffected   warning
``unsaved``            an unsupported value, or too much data: the request failed         error
``cache_overridden``   a response that sets a cookie allowed shared caching         warning
``late_access``        the first access to the session came after the headers       warning
``behind_proxy``       the proxy uses https, this server http: see ``cookie_secure`` warning
``outside_path``       a request outside of ``cookie_path`` cannot store a session             warning
``cross_origin``       ``check_csrf`` refused a request of another site                info
``cross_site_write``   a request of another site came without the cookie: nothing stored  warning
``unfiled_user``       a user was put into the session without ``login()``          warning
=====================  =================================================================  ========
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

#: Called with the event's name and its data (``handle``, ``keys`` ...), in the request's thread.
OnEvent = Callable[[str, Mapping[str, Any]], object]

logger = logging.getLogger("wsgi_session")

_LEVELS = {
    "created": logging.DEBUG,
    "rotated": logging.DEBUG,
    "tampered": logging.DEBUG,
    "conflict": logging.DEBUG,
    "logged_in": logging.INFO,
    "destroyed": logging.INFO,
    "invalid": logging.INFO,
    "revoked": logging.INFO,
    "nothing_revoked": logging.INFO,
    "cross_origin": logging.INFO,
    "dropped": logging.WARNING,
    "touch_failed": logging.WARNING,
    "cache_overridden": logging.WARNING,
    "late_access": logging.WARNING,
    "behind_proxy": logging.WARNING,
    "outside_path": logging.WARNING,
    "cross_site_write": logging.WARNING,
    "unfiled_user": logging.WARNING,
    "foreign_cookie": logging.WARNING,
    "corrupt": logging.ERROR,
    "unavailable": logging.ERROR,
    "unsaved": logging.ERROR,
}


class Events:
    """Reports events to the log and to the application's ``on_event``."""

    def __init__(self, on_event: OnEvent | None) -> None:
        self._on_event = on_event
        self._reported: set[str] = set()

    def once(self, name: str, /, **data: Any) -> None:
        """Report an event about the configuration, but only the first time."""
        if name not in self._reported:
            self._reported.add(name)
            self(name, **data)

    def has_reported(self, name: str) -> bool:
        """Return whether :meth:`once` has reported this event."""
        return name in self._reported

    def __call__(self, name: str, /, **data: Any) -> None:
        level = _LEVELS[name]
        if logger.isEnabledFor(level):
            # repr() escapes line breaks, so that a client cannot forge log lines (CVE-2025-25184).
            logger.log(level, "%s %s", name, " ".join(f"{key}={value!r}" for key, value in data.items()))
        if self._on_event is None:
            return
        try:
            self._on_event(name, data)
        except Exception:
            # An error in ``on_event`` must not make the request fail.
            logger.exception("on_event failed on %s", name)
