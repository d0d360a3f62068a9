"""The commands of ``python -m wsgi_session``. All but ``keygen`` open a store by its URL.

Results go to stdout, progress and errors to stderr. The exit codes: 0, success; 1, the store or its URL failed (stderr
says why in one line); 2, wrong usage; 130, interrupted with Ctrl-C.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from wsgi_session.config.keygen import new_secret
from wsgi_session.config.secrets import HiddenText
from wsgi_session.errors import ConfigError, SessionError, StoreUnavailable, Unsupported
from wsgi_session.moving.advance import ADOPTED, adopt_all, load_adopt, settings_of
from wsgi_session.stores.contract import Counts, Scans, Store, Sweeps
from wsgi_session.stores.migrating.moving import move_all
from wsgi_session.stores.migrating.store import MigratingStore
from wsgi_session.stores.migrating.urls import inner_urls
from wsgi_session.stores.sqlite.store import SQLiteStore
from wsgi_session.stores.tables import HasTables
from wsgi_session.stores.unsupported import unsupported
from wsgi_session.stores.urls.opening import open_store
from wsgi_session.stores.urls.parts import redact_urls

#: Records per batch: few enough that no engine holds a lock for long, enough that the round trips cost little.
BATCH = 1000


def hide_url(context: click.Context, parameter: click.Parameter, url: Any) -> HiddenText:
    """Keep the password in a URL out of tracebacks that show local variables."""
    return HiddenText(url)


# If no URL is given, it is read from the variable that SessionMiddleware.from_environ uses too. Every user of the
# machine can see a command line, including a password in it.
store_url = click.argument("url", envvar="WSGI_SESSION_STORE", callback=hide_url)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="wsgi-session", message="wsgi-session %(version)s")
def cli() -> None:
    """Generate a secret, and maintain a session store.

    URL is the store's URL, as given to SessionMiddleware, such as sqlite:///sessions.db. If you leave it out, it is
    read from the environment variable WSGI_SESSION_STORE.
    """


@cli.command()
def keygen() -> None:
    """Print a new secret for SessionMiddleware."""
    click.echo(new_secret())


@cli.command()
@store_url
@click.option("--sql", is_flag=True, help="Print the SQL for a migration, without connecting to the store.")
def init(url: str, sql: bool) -> None:
    """Create the tables that a SQL store needs, unless they exist."""
    with opened(url, may_be_new=True) as store:
        with_tables = [part for part in parts_of(store) if isinstance(part, HasTables)]
        if not with_tables:
            if sql:
                raise Unsupported(f"{type(store).__name__} needs no tables.", operation="init --sql")
            # Not an error: a deployment script can run ``init`` for every kind of store.
            names = " and ".join(dict.fromkeys(type(part).__name__ for part in parts_of(store)))
            click.echo(f"ok, no tables are needed for {names}")
            return
        for part in with_tables:
            if sql:
                click.echo(part.ddl(), nl=False)
            else:
                part.init()
        if not sql:
            click.echo("ok, the tables exist")


@cli.command()
@store_url
def ping(url: str) -> None:
    """Check that the store answers and accepts writes."""
    with opened(url) as store:
        started = time.perf_counter()
        store.ping()
        click.echo(f"ok, {(time.perf_counter() - started) * 1000:.1f} ms")


@cli.command()
@store_url
@click.option("--namespace", metavar="NAME", help="Count only sessions of the middleware with this cookie name.")
def stats(url: str, namespace: str | None) -> None:
    """Print the number of live sessions.

    If the engine cannot count by itself (Redis), the command reads every session.
    """
    with opened(url) as store:
        live = sum(count_live(part, namespace) for part in parts_of(store))
        click.echo(f"live sessions: {live}")


def count_live(store: Store, namespace: str | None) -> int:
    """Count the live sessions of ``namespace`` (``None``: all)."""
    if isinstance(store, Counts):
        return store.count(time.time(), namespace)
    if isinstance(store, Scans):
        click.echo(f"{type(store).__name__} cannot count: reading every session.", err=True)
        return count_by_scan(store, namespace)
    raise unsupported(store, "count")


def count_by_scan(store: Scans, namespace: str | None) -> int:
    """Count the sessions of ``namespace`` (``None``: all) one by one."""
    live = 0
    for number, (_, record) in enumerate(store.scan(time.time()), 1):
        live += namespace is None or record.namespace == namespace
        if number % BATCH == 0:
            show_progress(f"{number} read ...")
    show_progress("")
    return live


@cli.command()
@store_url
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Remove at most N.")
def sweep(url: str, limit: int | None) -> None:
    """Remove sessions that expired more than an hour ago, a batch at a time.

    It is safe to run while the site serves requests, and safe to interrupt: each batch is complete in itself.
    """
    with opened(url) as store:
        if not any(isinstance(part, Sweeps) for part in parts_of(store)):
            raise unsupported(parts_of(store)[0], "sweep")
        assert isinstance(store, Sweeps)  # A MigratingStore always has sweep(), whatever its parts are.
        removed = 0
        try:
            for batch in sweep_batches(store, limit):
                removed += batch
                show_progress(f"{removed} removed ...")
        except KeyboardInterrupt:
            show_progress("")
            click.echo(f"Stopped: {removed} expired sessions removed so far. Run it again to continue.", err=True)
            sys.exit(130)
        except SessionError:
            show_progress("")
            click.echo(f"Failed after {removed} expired sessions were removed.", err=True)
            raise
        show_progress("")
        click.echo(f"expired sessions removed: {removed}")


@cli.command()
@click.argument("old", callback=hide_url)
@click.argument("new", callback=hide_url)
def copy(old: str, new: str) -> None:
    """Move every live session from the store OLD to the store NEW.

    Before you run it, let all processes of the site use migrating://move?old=OLD&new=NEW as their store. Then no
    visitor is logged out, and no ended session comes back. It is safe to interrupt: the next run continues with the
    sessions that are left.
    """
    # An error of either store may contain its URL: both passwords are kept out of every message.
    with reporting_errors(old, new), reachable(old) as source, reachable(new, may_be_new=True) as target:
        MigratingStore(target, source)  # Raises an error if sessions cannot be moved between these two.
        moved = 0
        length = source.count(time.time()) if isinstance(source, Counts) else None
        try:
            with click.progressbar(
                move_all(source, target, time.time), length=length, label="Moving sessions", file=sys.stderr
            ) as moves:
                for has_moved in moves:
                    moved += has_moved
        except KeyboardInterrupt:
            click.echo(f"Stopped: {moved} sessions moved so far. Run it again to continue.", err=True)
            sys.exit(130)
        except StoreUnavailable:
            click.echo(f"Failed after {moved} sessions were moved. Run it again to continue.", err=True)
            raise
        click.echo(f"sessions moved: {moved}")


@cli.command()
@click.option("--from", "source", required=True, metavar="MODULE:NAME", help="What the site gives to adopt=.")
@click.option("--to", "url", required=True, envvar="WSGI_SESSION_STORE", callback=hide_url, help="The site's store.")
@click.option("--namespace", default="sid", show_default=True, metavar="NAME", help="The site's cookie_name.")
@click.option("--idle-timeout", default="30d", show_default=True, metavar="TIME", help="That of the site.")
@click.option("--absolute-timeout", default="90d", show_default=True, metavar="TIME", help="That of the site, or none.")
@click.option("--dry-run", is_flag=True, help="Write nothing; only say how many sessions would be adopted.")
def adopt(source: str, url: str, namespace: str, idle_timeout: str, absolute_timeout: str, dry_run: bool) -> None:
    """Adopt every session of another library's store in advance.

    Run it just before the switch, with the site's own reader: --from shop.app:ADOPT. Old records stay until the
    visitor comes. It is safe to interrupt, and to run again.
    """
    counts: Counter[str] = Counter()
    with opened(url, may_be_new=True) as store:
        settings = settings_of(namespace, idle_timeout, absolute_timeout)
        try:
            for number, words in enumerate(adopt_all(load_adopt(source), store, settings, dry_run=dry_run), 1):
                counts.update(words)
                if number % BATCH == 0:
                    show_progress(f"{number} read, {counts[ADOPTED]} adopted ...")
        finally:
            show_progress("")
            for word, count in counts.items():
                click.echo(f"{'would be ' if dry_run and word == ADOPTED else ''}{word}: {count}")
        if not counts:
            click.echo("no sessions found")


def sweep_batches(store: Sweeps, limit: int | None) -> Iterator[int]:
    """Yield the number of records removed in each batch, until none is left or ``limit`` have been removed."""
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


def show_progress(line: str) -> None:
    """Replace the progress line with ``line``, if stderr is a terminal."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{line}", nl=False, err=True)
