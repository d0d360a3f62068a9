"""Flask-SocketIO with ``manage_session=False``: each event has its own session object.

Flask-SocketIO runs all events of a client in the environ of the request with which the client connected. That request
has ended, or is the websocket itself, so no response can set a cookie. An event therefore loads the newest session
under the token with which the client connected, and saves its changes when its handler returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask

from wsgi_session.integrations.flask_session import FlaskSession


class EventSession(FlaskSession):
    """``flask.session`` in an event. A stored session can be changed and ended, but no new one can be created.

    Without a stored session, changes are dropped, with the event ``dropped``. Methods that change the token (``login``,
    ``rotate``) raise ``HeadersAlreadySent``.
    """


def is_event(app: Flask, environ: Mapping[str, Any]) -> bool:
    """Return whether Flask-SocketIO opens the session. The path shows it, because its paths never reach the views."""
    middleware = getattr(app.extensions.get("socketio"), "sockio_mw", None)
    # A slash is added, because its test client connects to the path without one.
    return middleware is not None and f"{environ.get('PATH_INFO', '')}/".startswith(middleware.engineio_path)
