"""What the helpers need of a Django session: when the user last proved who they are, and the provider's session."""

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
from wsgi_session.request.providers import file_this_login
from wsgi_session.request.work import Work


class ConfirmableSession(AsynchronousSession):
    """For the helpers ``confirm``, ``redirect_unless_fresh`` and ``set_provider_session``, after Django's login."""

    if TYPE_CHECKING:

        @property
        def _work(self) -> Work: ...

    def set_provider_session(self, provider_session: str) -> None:
        """File this request's login under the provider's session: see ``wsgi_session.set_provider_session``."""
        file_this_login(self._work, provider_session)

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
