"""Every error of this package: one root, each with its data as attributes.

The message says what was given, what is wanted, and what to write. No message, and no attribute, ever holds a token or
a secret (CVE-2023-20866, CVE-2022-24757).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class SessionError(Exception):
    """The root: ``except SessionError`` catches all that this package raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own gives back the message only, and most of ours ask for their data too: one that was raised in a
        # worker process would break the pool that hands it over.
        return _again, (type(self), self.args, self.__dict__)


def _again(kind: type[SessionError], args: tuple[object, ...], data: dict[str, Any]) -> SessionError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(data)
    return error


class ConfigError(SessionError, ValueError):
    """An option, a URL or a call that cannot work as given; raised at construction wherever that is possible."""


class SessionMissing(SessionError):
    """There is no session in this request: the application is not wrapped by ``SessionMiddleware``."""

    def __init__(self, message: str, *, key: str) -> None:
        super().__init__(message)
        #: The environ key that was looked at.
        self.key = key


class SessionGone(SessionError):
    """The session ended (logout, revocation, rotation, expiry) before ``atomic`` could save: nothing was saved."""

    def __init__(self, message: str, *, handle: str | None = None) -> None:
        super().__init__(message)
        #: The public name of the session that is gone, where it had one.
        self.handle = handle


class StoreUnavailable(SessionError):
    """The store's engine failed: a connection, a time-out, a full disk. The cause is chained.

    Not a logout: the visitor keeps the cookie, and the middleware answers 503 with ``Retry-After``.
    """

    def __init__(self, message: str, *, retry_after: int = 5, answer_lost: bool = False) -> None:
        super().__init__(message)
        #: Seconds after which the client may try again: goes out as ``Retry-After``.
        self.retry_after = retry_after
        #: True if the engine may have applied the write all the same: the connection broke after it was sent. The
        #: session then sends the very same write once more, and knows its own by the record's version.
        self.answer_lost = answer_lost


class SessionTooLarge(SessionError):
    """The session's data is over ``max_size``: nothing was saved, the stored record is as it was."""

    def __init__(self, message: str, *, size: int, limit: int, largest: Sequence[tuple[str, int]] = ()) -> None:
        super().__init__(message)
        #: Bytes that the data would take; of a value that was refused before it was packed, one more than ``limit``.
        self.size = size
        #: Bytes that it may take.
        self.limit = limit
        #: The largest keys, each with its bytes, largest first.
        self.largest = tuple(largest)


class UnsupportedValue(SessionError, TypeError):
    """A value that a session cannot keep, named by the path to it: ``cart[3].price: Money``."""

    def __init__(self, message: str, *, path: str) -> None:
        super().__init__(message)
        #: Where in the session the value stands: ``cart[3].price``.
        self.path = path


class HeadersAlreadySent(SessionError):
    """A change came too late: it needs a cookie, and the response's headers are out, or the response is closed."""


class Unsupported(SessionError):
    """This store does not offer what was asked for."""

    def __init__(self, message: str, *, operation: str) -> None:
        super().__init__(message)
        #: What was asked for: ``"count"``.
        self.operation = operation


class KeyExists(SessionError):
    """``create`` or ``rotate`` met a live record under the new key; the record is untouched. Draw another token."""
