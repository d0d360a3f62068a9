"""Sessions in Django's own database, through the connection that Django has to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any, TypeVar

from wsgi_session.errors import ConfigError
from wsgi_session.moving.places import Found, Place, outage

T = TypeVar("T")


class DjangoTable(Place):
    """The table of ``django.contrib.sessions``. Raises ``ConfigError`` if Django is not installed.

    Django's settings may be incomplete when this is made, because they contain it. They are needed at the first use.
    """

    name = "the table of django.contrib.sessions"

    def __init__(self) -> None:
        if find_spec("django") is None:
            raise ConfigError(
                "The old store is missing, and without Django its connection cannot be used: give a SQLAlchemy URL or "
                "engine of the database."
            )

    def get(self, key: str, now: float) -> Found | None:
        columns = ("session_key", "session_data", "expire_date")
        row = self._ask(lambda table: table.filter(pk=str.__str__(key)).values_list(*columns).first())
        # MySQL compares without regard to case. Two ids must not open one session: it could be adopted twice.
        if row is None or row[0] != key:
            return None
        _, data, date = row
        if date.tzinfo is None:
            # With USE_TZ=False, the dates are in TIME_ZONE.
            from django.utils.timezone import get_default_timezone, make_aware

            date = make_aware(date, get_default_timezone())
        expires = float(date.timestamp())
        return None if expires <= now else Found(data.encode(), expires)

    def delete(self, key: str) -> None:
        self._ask(lambda table: table.filter(pk=str.__str__(key)).delete())

    def keys(self, prefix: str) -> Iterator[str]:
        last = ""
        while page := self._ask(partial(_page, last)):
            last = page[-1]
            yield from (key for key in page if key.startswith(prefix))

    def _ask(self, call: Callable[[Any], T]) -> T:
        """Return what ``call`` returns for all rows of the table."""
        import django
        from django.apps import apps
        from django.core.exceptions import ImproperlyConfigured
        from django.db import Error
        from django.db.models import QuerySet

        try:
            if not apps.ready:
                # In a command of this package. A site is set up before its first request.
                django.setup()
            return call(QuerySet(apps.get_model("sessions.Session")))
        except (Error, ImproperlyConfigured, LookupError, OSError) as error:
            raise outage(self.name, error) from None


def _page(last: str, table: Any) -> list[str]:
    return list(table.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:500])
