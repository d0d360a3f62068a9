"""A signal handler's own ``TimeoutError``, which is an ``OSError`` as well, and no failure of the system's."""

from __future__ import annotations


def raise_time_limit(error: BaseException) -> None:
    """Raise ``error`` again if it is the time limit of a signal handler: the caller of the store waits for it.

    What the operating system reports has a number.
    """
    if isinstance(error, TimeoutError) and error.errno is None:
        raise error
