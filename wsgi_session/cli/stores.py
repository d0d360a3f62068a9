"""The commands that make a secret, and that look after a store as a whole."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator

import click

from wsgi_session.backends.server import token_credential
from wsgi_session.cli.encrypted import warn_if_encrypted, with_encryption
from wsgi_session.cli.group import cli
from wsgi_session.cli.naming import COOKIE_NAME, namespace_options
from wsgi_session.cli.opening import (
    counting,
    hide_url,
    opened,
    parts_of,
    reachable,
    reporting_errors,
    show_progress,
    store_url,
)
from wsgi_session.config.keygen import new_secret
from wsgi_session.errors import StoreUnavailable, Unsupported
from wsgi_session.integrations.django_keys import SessionKeys
from wsgi_session.moving import DjangoSessions
from wsgi_session.moving.advance import ADOPTED, adopt_all, load_adopt, settings_of
from wsgi_session.stores.contract import Counts, Scans, Store, Sweeps
from wsgi_session.stores.migrating.moving import move_all
from wsgi_session.stores.migrating.store import MigratingStore
from wsgi_session.stores.tables import HasTables
from wsgi_session.stores.unsupported import unsupported

#: Records per batch: few enough that no engine holds a lock for long, enough that the round trips cost little.
BATCH = 1000


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
@namespace_options("Count only sessions of the middleware with this cookie name.", default=None)
def stats(url: str, namespace: str | None) -> None:
    """Print the number of live sessions.

    Without --cookie-name, this includes records that are no sessions: unfinished logins at other sites
    (begin_transaction), and one for each login with provider_session.

    Redis reads the head of every session for this. For a third-party store that cannot count, the command reads every
    session.
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
        with counting("expired sessions", "removed") as show:
            for batch in sweep_batches(store, limit):
                removed += batch
                show(removed)
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
@click.option("--django/--no-django", default=None, help="Whether the site itself runs on Django.")
@click.option("--namespace", metavar="NAME", help="The site's cookie_name.  [default: sid; sessionid with --django]")
@click.option("--idle-timeout", default="30d", show_default=True, metavar="TIME", help="That of the site.")
@click.option("--absolute-timeout", default="90d", show_default=True, metavar="TIME", help="That of the site, or none.")
@click.option("--encrypt", is_flag=True, help="The site has encrypt=True; WSGI_SESSION_SECRET has its secret.")
@click.option("--dry-run", is_flag=True, help="Write nothing; only say how many sessions would be adopted.")
def adopt(
    source: str,
    url: str,
    django: bool | None,
    namespace: str | None,
    idle_timeout: str,
    absolute_timeout: str,
    encrypt: bool,
    dry_run: bool,
) -> None:
    """Adopt every session of another library's store in advance.

    Run it just before the switch, with the site's own reader: --from shop.app:ADOPT. Old records stay until the
    visitor comes. It is safe to interrupt, and to run again.
    """
    counts: Counter[str] = Counter()
    with reporting_errors(url):
        chosen = load_adopt(source)
    if django is None and any(isinstance(reader, DjangoSessions) for reader in chosen.readers):
        raise click.UsageError("Give --django if the site itself runs on Django, otherwise --no-django.")
    with opened(url, may_be_new=True) as site_store:
        store = with_encryption(site_store) if encrypt else site_store
        settings = settings_of(namespace or ("sessionid" if django else COOKIE_NAME), idle_timeout, absolute_timeout)
        if not encrypt:
            warn_if_encrypted(site_store, settings.namespace)
        # A Django site opens only session keys of its own form.
        derive = SessionKeys(settings.namespace).derived_credential if django else token_credential
        try:
            for number, words in enumerate(adopt_all(chosen, store, settings, derive, dry_run=dry_run), 1):
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
