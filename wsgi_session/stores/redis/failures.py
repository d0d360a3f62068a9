"""The exceptions of a failing Redis, and how to show them without a password."""

from __future__ import annotations

from collections.abc import Iterable

from redis.exceptions import RedisError

from wsgi_session.stores.urls.parts import redact_passwords

#: The exceptions that a failing server, network or login raises.
FAILURES = (RedisError, OSError)


def without_passwords(error: BaseException, passwords: Iterable[str | None]) -> BaseException:
    """Return ``error``, or a replacement without ``passwords``: a server without AUTH quotes the arguments of AUTH.

    A traceback also shows the causes of an error. If one of them contains a password, the replacement has no cause.
    """
    given = tuple(filter(None, passwords))
    link: BaseException | None = error
    while link is not None:
        shown = redact_passwords(str(link), given)
        if shown != str(link):
            return RedisError(redact_passwords(str(error), given))
        link = link.__cause__ or link.__context__
    return error
