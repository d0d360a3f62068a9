"""Django: bind logins to the device, in browsers with Device Bound Session Credentials. Experimental.

::

    MIDDLEWARE = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "wsgi_session.integrations.django_device.DeviceBoundMiddleware",  # directly below
        ...
    ]
    WSGI_SESSION_OPTIONS = {"experimental_device_bound": True}
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin

from wsgi_session.backends.binding import REFRESH
from wsgi_session.backends.device_bound import PROVING
from wsgi_session.cookies.cookie import as_in_environ
from wsgi_session.helpers.device_bound import DeviceRequest
from wsgi_session.integrations.django_site import backend
from wsgi_session.request.work import Work
from wsgi_session.session import work_of


class DeviceBoundMiddleware(MiddlewareMixin):
    """Answers the browser where it registers and renews, and shows its second cookie to the session engine."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        site, session = backend(), request.session
        if site.binding is None:
            return None
        session.environ = request.META  # type: ignore[attr-defined]
        purpose = site.binding.purposes.get(request.path_info)
        if purpose is None:
            return None
        if purpose is REFRESH:
            request.META[PROVING] = True
        session.sent_for_device = True  # type: ignore[attr-defined]
        asked = DeviceRequest(site.binding, site.settings, request.META, lambda: _work(session))
        status, headers, body = asked.answer(purpose)
        response = HttpResponse(body, status=int(status[:3]))
        for name, value in headers:
            response[name] = value
        return response

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        # The attribute is Django's. It exists if the session was used.
        binding, loaded = backend().binding, vars(request.session).get("_session_cache")
        if binding is None or loaded is None:
            return response
        work = work_of(loaded)
        if (work.login is not None or work.logged_in) and response.status_code < 500:
            # Django's middleware saves the login after this, or replaces the response.
            path = as_in_environ(settings.SESSION_COOKIE_PATH)
            invitation = binding.invitation(request.META, path, work.handle or "", work.backend.settings.clock())
            if invitation is not None:
                response["Secure-Session-Registration"] = invitation
        elif work.state == "destroyed":
            response.delete_cookie(binding.cookie(request.META).name, settings.SESSION_COOKIE_PATH)
        return response


def _work(session: Any) -> Work:
    return work_of(session._get_session())  # noqa: SLF001  (Django's own name)
