"""Open the store that a command names, and report its errors without its password."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from wsgi_session.config.secrets import HiddenText
from wsgi_session.errors import ConfigError, SessionError, Unsupported
from wsgi_session.stores.contract import Store
from wsgi_session.stores.migrating.store import MigratingStore
from wsgi_session.stores.migrating.urls import inner_urls
from wsgi_session.stores.sqlite.store import SQLiteStore
from wsgi_session.stores.tables import HasTables
from wsgi_session.stores.urls.opening import open_store
from wsgi_session.stores.urls.parts import redact_urls


def hide_url(context: click.Context, parameter: click.Parameter, url: Any) -> HiddenText:
    """Keep the password in a URL out of tracebacks that show local variables."""
    return HiddenText(url)


# If no URL is given, it is read from the variable that SessionMiddleware.from_environ uses too. Every user of the
# machine can see a command line, including a password in it.
store_url = click.argument("url", envvar="WSGI_SESSION_STORE", callback=hide_url)


@contextmanager
def opened(url: str, *, may_be_new: bool = False) -> Iterator[Store]:
    """Open the store that ``url`` names, and report errors as :func:`reporting_errors` does."""
    with reporting_errors(url), reachable(url, may_be_new=may_be_new) as store:
        yield store


@contextmanager
def reporting_errors(*urls: str) -> Iterator[None]:
    """Report an error on stderr, and exit with code 1.

    An error of this package is reported in one line, any other one (a bug, or an error of a third-party store) with its
    traceback. Neither contains a password of ``urls``.
    """
    hidden = [given for url in urls for given in (url, *inner_urls(url))]
    try:
        yield
    except SessionError as error:
        raise click.ClickException(redact_urls(str(error), hidden)) from error
    except BrokenPipeError:
        # The reader of the output has exited: click ends the command without a message.
        raise
    except KeyboardInterrupt:
        # click would exit with 1 on Ctrl-C, but here 1 means that the store failed.
        click.echo("Stopped.", err=True)
        sys.exit(130)
    except Exception:
        click.echo(redact_urls(traceback.format_exc(), hidden), err=True, nl=False)
        sys.exit(1)


@contextmanager
def reachable(url: str, *, may_be_new: bool = False) -> Iterator[Store]:
    """Open the store that ``url`` names, and check it with :func:`check_reachable`."""
    with open_store(url) as store:
        check_reachable(store, may_be_new=may_be_new)
        yield store


def check_reachable(store: Store, *, may_be_new: bool = False) -> None:
    """Raise ``Unsupported`` if the store is inside the site's process, ``ConfigError`` if its file does not exist."""
    if not store.multiprocess:
        raise Unsupported(
            f"{type(store).__name__} lives inside the process that serves the site, so no command can reach it. Use "
            "middleware.sessions in that process.",
            operation="open",
        )
    if may_be_new:
        return
    # The first use would create the store's file or tables as the user who runs the command (often root), and the site
    # could then not write to them.
    for part in parts_of(store):
        if isinstance(part, SQLiteStore) and not os.path.exists(part.path):
            raise ConfigError(f"{part.path} does not exist. The site creates it with its first session.")
        if isinstance(part, HasTables):
            part.make_no_tables()


def parts_of(store: Store) -> Sequence[Store]:
    """Return the two stores of a MigratingStore, or ``store`` itself."""
    return store.stores if isinstance(store, MigratingStore) else (store,)


@contextmanager
def counting(what: str, done: str) -> Iterator[Callable[[int], None]]:
    """Yield a function that shows on stderr how many of ``what`` are ``done``: ``counting("sessions", "ended")``.

    If the store fails, or on Ctrl-C, which exits with 130, say how many were done until then.
    """
    number = 0

    def show(count: int) -> None:
        nonlocal number
        number = count
        show_progress(f"{count} {done} ...")

    try:
        yield show
    except KeyboardInterrupt:
        show_progress("")
        click.echo(f"Stopped: {number} {what} {done} so far. Run it again to continue.", err=True)
        sys.exit(130)
    except SessionError:
        show_progress("")
        click.echo(f"Failed after {number} {what} were {done}.", err=True)
        raise
    show_progress("")


def show_progress(line: str) -> None:
    """Replace the progress line with ``line``, if stderr is a terminal."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{line}", nl=False, err=True)
