"""Sessions of other libraries: Flask's cookie as Flask itself signs it, and a library that keeps records in a dict."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import TimestampSigner

from wsgi_session.errors import StoreUnavailable
from wsgi_session.moving import Foreign, Reader

#: The secret key of the other library.
KEY = "the key of the application before"


def flask_cookie(data: dict[str, Any], at: float, key: str = KEY) -> str:
    """Return the value of the cookie that a Flask application sets at the time ``at``."""

    class Signer(TimestampSigner):
        def get_timestamp(self) -> int:
            return int(at)

    app = Flask("before")
    app.secret_key = key
    serializer = SecureCookieSessionInterface().get_signing_serializer(app)
    assert serializer is not None
    serializer.signer = Signer
    value: str = serializer.dumps(data)
    return value


class OldLibrary(Reader):
    """Keeps sessions under ids, which are the values of its cookie ``old``."""

    name = "old"

    def __init__(self, **options: Any) -> None:
        super().__init__("old", **options)
        self.records: dict[str, Foreign] = {}
        #: What to run, once, before the next call of ``load`` or ``delete``, or after it.
        self.before: dict[str, Callable[[], object]] = {}
        self.after: dict[str, Callable[[], object]] = {}
        self.is_down = False
        self.calls: list[str] = []

    def load(self, session_id: str, now: float) -> Foreign | None:
        return self._call("load", lambda: self.records.get(session_id))

    def delete(self, session_id: str) -> None:
        self._call("delete", lambda: self.records.pop(session_id, None))

    def session_ids(self) -> Iterator[str]:
        yield from self.records

    def _call(self, name: str, work: Callable[[], Foreign | None]) -> Foreign | None:
        self.calls.append(name)
        self.before.pop(name, int)()
        if self.is_down:
            raise StoreUnavailable("the old store does not answer")
        result = work()
        self.after.pop(name, int)()
        return result
