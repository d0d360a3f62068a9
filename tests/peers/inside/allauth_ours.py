"""A plugin for pytest: django-allauth's own tests over our sessions, with the settings that ALLAUTH_SETTINGS names.

Their conftest.py chooses the tests by the name of the settings. So it stays, and the module has other values.
"""

from __future__ import annotations

import os
from importlib import import_module

# Before Django reads them.
vars(import_module(os.environ["ALLAUTH_SETTINGS"])).update(
    SESSION_ENGINE="wsgi_session.integrations.django", WSGI_SESSION_STORE="memory://"
)
