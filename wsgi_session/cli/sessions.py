"""The commands for single sessions: list, show and end them. They print handles, owners and times, never the data.

They need only the store's URL and the name of the cookie; if the site encrypts its sessions, also its secret to show
their owners (see ``encrypted.py``).
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import click

from wsgi_session.backends.revocation import (
    Listing,
    end_existing,
    end_listed,
    every_session,
    listing_of_everyone,
    listing_of_owner,
)
from wsgi_session.cli.display import describe, find_damage, print_session, text_of
from wsgi_session.cli.encrypted import Unsealer
from wsgi_session.cli.group import cli
from wsgi_session.cli.naming import namespace_options
from wsgi_session.cli.opening import counting, hide_url, opened, show_progress, store_url
from wsgi_session.cookies.tokens import owner_key
from wsgi_session.errors import SessionError, SessionGone
from wsgi_session.moving.markers import NEVER
from wsgi_session.moving.revoked import revoke as revoke_not_adopted
from wsgi_session.owner import check_owner
from wsgi_session.stores.contract import ListsOwners, OwnedSession, Record, Scans, Store
from wsgi_session.stores.unsupported import unsupported

NOTHING_FOUND = (
    "No session was found. If the site's cookie has another name (in Flask session, in Django sessionid), give it with "
    "--cookie-name; if the site has tenants, give --tenant."
)
#: How many sessions are read between two updates of the progress line.
STEP = 1000

cookie_name = namespace_options("The cookie_name of the middleware.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON: one object in each line.")
dry_run_option = click.option("--dry-run", is_flag=True, help="End nothing; print what would be ended.")
anonymous_option = click.option("--anonymous", is_flag=True, help="Include visitors who are not logged in.")
not_adopted_option = click.option(
    "--not-adopted",
    is_flag=True,
    help="For a site with adopt=: also keep older sessions of the other library from being adopted.",
)
# The beginning of a URL. (An owner may look like one.)
_URL = re.compile(r"(?!id:|email:)[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# A handle can begin with "-", or even with "-h".
_HANDLE_SETTINGS: dict[str, Any] = {"ignore_unknown_options": True, "help_option_names": ["--help"]}


def url_and(operand: str, check: Callable[[str], str] = str) -> Callable[[Any], Any]:
    """Return a decorator that adds the arguments ``[URL] OPERAND``; the command gets both as ``given``."""

    def parse(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, str] | None:
        *urls, last = given or ("",)
        url = urls[0] if urls else os.environ.get("WSGI_SESSION_STORE")
        # A URL alone must not pass for the operand: messages about that would show the password in it.
        if len(urls) > 1 or not url or not last or _URL.match(last):
            raise click.UsageError(f"Give URL {operand}; or set WSGI_SESSION_STORE, and give {operand}.", context)
        return hide_url(context, parameter, url), check(last)

    return click.argument("given", nargs=-1, metavar=f"[URL] {operand}", callback=parse)


def owner_argument(owner: str) -> str:
    """Return ``owner``, or raise the error for wrong usage."""
    try:
        return check_owner(owner)
    except SessionError as error:
        raise click.UsageError(str(error)) from error


@cli.command("list")
@store_url
@cookie_name
@click.option("--user", metavar="OWNER", help="Only this user's, such as id:5 or email:ann@example.com.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Print at most N.")
@anonymous_option
@json_option
def list_sessions(
    url: str, namespace: str, user: str | None, limit: int | None, anonymous: bool, as_json: bool
) -> None:
    """Print the live sessions of logged-in users: handle, login, last activity and expiry (UTC), and owner."""
    key = None if user is None else owner_key(namespace, owner_argument(user))
    with opened(url) as store:
        found, unsealer = sessions_of(store, namespace), Unsealer()
        chosen = (one for one in found if (one[1].owner == key if key else anonymous or one[1].owner is not None))
        for its_key, record in islice(chosen, limit):
            print_session(describe(unsealer.open(its_key, record)), as_json)
        unsealer.report()


@cli.command(context_settings=_HANDLE_SETTINGS)
@url_and("HANDLE")
@cookie_name
@json_option
def show(given: tuple[str, str], namespace: str, as_json: bool) -> None:
    """Print one session, with the size of its data in bytes."""
    url, handle = given
    with opened(url) as store:
        unsealer = Unsealer()
        record = unsealer.open(*find(store, namespace, handle))
        unsealer.report()
        data: object = record.data  # SQLite stores any type in any column.
        size = len(data) if isinstance(data, (bytes, str)) else None
        shown = {**describe(record), "persistent": record.persistent, "size": size}
        if as_json:
            print_session(shown, as_json)
            return
        for name, value in shown.items():
            click.echo(f"{name + ':':12}{text_of(value)}")


@cli.command(context_settings=_HANDLE_SETTINGS)
@url_and("HANDLE")
@cookie_name
@dry_run_option
@json_option
def revoke(given: tuple[str, str], namespace: str, dry_run: bool, as_json: bool) -> None:
    """End one session. This reads every session of the store to find it."""
    url, handle = given
    with opened(url) as store:
        owner = find(store, namespace, handle)[1].owner
        if owner is not None and isinstance(store, ListsOwners):
            listing = listing_of_owner(store, owner)
        else:
            listing = listing_of_everyone(scannable(store), namespace)
        end(store, listing, dry_run, as_json, lambda session: session.handle == handle)


@cli.command("revoke-user")
@url_and("OWNER", owner_argument)
@cookie_name
@not_adopted_option
@dry_run_option
@json_option
def revoke_user(given: tuple[str, str], namespace: str, not_adopted: bool, dry_run: bool, as_json: bool) -> None:
    """End every session of a user. OWNER is such as id:5 or email:ann@example.com."""
    url, owner = given
    key = owner_key(namespace, owner)
    with opened(url) as store:
        if not isinstance(store, ListsOwners):
            raise unsupported(store, "revoke-user")
        if not_adopted and not dry_run:
            revoke_foreign(store, namespace, key)
        end(store, listing_of_owner(store, key), dry_run, as_json)


@cli.command("revoke-everyone")
@store_url
@cookie_name
@anonymous_option
@not_adopted_option
@dry_run_option
@json_option
def revoke_everyone(url: str, namespace: str, anonymous: bool, not_adopted: bool, dry_run: bool, as_json: bool) -> None:
    """End the sessions of all users."""
    with opened(url) as store:
        if not_adopted and not dry_run:
            revoke_foreign(store, namespace, None, anonymous=anonymous)
        end(store, listing_of_everyone(scannable(store), namespace, anonymous=anonymous), dry_run, as_json)


@cli.command()
@store_url
@cookie_name
@json_option
def broken(url: str, namespace: str, as_json: bool) -> None:
    """Print the sessions whose data cannot be read, and why. To their visitors they look expired; revoke ends one."""
    with opened(url) as store:
        unsealer = Unsealer()
        for key, stored in sessions_of(store, namespace):
            record = unsealer.open(key, stored)
            if reason := find_damage(record, namespace):
                print_session({**describe(record), "reason": reason}, as_json)
        unsealer.report()


def end(
    store: Store,
    listing: Listing,
    dry_run: bool,
    as_json: bool,
    should_end: Callable[[OwnedSession], bool] | None = None,
) -> None:
    """End the sessions of ``listing`` (all that exist, or those that ``should_end`` picks), and print how many.

    If there is none, ask on stderr for the cookie's name: with a wrong one, a user would stay logged in unnoticed.
    """
    called = time.time()
    if dry_run:
        number = sum(should_end is None or should_end(session) for session in listing.live_at(called))
        click.echo(json.dumps({"would_end": number}) if as_json else f"sessions that would be ended: {number}")
        if not number:
            click.echo(NOTHING_FOUND, err=True)
        return
    with counting("sessions", "ended") as show:
        if should_end is None:
            total = end_existing(store, listing, called, set(), show)
        else:
            total = end_listed(store, listing, called, should_end, show)
    click.echo(json.dumps({"ended": total}) if as_json else f"sessions ended: {total}")
    if not total:
        click.echo(NOTHING_FOUND, err=True)


def revoke_foreign(store: Store, namespace: str, owner: bytes | None, *, anonymous: bool = False) -> None:
    """Keep foreign sessions that began before now from being adopted: those of ``owner``, or of all users."""
    now = time.time()
    revoke_not_adopted(store, namespace, owner, now, now + NEVER, anonymous=anonymous)


def scannable(store: Store) -> Scans:
    """Return ``store``, or raise ``Unsupported`` if its sessions cannot be read one after the other."""
    if not isinstance(store, Scans):
        raise unsupported(store, "scan")
    return store


def sessions_of(store: Store, namespace: str) -> Iterator[tuple[bytes, Record]]:
    """Yield key and record of the live sessions of ``namespace``, and show how many were read."""
    for number, found in enumerate(every_session(scannable(store), namespace, time.time()), 1):
        if number % STEP == 0 and not sys.stdout.isatty():
            show_progress(f"{number} read ...")
        yield found
    show_progress("")


def find(store: Store, namespace: str, handle: str) -> tuple[bytes, Record]:
    """Return key and record of the live session with this handle, or raise ``SessionGone``."""
    for key, record in sessions_of(store, namespace):
        if record.handle == handle:
            show_progress("")
            return key, record
    raise SessionGone(f"No live session with the cookie name {namespace!r} has the handle {handle!r}.", handle=handle)
