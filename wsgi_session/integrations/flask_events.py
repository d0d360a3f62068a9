"""Flask-SocketIO with ``manage_session=False``: each event has a session of its own.

Flask-SocketIO runs all events of a client in the environ of the request that connected it. That request is over, or is
the websocket itself, and no answer to it can carry a cookie. So an event reads what is stored at that moment, under the
token that the client connected with, and what it changes is saved when its handler returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask

from wsgi_session.errors import HeadersAlreadySent
from wsgi_session.integrations.flask_session import FlaskSession
from wsgi_session.request.work import Draft
from wsgi_session.session import Session


class EventSession(FlaskSession):
    """``flask.session`` in an event. A stored session can be changed and ended, and no other can be made.

    What is written without one is dropped, with the event ``dropped``; what changes the token (``login``, ``rotate``)
    raises ``HeadersAlreadySent``.
    """

    def destroy(self) -> None:
        super().destroy()
        self._keep_nothing_new(self._writing())

    def _look(self) -> Draft:
        # Not FlaskSession's: whether the cookie outlives the browser is nothing that can be said here.
        draft = Session._look(self)
        draft.late = True
        self._keep_nothing_new(draft)
        return draft

    def _keep_nothing_new(self, draft: Draft) -> None:
        draft.dead = draft.record is None

    def _writing(self, *, cookie: bool = False) -> Draft:
        if cookie:
            raise HeadersAlreadySent(
                "this change needs a cookie, and an event of Flask-SocketIO has no answer to send it with: make it in "
                "an HTTP request, and let the client connect again."
            )
        return super()._writing()


def is_event(app: Flask, environ: Mapping[str, Any]) -> bool:
    """Whether it is Flask-SocketIO that opens the session: its own paths never reach the views."""
    middleware = getattr(app.extensions.get("socketio"), "sockio_mw", None)
    # With a slash, as its test client connects to the path without.
    return middleware is not None and f"{environ.get('PATH_INFO', '')}/".startswith(middleware.engineio_path)
