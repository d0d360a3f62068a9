"""Settings for Django's own tests over our sessions."""

from __future__ import annotations

from django_theirs import *  # noqa: F403

SESSION_ENGINE = "wsgi_session.integrations.django"
WSGI_SESSION_STORE = "memory://"
