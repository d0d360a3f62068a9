"""An answer to Django's own ``SessionMiddleware`` that it does not provide for."""

from __future__ import annotations

from typing import cast


def leave_alone() -> bool:
    """Return what ``is_empty()`` answers where Django is neither to remove the cookie nor to save the session.

    Django's middleware asks once and tests the answer twice: "is it empty, so that I remove the cookie?", then, with
    SESSION_SAVE_EVERY_REQUEST, "is it not empty, so that I save it?". For a cookie that opens nothing both are wrong:
    a login in a parallel request may have replaced it in the browser. So the answer is no, and from then on yes.
    """
    return cast("bool", _NoThenYes())


class _NoThenYes:
    _tested = False

    def __bool__(self) -> bool:
        tested, self._tested = self._tested, True
        return tested
