"""The commands on the store of a site with ``encrypt=True``: with its secret, without it, and with another one."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import run
from wsgi_session import SessionMiddleware
from wsgi_session.codec.sealed import looks_sealed
from wsgi_session.stores import Record, SQLiteStore
from wsgi_session.testing import plant

SECRET = "d1c8f0c7a5b94e6f8f27c0a3b5d6e7f8"
OTHER = "0f5d2a7c91be4638d1c8f0c7a5b94e6f"
NOTE = "Set WSGI_SESSION_SECRET to the site's secret to read them."


@pytest.fixture(autouse=True)
def no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WSGI_SESSION_SECRET", raising=False)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store with the encrypted sessions of Ann and of a visitor."""
    url = f"sqlite:///{tmp_path}/sessions.db"
    with SessionMiddleware(lambda environ, start_response: [], secret=SECRET, store=url, encrypt=True) as middleware:
        plant(middleware, {"user": {"id": 5}})
        plant(middleware, {"cart": [1]})
    return url


def listed(url: str, **environ: str) -> list[Any]:
    return [json.loads(line) for line in run("list", url, "--anonymous", "--json", **environ).stdout.splitlines()]


def records_in(url: str) -> list[tuple[bytes, Record]]:
    with SQLiteStore(url.removeprefix("sqlite:///")) as store:
        return list(store.scan(time.time()))


def test_without_the_secret_the_owner_is_not_shown_and_the_command_says_so(url: str) -> None:
    assert sorted(str(one["owner"]) for one in listed(url)) == ["(encrypted)", "None"]
    result = run("list", url)
    assert result.stdout.endswith("  (encrypted)\n")
    assert result.stderr.startswith("encrypted sessions: 1. ")
    assert result.stderr.endswith(f"{NOTE}\n")
    shown = run("show", url, result.stdout.split()[0])
    assert (shown.exit_code, "(encrypted)" in shown.stdout, NOTE in shown.stderr) == (0, True, True)


def test_with_the_secret_or_one_of_several_the_owner_is_shown(url: str) -> None:
    for secrets in (SECRET, f"{OTHER} {SECRET}"):
        assert sorted(str(one["owner"]) for one in listed(url, WSGI_SESSION_SECRET=secrets)) == ["None", "id:5"]
    assert run("list", url, WSGI_SESSION_SECRET=SECRET).stderr == ""


def test_with_another_secret_a_users_session_does_not_look_like_an_anonymous_visitors(url: str) -> None:
    assert sorted(str(one["owner"]) for one in listed(url, WSGI_SESSION_SECRET=OTHER)) == ["(encrypted)", "None"]


def test_broken_checks_what_the_secret_opens_and_says_what_it_did_not_check(url: str) -> None:
    unchecked = run("broken", url)
    assert (unchecked.stdout, unchecked.stderr.startswith("encrypted sessions: 2. ")) == ("", True)
    assert run("broken", url, WSGI_SESSION_SECRET=SECRET).output == ""
    lines = run("broken", url, WSGI_SESSION_SECRET=OTHER).stdout.splitlines()
    reason = "the data was changed, copied from another record, or encrypted with another secret"
    assert [line.endswith(reason) for line in lines] == [True, True]


def test_sessions_are_ended_without_the_secret(url: str) -> None:
    assert run("revoke-user", url, "id:5").output == "sessions ended: 1\n"
    handle = listed(url)[0]["handle"]
    assert run("revoke", url, handle).output == "sessions ended: 1\n"


def test_a_secret_that_is_not_valid_is_refused_only_if_it_is_needed(url: str, tmp_path: Path) -> None:
    refused = run("list", url, WSGI_SESSION_SECRET="short")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "give at least 32" in refused.stderr
    plain = f"sqlite:///{tmp_path}/plain.db"
    with SessionMiddleware(lambda environ, start_response: [], secret=SECRET, store=plain) as middleware:
        plant(middleware, {"user": {"id": 5}})
    assert run("list", plain, WSGI_SESSION_SECRET="short").stdout.endswith("  id:5\n")


def test_what_is_adopted_in_advance_is_encrypted_if_the_site_encrypts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys
    from types import ModuleType

    from tests.support.foreign import OldLibrary
    from wsgi_session.moving import Foreign

    module, old = ModuleType("shop_before_encryption"), OldLibrary()
    old.records["ann"] = Foreign({"cart": ["bun"]}, expires=time.time() + 3600, user_id="1")
    module.READER = old  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    url = f"sqlite:///{tmp_path}/new.db"
    arguments = ("adopt", "--from", f"{module.__name__}:READER", "--to", url, "--encrypt")
    refused = run(*arguments)
    assert (refused.exit_code, "Set WSGI_SESSION_SECRET" in refused.stderr) == (1, True)
    adopted = run(*arguments, WSGI_SESSION_SECRET=SECRET)
    assert (adopted.stdout, adopted.stderr) == ("adopted: 1\n", "")
    # Without the option, what it adopts would look expired to the visitors.
    forgotten = run(*arguments[:-1], "--dry-run")
    assert forgotten.stderr.startswith("The store has encrypted sessions.")
    assert "without --encrypt" in forgotten.stderr
    assert run(*arguments[:-1], "--dry-run", "--namespace", "shop").stderr == ""
    sealed = [looks_sealed(record.data) for _, record in records_in(url)]
    assert sorted(sealed) == [False, True], "the session; and the marker, which has random bytes"
    with SessionMiddleware(
        lambda environ, start_response: [], secret=SECRET, store=url, encrypt=True, adopt=old
    ) as middleware:
        assert [info.owner for info in middleware.sessions.all()] == ["id:1"]
        assert [info.data for info in middleware.sessions.of("id:1")] == [{"cart": ["bun"]}]
