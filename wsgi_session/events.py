"""Events for logs, metrics and audits. No event and no log line contains a token, a secret or a session value.

The one exception is ``owner``, the user for whom ``login()`` filed the session: ``id:5`` or ``email:ann@example.com``.
``EVENTS`` lists each event; the page of events in the documentation has the same facts, and a test compares them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

#: Called with the event's name and its data (``handle``, ``owner`` ...), in the request's thread.
OnEvent = Callable[[str, Mapping[str, Any]], object]

logger = logging.getLogger("wsgi_session")


class Event(NamedTuple):
    """One kind of event."""

    #: The level of its line in the log.
    level: int
    #: The keys of its data, always all of them. ``handle`` and ``owner`` are ``None`` if there is none.
    keys: tuple[str, ...]
    #: The possible values of the key ``reason``, if there is one.
    reasons: tuple[str, ...] = ()


_DEBUG, _INFO, _WARNING, _ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR
_SESSION = ("handle", "owner")
_REFUSALS = ("corrupt", "ended", "expired", "forged", "too_large", "unknown", "unsupported")

EVENTS: dict[str, Event] = {
    # A session was stored for the first time.
    "created": Event(_DEBUG, _SESSION),
    # A session got a new token (``login`` included).
    "rotated": Event(_DEBUG, _SESSION),
    # ``login()`` was saved. ``new_device`` is ``None`` where it is not known, as without ``describe``.
    "logged_in": Event(_INFO, (*_SESSION, "new_device")),
    # ``confirm()`` was saved: the logged-in user has proved again who they are.
    "confirmed": Event(_INFO, (*_SESSION, "method")),
    # A login ended the user's oldest session, because of ``max_sessions``; ``by`` is the handle of the login.
    "displaced": Event(_INFO, (*_SESSION, "by")),
    # The application ended a session.
    "destroyed": Event(_INFO, (*_SESSION, "reason"), ("application",)),
    # ``validate`` ended a session.
    "invalid": Event(_INFO, (*_SESSION, "reason"), ("validate",)),
    # ``middleware.sessions`` ended sessions.
    "revoked": Event(_INFO, (*_SESSION, "reason", "count"), ("revoked",)),
    # ``sessions.update()`` has changed a session outside of a request.
    "updated": Event(_INFO, _SESSION),
    # A request came with the cookie of a session that has expired.
    "expired": Event(_DEBUG, (*_SESSION, "reason"), ("idle", "absolute")),
    # ``middleware.sessions`` found no session of that user.
    "nothing_revoked": Event(_INFO, (*_SESSION, "advice")),
    # A request that changes something came without a valid CSRF token.
    "csrf_failed": Event(_INFO, (*_SESSION, "reason"), ("no_session", "no_token", "wrong_token")),
    # A browser has renewed its second cookie for the first time: from now on, the session needs it.
    "device_bound": Event(_INFO, _SESSION),
    # A bound session's cookie came without a valid second cookie; ``skipped``: the browser says it could not renew it.
    "device_missing": Event(_INFO, (*_SESSION, "reason"), ("no_proof", "skipped")),
    # A registration or a renewal was refused.
    "device_refused": Event(_INFO, (*_SESSION, "reason"), ("challenge", "proof", "registered")),
    # A session cookie had no valid signature.
    "tampered": Event(_DEBUG, ("cookies",)),
    # Another secret, or another tenant, signed a session cookie; reported once.
    "foreign_cookie": Event(_WARNING, ("cookie_name", "advice")),
    # A stored record could not be read; it was left unchanged.
    "corrupt": Event(_ERROR, ("handle",)),
    # Changes were dropped: another request ended the session.
    "dropped": Event(_WARNING, (*_SESSION, "keys")),
    # Another request wrote first; the changes were merged.
    "conflict": Event(_DEBUG, _SESSION),
    # A write was repeated, because the answer to the first attempt was lost.
    "retried": Event(_WARNING, ("operation", "error")),
    # The store failed.
    "unavailable": Event(_ERROR, ("error",)),
    # Activity, or the time of a check by ``validate``, could not be recorded; the response is unaffected.
    "touch_failed": Event(_WARNING, (*_SESSION, "error")),
    # An unsupported value, or too much data: the request failed.
    "unsaved": Event(_ERROR, (*_SESSION, "error")),
    # A response that sets a cookie allowed shared caching.
    "cache_overridden": Event(_WARNING, ("dropped",)),
    # The first access to the session came after the headers.
    "late_access": Event(_WARNING, ()),
    # The proxy uses https, this server http: see ``cookie_secure``.
    "behind_proxy": Event(_WARNING, ("advice",)),
    # A request outside of ``cookie_path`` cannot store a session.
    "outside_path": Event(_WARNING, ("advice",)),
    # Another site's page sent a request without the session cookie, and the application changed the session.
    "cross_site_write": Event(_WARNING, ("advice",)),
    # A user was put into the session without ``login()``.
    "unfiled_user": Event(_WARNING, ("handle", "advice")),
    # ``check_csrf`` refused a request of another site.
    "cross_origin": Event(_INFO, ("origin", "host")),
    # A session of another library was taken over; or it was not, for this reason.
    "adopted": Event(_INFO, (*_SESSION, "source")),
    "not_adopted": Event(_INFO, ("source", "reason", "detail"), _REFUSALS),
    # An adopted session had values that cannot be stored.
    "keys_dropped": Event(_WARNING, ("handle", "source", "keys")),
    # The record of an adopted session could not be deleted.
    "old_kept": Event(_WARNING, ("source", "error")),
    # The date ``until`` of ``adopt`` has passed; reported once.
    "adoption_over": Event(_WARNING, ("advice",)),
    # One call of the store has ended; only with ``report_store_calls=True``.
    "store_call": Event(_DEBUG, ("operation", "system", "seconds", "outcome")),
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

    def are_heard(self, name: str) -> bool:
        """Return whether a call would report this event. If not, the data of a frequent one need not be collected."""
        return self._on_event is not None or logger.isEnabledFor(EVENTS[name].level)

    def __call__(self, name: str, /, **data: Any) -> None:
        level = EVENTS[name].level
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
