"""The option ``adopt`` of the middleware: which sessions of other libraries to adopt, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, timezone
from typing import Any, Literal

from wsgi_session.config.options import check_callable
from wsgi_session.errors import ConfigError
from wsgi_session.moving.reader import Reader

_MAX_READERS = 8


class Adopt:
    """Readers of foreign sessions, with the rules of their adoption. A reader alone stands for ``Adopt(reader)``."""

    def __init__(
        self,
        *readers: Reader,
        # The first phase of a rolling replacement: processes of the old and the new kind serve the site at once. The
        # old record and cookie stay, and a logout ends both sessions. The second phase is without it.
        keep_old: bool = False,
        # A date (at its beginning, in UTC), or an aware datetime: nothing is adopted from then on.
        until: date | datetime | None = None,
        # What to do with values of unsupported types: "drop" their keys, or "refuse" to adopt the session.
        unsupported: Literal["drop", "refuse"] = "drop",
        # Returns the id of the logged-in user, or None, from the session's data. None: the reader's own rule.
        user_id: Callable[[Mapping[Any, Any]], object] | None = None,
    ) -> None:
        if not 1 <= len(readers) <= _MAX_READERS:
            raise ConfigError(f"Adopt got {len(readers)} readers. Give 1 to {_MAX_READERS}, such as FlaskCookie(KEY).")
        for reader in readers:
            if not isinstance(reader, Reader):
                raise ConfigError(
                    f"adopt: a reader of type {type(reader).__name__}. Give one of wsgi_session.moving, such as "
                    "FlaskCookie(SECRET), or a subclass of Reader."
                )
        if unsupported not in ("drop", "refuse"):
            raise ConfigError(f"unsupported={unsupported!r}: give 'drop' or 'refuse'.")
        if not isinstance(keep_old, bool):
            raise ConfigError(f"keep_old={keep_old!r}: give True or False.")
        if user_id is not None:
            check_callable("user_id", user_id, "a function of the session's data, or None")
        self.readers = readers
        self.keep_old = keep_old
        self.until = _seconds(until)
        self.refuse = unsupported == "refuse"
        self.user_id = user_id


def make_adopt(given: object) -> Adopt:
    """Return what the option ``adopt`` stands for: an ``Adopt``, a reader, or several readers."""
    if isinstance(given, Adopt):
        return given
    readers = tuple(given) if isinstance(given, (list, tuple)) else (given,)
    if not readers or not all(isinstance(reader, Reader) for reader in readers):
        raise ConfigError(
            f"adopt={given!r}: give a reader of wsgi_session.moving, such as FlaskCookie(KEY), a list of readers, or "
            "Adopt(...)."
        )
    return Adopt(*readers)


def _seconds(until: object) -> float | None:
    if until is None:
        return None
    if isinstance(until, datetime):
        if until.tzinfo is None:
            raise ConfigError(f"until={until!r}: the datetime has no time zone. Give tzinfo=timezone.utc, or a date.")
        return until.timestamp()
    if isinstance(until, date):
        return datetime(until.year, until.month, until.day, tzinfo=timezone.utc).timestamp()
    raise ConfigError(f"until={until!r}: give a date, an aware datetime, or None.")
