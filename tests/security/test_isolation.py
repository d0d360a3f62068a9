"""Isolation, storage, side channels, logs."""

from __future__ import annotations

import io
import logging
import random
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Barrier, Lock
from typing import Any

import pytest

from tests.security.cases import DAY, HTTPS, case, opened_by
from tests.security.wire import Wire
from tests.support.leaks import everything
from tests.support.servers.shared import postgres
from tests.support.servers.valkey import Valkey
from tests.support.site import ANN, SECRET, Browser, MakeSite, Site, log_in, log_out, put, read
from tests.support.stores import SERVER, CountingStore
from wsgi_session import Session, SessionError, SessionMiddleware, StoreUnavailable
from wsgi_session.stores import Store
from wsgi_session.testing import plant
from wsgi_session.testing import read as read_planted
from wsgi_session.testing.clock import FakeClock


class Hiccups(CountingStore):
    """A store whose engine sometimes fails: before a call, or after it, with the reply lost."""

    def __init__(self, inner: Store, chance: random.Random) -> None:
        super().__init__(inner)
        self._chance = chance
        self._lock = Lock()

    def _pass_on(self, name: str, *arguments: Any) -> Any:
        with self._lock:
            fate = self._chance.random()
        if fate < 0.02:
            raise StoreUnavailable("before", answer_lost=False)
        result = getattr(self.inner, name)(*arguments)
        if fate > 0.98:
            raise StoreUnavailable("after", answer_lost=True)
        return result


@case(49)
@pytest.mark.needs(SERVER)
def test_nobody_sees_anothers_session_while_requests_fail_all_around(store: Store, clock: FakeClock) -> None:
    """In fifty threads, with applications that raise and a store that fails before and after a call, every visitor sees
    only their own data.

    Case 49: CVE-2020-35681 (Django Channels), CVE-2026-24894 (FrankenPHP), CVE-2023-28858 and CVE-2023-28859
    (redis-py): one request got the session or the reply of another, from a shared scope, from a worker's globals, or
    from a connection on which a reply had not been read.

    Not over cookie://: requests share no state there.
    """
    site = Site(Hiccups(store, random.Random(49)), clock)
    barrier = Barrier(50)

    def visitor(number: int) -> int:
        browser, chance, served = site.browser(), random.Random(number), 0
        barrier.wait(timeout=60)
        for turn in range(20):

            def visit(session: Session, turn: int = turn) -> Any:
                seen = session.get("me"), session.get("turn")
                session.update(me=number, turn=turn)
                if chance.random() < 0.1:
                    raise LookupError
                return seen

            try:
                answer = browser.do(visit)
            except LookupError:
                continue
            if answer.code == 200:
                me, _ = answer.result
                assert me in (None, number), f"visitor {number} saw {answer.result}"
                served += 1
        return served

    with ThreadPoolExecutor(50) as pool:
        served = sum(pool.map(visitor, range(50)))
    assert served > 600, f"only {served} of 1,000 requests were answered"


@contextmanager
def a_redis() -> Iterator[tuple[Store, Callable[[], AbstractContextManager[None]]]]:
    """Yield a store over Redis, and a function that pauses the server for a while."""
    from wsgi_session.stores.redis.urls import open_url

    server = Valkey()
    server.start()

    @contextmanager
    def silence() -> Iterator[None]:
        server.pause()
        try:
            yield
        finally:
            server.resume()

    try:
        with open_url(f"{server.url}?timeout=0.3") as store:
            yield store, silence
    finally:
        server.stop()


@contextmanager
def a_postgresql() -> Iterator[tuple[Store, Callable[[], AbstractContextManager[None]]]]:
    """The same with PostgreSQL, where another connection locks the table."""
    import psycopg

    from wsgi_session.stores.sql import SQLStore

    url = postgres()

    @contextmanager
    def silence() -> Iterator[None]:
        with psycopg.connect(url) as other:
            other.execute("LOCK TABLE case49 IN ACCESS EXCLUSIVE MODE")
            yield

    with SQLStore.from_url(f"{url}?table=case49&timeout=0.3") as store:
        yield store, silence


@case(49)
@pytest.mark.engine
@pytest.mark.parametrize("engine", [a_redis, a_postgresql])
def test_a_connection_on_which_an_answer_was_given_up_is_not_used_again(engine: Any) -> None:
    """If a request stops waiting for the engine's reply, its connection is closed, so that no other request reads that
    reply. (Tested with Redis and PostgreSQL, which reply late.)
    """
    with engine() as (store, silence):
        middleware = SessionMiddleware(lambda environ, start_response: [], secret=SECRET, store=store)
        ann, bob = (plant(middleware, {"who": who}) for who in ("ann", "bob"))
        for _ in range(3):
            with silence(), pytest.raises(StoreUnavailable):
                read_planted(middleware, ann)
            assert read_planted(middleware, bob) == {"who": "bob"}
            assert read_planted(middleware, ann) == {"who": "ann"}


@case(49)
def test_an_environ_that_is_used_again_has_a_session_of_its_own(site: Site) -> None:
    """Each call of the middleware creates a new session object, even for an environ that was used before."""
    ann, bob = site.browser(), site.browser()
    ann.do(put(who="ann")), bob.do(put(who="bob"))
    seen = []

    def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        seen.append(environ["session"].get("who"))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"page"]

    environ = site.browser().request(app)
    for cookie in (ann.header, bob.header, ""):
        environ["HTTP_COOKIE"] = cookie
        site.middleware(environ, lambda status, headers: lambda data: None)
    assert seen == ["ann", "bob", None]


HOSTILE_IDS = [
    "../../x",
    "..%2f",
    "a/b",
    "/etc/passwd",
    "\x00",
    "a\x00b",
    "x" * 10_000,
    "é" * 43,
    "sid:*",
    "*",
    "a\nb",
    "a\r\nDEL *",
    "' OR 1=1 --",
    '"; DROP TABLE sessions; --',
    "\\x00",
    "{session}",
    "[a-z]",
    "CON",
    "a.b.c",
    "." * 87,
    "A" * 87,
    "../" * 14 + "x." + "A" * 43,
]


@case(50)
@pytest.mark.needs(SERVER)
@pytest.mark.parametrize("sent", HOSTILE_IDS, ids=range(len(HOSTILE_IDS)))
def test_no_character_of_an_id_reaches_the_store(site: Site, sent: str) -> None:
    """A cookie without a valid format and signature is refused before any store call; stores only see hashes.

    Case 50: CVE-2008-0252 (CherryPy), Beaker 0.9.4 and PR #59, CVE-2011-0698 (Django), gorilla GO-2024-2730
    (withdrawn): a path in the session id reached the file system.

    Not over cookie://: it looks nothing up.
    """
    answer = site.browser().do(read, HTTP_COOKIE=f"sid={sent}")
    assert (answer.code, answer.result, site.calls.counts()) == (200, {}, {})


@case(50)
def test_hostile_ids_are_strangers_over_the_wire(wire: Wire) -> None:
    """Hostile ids that real servers let through give an empty session."""
    for sent in HOSTILE_IDS:
        if len(sent) > 8_000 or set(sent) & set("\r\n"):
            continue  # Servers refuse these characters, or read another header.
        reply = wire.get("/get", b"Cookie: __Host-sid=" + sent.encode("latin-1"))
        assert reply.status in (200, 400), (sent, reply)
        assert reply.status == 400 or reply.data == {}


@case(51)
@pytest.mark.needs(SERVER)
def test_a_dump_of_the_store_logs_nobody_in(site: Site, tmp_path: Path) -> None:
    """No store ever gets a token: its keys are SHA-256 hashes. Nothing in it works as a cookie.

    Case 51: CVE-2019-16782 (Rack), CVE-2019-25025 (activerecord-session_store), CVE-2020-26228 and CVE-2021-21339
    (TYPO3), CVE-2026-53603 (nebula-mesh): the id was the key in the store, so a backup contained live sessions, and the
    time of a look-up revealed the beginning of an id.

    Not over cookie://: it has no store.
    """
    browsers = [site.browser() for _ in range(100)]
    for browser in browsers:
        browser.do(put(k=1))
        browser.do(log_in(ANN))
        browser.do(read)
    tokens = [browser.token.partition(".")[0] for browser in browsers]
    dump = everything(site.calls.seen)
    dump += "".join(path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file())
    assert [token for token in tokens if token in dump or token[:20] in dump] == []
    keys = {value for value in site.calls.seen if isinstance(value, bytes) and len(value) == 32}
    handles = {info.handle for info in site.middleware.sessions.of(ANN)}
    assert len(keys) >= 200
    assert len(handles) == 100
    some = sorted(keys)[:50]
    for name in (*(key.hex() for key in some), *(key.decode("latin-1") for key in some), *handles):
        assert opened_by(site, f"sid={name}") == {}, name


@case(52)
@pytest.mark.needs(SERVER)
def test_no_log_event_repr_or_exception_tells_a_token(
    site: Site, browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    """No token, signature or secret is in a log line at DEBUG, an event, a `repr`, or the message of an exception.

    Case 52: CVE-2023-20866 (Spring Session 3.0.0), CVE-2022-24757 and CVE-2022-24758 (Jupyter), CVE-2017-17836
    (Airflow): session ids and cookies were written to logs and pages.

    Not over cookie://: its cookie is not a token; the next test checks it.
    """
    _check_that_nothing_is_told(site, browser, caplog)


@case(52)
def test_no_log_event_repr_or_exception_tells_a_sealed_cookie(sealed: Site, caplog: pytest.LogCaptureFixture) -> None:
    """No encrypted cookie is in a log line, an event, a ``repr`` or the message of an exception."""
    _check_that_nothing_is_told(sealed, sealed.browser(), caplog)


def _check_that_nothing_is_told(site: Site, browser: Browser, caplog: pytest.LogCaptureFixture) -> None:
    secret: set[str] = {SECRET}
    told: list[str] = []

    def visit(function: Callable[[Session], Any]) -> None:
        def handler(session: Session) -> None:
            try:
                function(session)
            except SessionError as error:
                told.extend((str(error), repr(error), repr(error.args), traceback.format_exc()))
            told.append(repr(session))

        told.append(repr(browser.do(handler).result))
        for value in browser.jar.values():
            secret.update((value, *value.split("."), value[:24]))

    with caplog.at_level(logging.DEBUG):
        visit(put(k=1))
        old = browser.copy()
        visit(log_in(ANN))
        visit(lambda session: (session.rotate(), session.csrf_token, session.flash("x")))
        old.do(put(late=1))
        visit(lambda session: session.update(bad=object()))
        visit(lambda session: session.atomic(lambda data: data.update(k=2)))
        opened_by(site, f"sid={browser.token[::-1]}")
        site.clock.advance(2 * DAY)
        for failing in ("touch", "load", "replace"):
            site.calls.fail(failing)
            visit(read if failing != "replace" else put(k=3))
            site.calls.recover()
        told.append(repr([site.middleware, site.middleware.sessions, site.middleware.store]))
        visit(log_out)
    told += [caplog.text, everything(site.events)]
    assert "logged_in" in caplog.text
    found = [text for text in secret if len(text) > 8 and any(text in line for line in told)]
    assert found == []


@case(53)
def test_no_client_forges_a_line_of_the_log(site: Site) -> None:
    """Whatever a client sends, each event is one line in the log: control characters are escaped.

    Case 53: CVE-2025-25184, Rack::CommonLogger: a user name with CR and LF injected lines into the log.
    """
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(logging.Formatter("LINE %(levelname)s %(message)s"))
    logger = logging.getLogger("wsgi_session")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    forged = "x\r\nERROR an administrator logged in\x1b[2J\x00\u2028"
    try:
        browser = site.browser(PATH_INFO=f"/{forged.encode().decode('latin-1')}", SCRIPT_NAME="")
        browser.do(log_in({"id": forged, "email": forged}))
        held = browser.copy()
        held.do(lambda session: (session.get("k"), browser.do(log_out), session.update({forged: 1})))
        browser.do(read, HTTP_COOKIE=f"sid={forged.encode().decode('latin-1')}")
        site.calls.fail("load", error=StoreUnavailable(forged))
        browser.do(read, HTTP_COOKIE=held.header)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    text = lines.getvalue()
    assert "logged_in" in text
    assert [line for line in text.splitlines() if not line.startswith("LINE ")] == []
    assert set(text) & set("\r\x1b\x00\u2028") == set()


@case(54)
def test_the_cookie_is_safe_with_no_settings(make_site: MakeSite) -> None:
    """Over https, with default settings: Secure, HttpOnly, SameSite=Lax, Path=/, no Domain, a name that begins with
    ``__Host-``. The server's ``wsgi.url_scheme`` decides whether it is https, not a header that the client sends.

    Case 54: CVE-2022-3174 and CVE-2022-3250 (rdiffweb), CVE-2026-48058 (nebula-mesh): the Secure attribute was missing.
    """
    safe = {"path": "/", "httponly": True, "samesite": "Lax", "secure": True, "max-age": str(int(30 * DAY))}
    plain = {name: value for name, value in safe.items() if name != "secure"}
    wanted = [
        ({}, HTTPS, "__Host-sid", safe),
        ({}, {}, "sid", plain),
        ({}, {**HTTPS, "HTTP_X_FORWARDED_PROTO": "http"}, "__Host-sid", safe),
        ({}, {"HTTP_X_FORWARDED_PROTO": "https", "HTTP_FORWARDED": "proto=https"}, "sid", plain),
        ({"cookie_secure": True}, {"HTTP_X_FORWARDED_PROTO": "http"}, "__Host-sid", safe),
    ]
    for options, environ, name, attributes in wanted:
        (cookie,) = make_site(**options).browser(**environ).do(put(k=1)).cookies  # type: ignore[arg-type]
        assert (cookie.name, cookie.attributes) == (name, attributes), (options, environ)
