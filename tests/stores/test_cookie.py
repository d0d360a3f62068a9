"""``cookie://``: its refusals, and its message if cryptography is missing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

import pytest

from wsgi_session import ConfigError, SessionMiddleware, Unsupported
from wsgi_session.stores import Counts, ListsOwners, Record, Scans, Sweeps, open_store
from wsgi_session.stores.cookie import CookieStore, open_url
from wsgi_session.stores.urls.opening import ENTRY_POINT_GROUP

SECRET = "d1c8f0c7a5b94e6f8f27c0a3b5d6e7f8"
AESGCM = "cryptography.hazmat.primitives.ciphers.aead"
RECORD = Record(b"", b"", "", 0, 0, 0)


def site(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
    raise AssertionError("nobody calls it")


def test_the_scheme_is_published() -> None:
    (entry,) = entry_points(group=ENTRY_POINT_GROUP, name="cookie")
    assert entry.load() is open_url
    assert isinstance(open_store("cookie://"), CookieStore)


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.load(b"", 0),
        lambda store: store.create(b"", RECORD, 0),
        lambda store: store.replace(b"", RECORD, b"", 0),
        lambda store: store.rotate(b"", b"", RECORD, b"", 0),
        lambda store: store.touch(b"", 0, 0, 0),
        lambda store: store.delete(b""),
    ],
)
def test_what_only_a_store_can_do_is_refused(call: Callable[[CookieStore], object]) -> None:
    with pytest.raises(Unsupported, match=r"so \w+\(\) is not available\. Use .*, such as sqlite:") as caught:
        call(CookieStore())
    assert f"so {caught.value.operation}() is not available" in str(caught.value)


def test_it_offers_no_optional_operation() -> None:
    offered = [kind.__name__ for kind in (ListsOwners, Counts, Sweeps, Scans) if isinstance(CookieStore(), kind)]
    assert offered == []


def test_ping_never_fails_and_closing_twice_does_no_harm() -> None:
    with CookieStore() as store:
        store.ping()
    store.close()


@pytest.mark.parametrize("url", ["cookie://sid", "cookie:///sid", "cookie://user:pass@/"])
def test_a_url_with_a_name_or_path_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"cookie:// takes no host and no path. Write cookie://") as caught:
        open_store(url)
    assert "pass" not in str(caught.value)


def test_a_url_has_no_options() -> None:
    with pytest.raises(ConfigError, match=r"there is no option 'size'. The options are: none"):
        open_store("cookie://?size=4")


@pytest.mark.parametrize("store", ["cookie://", "COOKIE://", None])
def test_without_cryptography_construction_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, store: str | None
) -> None:
    monkeypatch.setitem(sys.modules, AESGCM, None)
    with pytest.raises(ConfigError, match=r"pip install 'wsgi-session\[crypto\]'"):
        SessionMiddleware(site, secret=SECRET, store=CookieStore() if store is None else store)


def test_the_other_stores_do_without_cryptography() -> None:
    program = f"""
import sys
sys.modules["cryptography"] = None
from wsgi_session import SessionMiddleware
SessionMiddleware(print, secret={SECRET!r}, store="memory://").close()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
