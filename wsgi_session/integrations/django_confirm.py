"""The confirmations of a Django session: when the user last proved who they are, by a password or another factor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsgi_session.integrations.django_async import AsynchronousSession
from wsgi_session.request.confirmation import (
    Confirmation,
    check_method,
    is_fresh,
    last_confirmation,
    note_confirmation,
)
from wsgi_session.request.work import Work


class ConfirmableSession(AsynchronousSession):
    """What ``wsgi_session.confirm`` and ``redirect_unless_fresh`` need; a login with ``django.contrib.auth`` counts."""

    if TYPE_CHECKING:

        @property
        def _work(self) -> Work: ...

    @property
    def confirmed(self) -> Confirmation | None:
        """When and how the user last proved who they are: see ``Session.confirmed``."""
        return last_confirmation(self._work)

    def confirm(self, method: str = "password") -> None:
        """Note that the user has just proved who they are, and change the key: see ``wsgi_session.confirm``."""
        note_confirmation(self._work, check_method(method))
        self.cycle_key()

    def is_fresh(self, within: float, method: str | None = None) -> bool:
        """Return whether the user was confirmed in the last seconds: see ``wsgi_session.redirect_unless_fresh``."""
        return is_fresh(self._work, within, method)
