"""Adopt the sessions of other libraries, so that nobody is logged out when a site moves to this package.

::

    from wsgi_session.moving import FlaskCookie

    app = SessionMiddleware(app, secret=SECRET, store="sqlite:///sessions.db", adopt=FlaskCookie(OLD_SECRET_KEY))

See ``docs/moving.md`` for the rules, and :mod:`wsgi_session.moving.reader` for readers of your own.
"""

from wsgi_session.moving.adopt import Adopt
from wsgi_session.moving.beaker import BeakerStore
from wsgi_session.moving.django_sessions import DjangoSessions
from wsgi_session.moving.flask_cookie import FlaskCookie
from wsgi_session.moving.flask_session import FlaskSessionStore
from wsgi_session.moving.pyramid import PyramidCookie, PyramidSessionRedis
from wsgi_session.moving.reader import Foreign, NotAdopted, Reader

__all__ = [
    "Adopt",
    "BeakerStore",
    "DjangoSessions",
    "FlaskCookie",
    "FlaskSessionStore",
    "Foreign",
    "NotAdopted",
    "PyramidCookie",
    "PyramidSessionRedis",
    "Reader",
]
