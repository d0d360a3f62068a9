"""The commands for sessions, over every store that other processes can reach: with its URL and the cookie's name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from click.testing import Result

from tests.support.cli import run
from tests.support.damage import damage
from tests.support.site import ANN, BOB, SECRET, MakeSite, Site, log_in, put
from tests.support.stores import PROCESSES, SERVER, Kind
from wsgi_session import Session
from wsgi_session.cli import opening
from wsgi_session.codec.packing import pack
from wsgi_session.stores import Store

pytestmark = pytest.mark.needs(SERVER, PROCESSES)
EVE = {"email": "eve\x1b[2J@example.com"}


@pytest.fixture(autouse=True)
def shell(kind: Kind, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the commands open the store of this test, and leave it open; and know the secret if the site encrypts."""
    if "encrypt" in kind.options:
        monkeypatch.setenv("WSGI_SESSION_SECRET", SECRET)

    @contextmanager
    def open_store(url: str) -> Iterator[Store]:
        yield store

    monkeypatch.setattr(opening, "open_store", open_store)


def handle(session: Session) -> str:
    return str(session.handle)


def objects(result: Result) -> list[Any]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def state(session: Session) -> str:
    return session.state


def test_list_prints_handle_times_and_owner_and_nothing_of_the_data(site: Site) -> None:
    ann, eve, visitor = site.browser(), site.browser(), site.browser()
    ann.do(lambda session: (log_in(ANN)(session), session.update(note="private")))
    eve.do(log_in(EVE))
    visitor.do(put(cart=["private"]))
    handles = [one.do(handle).result for one in (ann, eve, visitor)]
    result = run("list", "store://")
    assert "private" not in result.output
    assert "\x1b" not in result.output
    lines = sorted(result.stdout.splitlines(), key=lambda line: "id:1" not in line)
    times = "2033-05-18T03:33:20Z  2033-05-18T03:33:20Z  2033-06-17T03:33:20Z"
    assert lines == [f"{handles[0]}  {times}  id:1", f"{handles[1]}  {times}  'email:eve\\x1b[2J@example.com'"]
    listed = objects(run("list", "store://", "--anonymous", "--json"))
    assert {one["handle"]: one["owner"] for one in listed} == {
        handles[0]: "id:1",
        handles[1]: f"email:{EVE['email']}",
        handles[2]: None,
    }
    assert set(listed[0]) == {"handle", "created", "last_seen", "expires", "owner"}
    assert len(objects(run("list", "store://", "--anonymous", "--limit", "2", "--json"))) == 2
    assert [one["handle"] for one in objects(run("list", "store://", "--user", "id:1", "--json"))] == handles[:1]
    assert objects(run("list", "store://", "--user", "id:3", "--json")) == []


def test_the_cookie_name_chooses_the_middleware(make_site: MakeSite) -> None:
    make_site(cookie_name="shop").browser().do(log_in(ANN))
    assert run("list", "store://").stdout == ""
    assert len(objects(run("list", "store://", "--cookie-name", "shop", "--json"))) == 1
    assert len(objects(run("list", "store://", "--json", WSGI_SESSION_COOKIE_NAME="shop"))) == 1
    assert run("revoke-user", "store://", "id:1").stdout == "sessions ended: 0\n"
    assert run("stats", "store://", "--cookie-name", "shop").stdout == "live sessions: 1\n"


def test_show_prints_one_session_without_its_data(site: Site) -> None:
    ann = site.browser()
    ann.do(lambda session: (log_in(ANN)(session), session.update(note="private" * 100)))
    name = ann.do(handle).result
    shown = run("show", "store://", name)
    assert shown.exit_code == 0
    assert "private" not in shown.output
    assert f"handle:     {name}\n" in shown.stdout
    (one,) = objects(run("show", "store://", name, "--json"))
    assert (one["owner"], one["persistent"], one["size"] > 700) == ("id:1", True, True)


@pytest.mark.parametrize("command", ["show", "revoke"])
def test_a_handle_that_no_live_session_has_is_an_error(site: Site, command: str) -> None:
    site.browser().do(log_in(ANN))
    result = run(command, "store://", "nobody")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: No live session with the cookie name 'sid' has the handle 'nobody'.\n"


@pytest.mark.parametrize("user", [ANN, None], ids=["logged in", "anonymous"])
def test_revoke_ends_one_session_and_a_dry_run_none(site: Site, user: dict[str, Any] | None) -> None:
    one, other = site.browser(), site.browser()
    for browser in (one, other):
        browser.do(put(cart=[1]) if user is None else log_in(user))
    name = one.do(handle).result
    assert run("revoke", "store://", name, "--dry-run").stdout == "sessions that would be ended: 1\n"
    assert one.do(state).result == "live"
    assert objects(run("revoke", "store://", name, "--json")) == [{"ended": 1}]
    assert (one.do(state).result, other.do(state).result) == ("unknown", "live")


def test_revoke_user_ends_the_sessions_of_that_user_only(site: Site) -> None:
    ann, bob = [site.browser(), site.browser()], site.browser()
    for browser in ann:
        browser.do(log_in(ANN))
    bob.do(log_in(BOB))
    assert objects(run("revoke-user", "store://", "id:1", "--dry-run", "--json")) == [{"would_end": 2}]
    assert run("revoke-user", "store://", "id:1").stdout == "sessions ended: 2\n"
    assert [browser.do(state).result for browser in (*ann, bob)] == ["unknown", "unknown", "live"]
    assert run("revoke-user", "store://", "id:1").stdout == "sessions ended: 0\n"


def test_revoke_everyone_spares_those_who_are_not_logged_in_unless_told_otherwise(site: Site) -> None:
    ann, visitor = site.browser(), site.browser()
    ann.do(log_in(ANN))
    visitor.do(put(cart=[1]))
    assert run("revoke-everyone", "store://").stdout == "sessions ended: 1\n"
    assert (ann.do(state).result, visitor.do(state).result) == ("unknown", "live")
    assert run("revoke-everyone", "store://", "--anonymous").stdout == "sessions ended: 1\n"
    assert visitor.do(state).result == "unknown"


def test_broken_names_the_sessions_that_cannot_be_read_so_that_they_can_be_revoked(site: Site) -> None:
    site.browser().do(log_in(ANN))
    assert run("broken", "store://").stdout == ""
    bob = site.browser()
    bob.do(log_in(BOB))
    name = bob.do(handle).result
    damage(bob, value=pack("id:1", "owner"), key=b"owner")
    (one,) = objects(run("broken", "store://", "--json"))
    assert (one["handle"], one["reason"]) == (name, "the owner in the data is not the owner in the index")
    damage(bob, data=b"\xc1")
    (one,) = objects(run("broken", "store://", "--json"))
    assert (one["handle"], one["owner"], one["reason"]) == (name, None, "the data is not in the format of this package")
    assert run("revoke", "store://", name).stdout == "sessions ended: 1\n"
    assert run("broken", "store://").stdout == ""
