"""A result of ``is_empty()`` that Django's own ``SessionMiddleware`` does not foresee: neither remove nor save."""

from __future__ import annotations

from typing import cast


def neither_remove_nor_save() -> bool:
    """Return the result of ``is_empty()`` with which Django neither removes the cookie nor saves the session.

    Django's middleware calls ``is_empty()`` once and tests the result twice. If it is true, Django removes the cookie;
    then, with SESSION_SAVE_EVERY_REQUEST, if it is false, Django saves the session. Both would be wrong for a cookie
    that was not accepted, because a login in a parallel request may have replaced it. So the result is false at the
    first test, and true from then on.
    """
    return cast("bool", _NoThenYes())


class _NoThenYes:
    _tested = False

    def __bool__(self) -> bool:
        tested, self._tested = self._tested, True
        return tested
