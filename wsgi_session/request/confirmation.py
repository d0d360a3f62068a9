"""When and how the logged-in user last proved who they are: at the login, or when the application asked again.

The confirmations are an internal key of the record, so that older processes, which do not know it, keep it. They belong
to one login, by its handle: after any other login they do not count.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import NamedTuple

from wsgi_session.codec.packing import pack
from wsgi_session.errors import ConfigError
from wsgi_session.request.work import Work
from wsgi_session.stores.contract import CLOCK_SKEW

#: The internal key. Its value is the login's handle, and for each method the time in seconds since the epoch.
CONFIRMED = b"confirmed"
# Only the newest ones are kept, in case an application builds the name from what a client sends.
_MAX_METHODS = 8
_MAX_NAME = 64


class Confirmation(NamedTuple):
    """The last time that the logged-in user proved who they are."""

    #: Aware, in UTC.
    at: datetime
    #: As given to ``confirm()``, such as ``"password"``; ``None`` for the login itself.
    method: str | None


def check_method(method: object) -> str:
    """Return the name of a method, or raise ``ConfigError``."""
    if not isinstance(method, str) or not 0 < len(method) <= _MAX_NAME or not method.isprintable():
        raise ConfigError(
            f"method={method!r}: give a text of 1 to {_MAX_NAME} printable characters, such as 'password'."
        )
    return str.__str__(method)


def note_confirmation(work: Work, method: str) -> None:
    """Note that the user has proved who they are at this moment. The caller rotates the session.

    Raises ``ConfigError`` if the session has no owner; ``HeadersAlreadySent`` if the headers were sent.
    """
    work.writable(needs_cookie=True)
    if not work.has_owner:
        raise ConfigError(
            "confirm() needs a user who was logged in with login(): for a user that was assigned to session['user'], "
            "the time of the login is not known."
        )
    times = {**confirmations(work), method: work.backend.settings.clock()}
    newest = sorted(times, key=lambda name: times[name])[-_MAX_METHODS:]
    _put(work, {name: times[name] for name in newest})
    work.confirming = method


def note_unconfirmed(work: Work) -> None:
    """Note that this login is without a proof: a cookie that remembers the user was enough."""
    _put(work, {})


def confirmations(work: Work) -> dict[str, float]:
    """Return the time of the last confirmation by each method; that of the login is ``""``. Empty without a login."""
    if not work.has_owner:
        return {}
    stored = work.peek(CONFIRMED)
    if isinstance(stored, list) and stored[0] == work.handle:
        times: dict[str, float] = stored[1]
        return times
    return {} if work.created is None else {"": work.created}


def is_fresh(work: Work, within: float, method: str | None) -> bool:
    """Return whether the user was confirmed by ``method`` (``None``: any, or the login) in the last seconds."""
    times = confirmations(work)
    at = max(times.values(), default=None) if method is None else times.get(method)
    # Clocks of machines differ, so the time may be in the future; but not by more, or the login would stay fresh.
    return at is not None and -CLOCK_SKEW <= work.backend.settings.clock() - at < within


def last_confirmation(work: Work) -> Confirmation | None:
    """Return the last confirmation, which may be the login; ``None`` if there is none."""
    times = confirmations(work)
    if not times:
        return None
    # Of two at the same moment, the later one.
    method = max(reversed(times), key=lambda name: times[name])
    return Confirmation(datetime.fromtimestamp(times[method], timezone.utc), method or None)


def _put(work: Work, times: dict[str, float]) -> None:
    value = [work.handle, times]
    (work.data or work.load()).put(CONFIRMED, value, pack(value, "confirmed"))
