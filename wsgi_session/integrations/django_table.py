"""``Session.objects``: with this package's engine, the table of ``django.contrib.sessions`` has no sessions.

An empty result would tell an administrator who wants to log users out that nobody is logged in. So each use raises an
error.
"""

from __future__ import annotations

import sys
from typing import Any, NoReturn

from django.apps import apps
from django.conf import settings
from django.utils.module_loading import import_string

from wsgi_session.errors import Unsupported


def guard_table(engine: type) -> None:
    """Let ``Session.objects`` refuse while the site uses ``engine``. A site without the application has no table."""

    def guard(model: Any) -> None:
        model.objects = _Objects(vars(model)["objects"], engine)

    apps.lazy_model_operation(guard, ("sessions", "session"))


class _Refusal:
    """Stands for the manager of a table without sessions."""

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            # Python and its tools look for such names in any object.
            raise AttributeError(name)
        raise Unsupported(
            f"Session.objects.{name} is not supported: with SESSION_ENGINE={settings.SESSION_ENGINE!r}, no session is "
            "in the table of django.contrib.sessions. To list or end a user's sessions, use "
            'wsgi_session.integrations.django.sessions(), such as sessions().revoke_all({"id": user.pk}). To end one '
            "by its key, use SessionStore(key).delete().",
            operation=f"Session.objects.{name}",
        )


class _Objects:
    """The attribute ``objects`` of the model: the model's own manager, unless the site uses this package's engine."""

    def __init__(self, manager: Any, engine: type) -> None:
        self._manager = manager
        self._engine = engine

    def __get__(self, instance: object, model: type) -> Any:
        used = import_string(f"{settings.SESSION_ENGINE}.SessionStore")
        if issubclass(used, self._engine) and not _called_by_an_engine_of_django():
            return _Refusal()
        return self._manager.__get__(instance, model)


def _called_by_an_engine_of_django() -> bool:
    """Return whether Django's own engine reads its table: an application may use it itself, to move its sessions."""
    caller = sys._getframe(2).f_globals.get("__name__", "")  # noqa: SLF001  (a name of Python's)
    return str(caller).startswith("django.contrib.sessions.")
