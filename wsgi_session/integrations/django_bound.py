"""What the session engine needs to know of device-bound logins: whether the request may use the session."""

from __future__ import annotations

from typing import Any

from wsgi_session.backends.base import Loaded
from wsgi_session.backends.device_bound import only_with_proof
from wsgi_session.integrations.django_keys import KeyBackend
from wsgi_session.integrations.django_times import started_work
from wsgi_session.request.work import Work


def bound_work(session: Any, site: KeyBackend, work: Work) -> Work:
    """Return ``work``, or one without a session if that is bound and the request lacks the second cookie.

    Outside of a request (a command, a job), a session key is enough.
    """
    environ = getattr(session, "environ", None)
    if site.binding is None or environ is None or work.record is None:
        return work
    loaded: Loaded = work.state, work.credential, work.record, (work.data or work.load()).stored
    found = only_with_proof(site, loaded, environ, work.loaded_at)
    return work if found is loaded else started_work(work.backend, found, work.loaded_at)
