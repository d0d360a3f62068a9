"""What a failing Redis raises, and how it is told without a password."""

from __future__ import annotations

from collections.abc import Iterable

from redis.exceptions import RedisError

from wsgi_session.stores.urls.parts import blot_passwords

#: What a failing server, network or login raises.
FAILURES = (RedisError, OSError)


def without_passwords(error: BaseException, passwords: Iterable[str | None]) -> BaseException:
    """Return ``error``, or one that may be shown in its place: a server without AUTH quotes what came with it.

    A traceback shows the errors behind it as well: if one of them has a password in it, none of them is kept.
    """
    given = tuple(filter(None, passwords))
    link: BaseException | None = error
    while link is not None:
        shown = blot_passwords(str(link), given)
        if shown != str(link):
            return RedisError(blot_passwords(str(error), given))
        link = link.__cause__ or link.__context__
    return error
