"""Distinguish a signal handler's own ``TimeoutError`` from one that the operating system reports."""

from __future__ import annotations


def raise_time_limit(error: BaseException) -> None:
    """Raise ``error`` again if a signal handler raised it as a time limit: the caller of the store must receive it.

    An error that the operating system reports has an ``errno``.
    """
    if isinstance(error, TimeoutError) and error.errno is None:
        raise error
