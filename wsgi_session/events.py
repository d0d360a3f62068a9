"""What happened, for logs and metrics. No event and no log line ever holds a token, a secret or a value.

=====================  =================================================================  ========
event                  when                                                         level
=====================  =================================================================  ========
``created``            a session was stored for the first time                      debug
``rotated``            a session got a new token (``login`` included)               debug
``logged_in``          ``login()`` was saved                                        info
``destroyed``          the application ended a session                              info
``invalid``            ``validate`` ended a session                                 info
``revoked``            the administrator's view ended sessions                      info
``nothing_revoked``    the administrator's view found no session of that user           info
``tampered``           a cookie of our name that we did not sign                    debug
``foreign_cookie``     a cookie of our name and form, by another secret; said once        warning
``corrupt``            a stored record that cannot be read; it is left as it is     error
``dropped``            a write to a session that somebody else had ended            warning
``conflict``           another request wrote first; the changes were merged         debug
``unavailable``        the store failed                                             error
``touch_failed``       activity could not be noted; the answer is unharmed          warning
``unsaved``            a value that cannot be kept, or too much data: the answer is 500   error
``cache_overridden``   the response was marked for shared caches, and sets a cookie warning
``late_access``        the first look at the session came after the headers         warning
``behind_proxy``       https at the proxy, http here: ``cookie_secure=True``?       warning
``outside_path``       a request outside of ``cookie_path`` wanted a session: none was made    warning
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
    "dropped": logging.WARNING,
    "touch_failed": logging.WARNING,
    "cache_overridden": logging.WARNING,
    "late_access": logging.WARNING,
    "behind_proxy": logging.WARNING,
    "outside_path": logging.WARNING,
    "unfiled_user": logging.WARNING,
    "foreign_cookie": logging.WARNING,
    "corrupt": logging.ERROR,
    "unavailable": logging.ERROR,
    "unsaved": logging.ERROR,
}


class Events:
    """Tells the log and the application's ``on_event``."""

    def __init__(self, on_event: OnEvent | None) -> None:
        self._on_event = on_event
        self._told: set[str] = set()

    def once(self, name: str, /, **data: Any) -> None:
        """Tell an event that says something about the configuration: the first time only."""
        if name not in self._told:
            self._told.add(name)
            self(name, **data)

    def has_told(self, name: str) -> bool:
        """Whether :meth:`once` has told this event."""
        return name in self._told

    def __call__(self, name: str, /, **data: Any) -> None:
        level = _LEVELS[name]
        if logger.isEnabledFor(level):
            # repr: no line break that a client sent reaches a log as one (CVE-2025-25184).
            logger.log(level, "%s %s", name, " ".join(f"{key}={value!r}" for key, value in data.items()))
        if self._on_event is None:
            return
        try:
            self._on_event(name, data)
        except Exception:
            # An observer's mistake must not cost a visitor the request that it observed.
            logger.exception("on_event failed on %s", name)
