"""The cookie of a Django session: how long it is kept, and when it must not be set."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import SESSION_KEY as USER_ID

from wsgi_session.cookies.cookie import CROSS_SITE
from wsgi_session.integrations.django_confirm import ConfirmableSession
from wsgi_session.integrations.django_keys import KeyBackend


class SessionWithCookie(ConfirmableSession):
    """The part of ``SessionStore`` that decides about its cookie."""

    _backend: KeyBackend
    #: Whether another site's page sent the request, without the cookie that the browser may have.
    cross_site = False
    #: Whether the browser itself has sent the request, for a device-bound login: that is not the visitor's activity.
    sent_for_device = False

    def get_expiry_age(self, **kwargs: Any) -> int:
        """Return the seconds that the cookie is kept; at most the anonymous timeout if no user is logged in."""
        age = super().get_expiry_age(**kwargs)
        anonymous = self._backend.settings.lifetime.anonymous
        return age if anonymous is None or USER_ID in self else min(age, int(anonymous))

    def would_replace_another(self) -> bool:
        """Return whether a new session's cookie would replace one that the browser did not send. A login may do that.

        Django then does not save the session, which it takes for empty, and has no cookie to remove.
        """
        if not self.cross_site or USER_ID in self:
            return False
        self._backend.settings.events.once("cross_site_write", advice=CROSS_SITE)
        return True
