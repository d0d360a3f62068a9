"""Flask-SocketIO with ``manage_session=False``: each event has a session of its own.

Flask-SocketIO runs all events of a client in the environ of the request that connected it. That request is over, or is
the websocket itself, and no answer to it can carry a cookie. So an event reads what is stored at that moment, under the
token that the client connected with, and what it changes is saved when its handler returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask

from wsgi_session.integrations.flask_session import FlaskSession
from wsgi_session.integrations.flask_work import EventWork


class EventSession(FlaskSession):
    """``flask.session`` in an event. A stored session can be changed and ended, and no other can be made.

    What is written without one is dropped, with the event ``dropped``; what changes the token (``login``, ``rotate``)
    raises ``HeadersAlreadySent``.
    """

    _work: EventWork


def is_event(app: Flask, environ: Mapping[str, Any]) -> bool:
    """Whether it is Flask-SocketIO that opens the session: its own paths never reach the views."""
    middleware = getattr(app.extensions.get("socketio"), "sockio_mw", None)
    # With a slash, as its test client connects to the path without.
    return middleware is not None and f"{environ.get('PATH_INFO', '')}/".startswith(middleware.engineio_path)
