"""All exceptions of this package. They have one base class, and carry their details as attributes.

Each message says what was given, what is allowed and what to write. No message and no attribute contains a token or a
secret (CVE-2023-20866, CVE-2022-24757).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class SessionError(Exception):
    """The base class: ``except SessionError`` catches every error that this package raises deliberately."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception.__reduce__ keeps only the message, but most of these classes require their details as arguments:
        # without this method, an error raised in a worker process could not be unpickled, and would break the pool.
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[SessionError], args: tuple[object, ...], data: dict[str, Any]) -> SessionError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(data)
    return error


class ConfigError(SessionError, ValueError):
    """An invalid option, URL or argument. Raised at construction wherever that is possible."""


class SessionMissing(SessionError):
    """There is no session in this request: the application is not wrapped by ``SessionMiddleware``."""

    def __init__(self, message: str, *, key: str) -> None:
        super().__init__(message)
        #: The environ key at which a session was expected.
        self.key = key


class SessionGone(SessionError):
    """The session ended (by logout, revocation, rotation or expiry) before ``atomic`` could save: nothing was saved."""

    def __init__(self, message: str, *, handle: str | None = None) -> None:
        super().__init__(message)
        #: The handle of the session that ended; ``None`` if it had no handle.
        self.handle = handle


class StoreUnavailable(SessionError):
    """The store's engine failed: a connection, a timeout, a full disk. The cause is chained.

    An outage is not a logout: the visitor keeps the cookie, and the middleware answers 503 with ``Retry-After``.
    """

    def __init__(self, message: str, *, retry_after: int = 5, answer_lost: bool = False) -> None:
        super().__init__(message)
        #: Seconds after which the client may try again; sent as ``Retry-After``.
        self.retry_after = retry_after
        #: True if the connection broke after a write was sent, so that the engine may have applied it. The session then
        #: repeats the write once; the record's version shows whether it was already applied.
        self.answer_lost = answer_lost


class SessionTooLarge(SessionError):
    """The session's data exceeds ``max_size``. Nothing was saved; the stored record is unchanged."""

    def __init__(self, message: str, *, size: int, limit: int, largest: Sequence[tuple[str, int]] = ()) -> None:
        super().__init__(message)
        #: Bytes that the data would take; if a value was refused before it was packed, ``limit`` plus one.
        self.size = size
        #: The limit in bytes (``max_size``).
        self.limit = limit
        #: The largest keys, as pairs of key and size in bytes, largest first.
        self.largest = tuple(largest)


class UnsupportedValue(SessionError, TypeError):
    """A session cannot store a value of this type. The message names the path to it: ``cart[3].price: Money``."""

    def __init__(self, message: str, *, path: str) -> None:
        super().__init__(message)
        #: The path to the value in the session: ``cart[3].price``.
        self.path = path


class HeadersAlreadySent(SessionError):
    """A change came too late: it needs a cookie but the headers have been sent, or the response is closed."""


class Unsupported(SessionError):
    """The store does not support the operation."""

    def __init__(self, message: str, *, operation: str) -> None:
        super().__init__(message)
        #: The operation that was called, such as ``"count"``.
        self.operation = operation


class KeyExists(SessionError):
    """``create`` or ``rotate`` found a live record under the new key, and left it unchanged. Try another key."""
