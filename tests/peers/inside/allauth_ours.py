"""Settings for django-allauth's own tests over our sessions: those of ALLAUTH_SETTINGS, with our engine."""

from __future__ import annotations

import os
from importlib import import_module

globals().update(vars(import_module(os.environ["ALLAUTH_SETTINGS"])))

SESSION_ENGINE = "wsgi_session.integrations.django"
WSGI_SESSION_STORE = "memory://"
