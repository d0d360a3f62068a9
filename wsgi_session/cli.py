"""The commands of ``python -m wsgi_session``: each opens a store by its URL, does one thing, and says what it did.

Results go to stdout, progress and errors to stderr. Exit code 0: done; 1: the store or the URL, in one line; 2: wrong
usage; 130: stopped by Ctrl-C.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import click

from wsgi_session.config.keygen import new_secret
from wsgi_session.config.secrets import HiddenText
from wsgi_session.errors import ConfigError, SessionError, StoreUnavailable, Unsupported
from wsgi_session.stores.contract import Counts, Scans, Store, Sweeps
from wsgi_session.stores.migrating.moving import move_all
from wsgi_session.stores.migrating.store import MigratingStore
from wsgi_session.stores.migrating.urls import inner_urls
from wsgi_session.stores.sqlite.store import SQLiteStore
from wsgi_session.stores.unsupported import unsupported
from wsgi_session.stores.urls.opening import open_store
from wsgi_session.stores.urls.parts import redact_urls

#: Small enough that no engine holds a lock for long, large enough that the round trips do not count.
BATCH = 1000


def hide(context: click.Context, parameter: click.Parameter, url: Any) -> HiddenText:
    """Keep the password in a URL out of tracebacks that show local variables."""
    return HiddenText(url)


# From the environment where it is not given, under the name that SessionMiddleware.from_environ reads too: what stands
# on a command line, a password included, every user of the machine can see.
store_url = click.argument("url", envvar="WSGI_SESSION_STORE", callback=hide)


@runtime_checkable
class HasTables(Protocol):
    """A store that needs something made in its engine first."""

    def init(self) -> None:
        """Make it, unless it is there."""

    def ddl(self) -> str:
        """Return the SQL that makes it."""

    def make_no_tables(self) -> None:
        """Leave it to ``init``: first use makes nothing."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="wsgi-session", message="wsgi-session %(version)s")
def cli() -> None:
    """Make a secret, look after a session store.

    URL is what SessionMiddleware takes as its store, such as sqlite:///sessions.db; it may stand in the environment
    variable WSGI_SESSION_STORE instead.
    """


@cli.command()
def keygen() -> None:
    """Print a fresh secret for SessionMiddleware."""
    click.echo(new_secret())


@cli.command()
@store_url
@click.option("--sql", is_flag=True, help="Print the SQL for it instead, for a migration; connects to nothing.")
def init(url: str, sql: bool) -> None:
    """Make the tables that a SQL store needs, unless they are there."""
    with opened(url, may_be_new=True) as store:
        with_tables = [part for part in parts_of(store) if isinstance(part, HasTables)]
        if not with_tables:
            if sql:
                raise Unsupported(f"{type(store).__name__} has no tables to be made.", operation="init --sql")
            # No mistake: what sets a site up says the same for every store.
            names = " and ".join(dict.fromkeys(type(part).__name__ for part in parts_of(store)))
            click.echo(f"ok, no tables are to be made for {names}")
            return
        for part in with_tables:
            if sql:
                click.echo(part.ddl(), nl=False)
            else:
                part.init()
        if not sql:
            click.echo("ok, the tables are there")


@cli.command()
@store_url
def ping(url: str) -> None:
    """Tell whether the store answers and can be written to."""
    with opened(url) as store:
        started = time.perf_counter()
        store.ping()
        click.echo(f"ok, {(time.perf_counter() - started) * 1000:.1f} ms")


@cli.command()
@store_url
@click.option("--namespace", metavar="NAME", help="Only sessions of the middleware with this cookie name.")
def stats(url: str, namespace: str | None) -> None:
    """Print how many sessions are alive.

    Where the engine cannot count by itself (Redis), every session is looked at.
    """
    with opened(url) as store:
        live = sum(count_live(part, namespace) for part in parts_of(store))
        click.echo(f"live sessions: {live}")


def count_live(store: Store, namespace: str | None) -> int:
    """Count the live sessions of ``namespace`` (``None``: all)."""
    if isinstance(store, Counts):
        return store.count(time.time(), namespace)
    if isinstance(store, Scans):
        click.echo(f"{type(store).__name__} cannot count: looking at every session.", err=True)
        return count_by_scan(store, namespace)
    raise unsupported(store, "count")


def count_by_scan(store: Scans, namespace: str | None) -> int:
    """Count the sessions of ``namespace`` (``None``: all) one by one."""
    live = 0
    for looked, (_, record) in enumerate(store.scan(time.time()), 1):
        live += namespace is None or record.namespace == namespace
        if looked % BATCH == 0:
            show_progress(f"{looked} looked at ...")
    show_progress("")
    return live


@cli.command()
@store_url
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Remove at most N.")
def sweep(url: str, limit: int | None) -> None:
    """Remove sessions that expired more than an hour ago, a batch at a time.

    Safe beside a running site, and safe to stop: every batch is done when it is done.
    """
    with opened(url) as store:
        if not any(isinstance(part, Sweeps) for part in parts_of(store)):
            raise unsupported(parts_of(store)[0], "sweep")
        assert isinstance(store, Sweeps)  # A MigratingStore is one whatever its parts are.
        removed = 0
        try:
            for batch in sweep_batches(store, limit):
                removed += batch
                show_progress(f"{removed} removed ...")
        except KeyboardInterrupt:
            show_progress("")
            click.echo(f"Stopped: {removed} expired sessions removed so far. Run it again to go on.", err=True)
            sys.exit(130)
        except SessionError:
            show_progress("")
            click.echo(f"Failed after {removed} expired sessions were removed.", err=True)
            raise
        show_progress("")
        click.echo(f"expired sessions removed: {removed}")


@cli.command()
@click.argument("old", callback=hide)
@click.argument("new", callback=hide)
def copy(old: str, new: str) -> None:
    """Move every live session from the store OLD to the store NEW.

    For a site all of whose processes serve from migrating://move?old=OLD&new=NEW meanwhile: nobody is logged out, and
    nobody who logs out comes back. Safe to stop: the next run continues with the sessions that are left.
    """
    # Either store's failure may quote its URL: both passwords are kept out of every message.
    with answering(old, new), reachable(old) as source, reachable(new, may_be_new=True) as target:
        MigratingStore(target, source)  # Refuses what cannot be moved to or from.
        moved = 0
        length = source.count(time.time()) if isinstance(source, Counts) else None
        try:
            with click.progressbar(
                move_all(source, target, time.time), length=length, label="Moving sessions", file=sys.stderr
            ) as moves:
                for has_moved in moves:
                    moved += has_moved
        except KeyboardInterrupt:
            click.echo(f"Stopped: {moved} sessions moved so far. Run it again to go on.", err=True)
            sys.exit(130)
        except StoreUnavailable:
            click.echo(f"Failed after {moved} sessions were moved. Run it again to go on.", err=True)
            raise
        click.echo(f"sessions moved: {moved}")


def sweep_batches(store: Sweeps, limit: int | None) -> Iterator[int]:
    """Yield how many records went in each batch, until none is left or ``limit`` have gone."""
    left = limit
    while left is None or left > 0:
        size = BATCH if left is None else min(BATCH, left)
        removed = store.sweep(size, time.time())
        if removed == 0:
            return
        yield removed
        if left is not None:
            left -= removed


@contextmanager
def opened(url: str, *, may_be_new: bool = False) -> Iterator[Store]:
    """Open the store that ``url`` names, and answer as :func:`answering` does."""
    with answering(url), reachable(url, may_be_new=may_be_new) as store:
        yield store


@contextmanager
def answering(*urls: str) -> Iterator[None]:
    """Make one line on stderr and exit code 1 of whatever this package raises.

    Of what anything else raises (a bug, a store that somebody has published) the traceback is printed. Neither shows a
    password of ``urls``.
    """
    hidden = [given for url in urls for given in (url, *inner_urls(url))]
    try:
        yield
    except SessionError as error:
        raise click.ClickException(redact_urls(str(error), hidden)) from error
    except BrokenPipeError:
        # Whoever read the output has gone: click ends without a word.
        raise
    except KeyboardInterrupt:
        # click's own answer to it is 1, which is the store's.
        click.echo("Stopped.", err=True)
        sys.exit(130)
    except Exception:
        click.echo(redact_urls(traceback.format_exc(), hidden), err=True, nl=False)
        sys.exit(1)


@contextmanager
def reachable(url: str, *, may_be_new: bool = False) -> Iterator[Store]:
    """Open the store that ``url`` names, unless no command can share it with the site."""
    with open_store(url) as store:
        check_reachable(store, may_be_new=may_be_new)
        yield store


def check_reachable(store: Store, *, may_be_new: bool = False) -> None:
    """Refuse a store that this process cannot share with the one that serves the site."""
    if not store.multiprocess:
        raise Unsupported(
            f"{type(store).__name__} lives inside the process that serves the site, where no command can reach it: "
            "ask middleware.sessions there.",
            operation="open",
        )
    if may_be_new:
        return
    # Opening would make the file, or the tables, as whoever runs the command (root, often), and the site could not use
    # them then.
    for part in parts_of(store):
        if isinstance(part, SQLiteStore) and not os.path.exists(part.path):
            raise ConfigError(f"{part.path}: there is no such file. The site makes it with its first session.")
        if isinstance(part, HasTables):
            part.make_no_tables()


def parts_of(store: Store) -> Sequence[Store]:
    """Return the two stores of a MigratingStore, else ``store`` itself."""
    return store.stores if isinstance(store, MigratingStore) else (store,)


def show_progress(line: str) -> None:
    """Show ``line`` in place of the last one, on a terminal; nowhere else."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{line}", nl=False, err=True)
