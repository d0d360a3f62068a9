"""Rules 8 and 9: no store, log or message contains the token; nothing is decoded before it is authenticated."""

from __future__ import annotations

import ast
import hashlib
import logging
import re
from pathlib import Path
from typing import Any

import pytest

import wsgi_session
from tests.support.leaks import everything
from tests.support.site import ANN, SECRET, Browser, Site, log_in, log_out, put, read
from tests.support.stores import SERVER
from wsgi_session import Session, SessionError

PACKAGE = Path(wsgi_session.__file__).parent


def parts_of(browser: Browser) -> list[str]:
    """Return the texts that must stay secret: the cookie, the token, and the middleware's secret."""
    return [browser.token, browser.token.partition(".")[0], SECRET]


@pytest.mark.needs(SERVER)
def test_no_store_call_log_line_event_or_repr_has_the_token(
    site: Site, browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    secret: list[str] = []
    shown: list[str] = []

    def visit(function: Any, **environ: Any) -> None:
        answer = browser.do(lambda session: (function(session), shown.append(repr(session))), **environ)
        shown.append(repr(answer.result))
        if browser.jar:
            secret.extend(parts_of(browser))

    with caplog.at_level(logging.DEBUG):
        visit(put(a=1))
        old = browser.copy()
        visit(lambda session: session.rotate())
        visit(lambda session: (session.csrf_token, session.flash("x")))
        visit(log_in(ANN))
        old.do(put(late=1))
        site.clock.advance(3 * 86_400)
        visit(read)
        shown.append(repr([site.middleware, site.middleware.sessions, site.calls.inner]))
        shown.append(repr(site.middleware.sessions.of(ANN)))
        visit(lambda session: session.atomic(lambda data: data.update(b=1)))
        visit(put(c=1), HTTP_COOKIE=f"sid=x{browser.token}; {browser.header}")
        site.calls.fail("touch", "replace")
        visit(put(d=1))
        site.calls.recover()
        visit(log_out)
    assert len(secret) > 10
    places = {
        "store": everything(site.calls.seen),
        "log": caplog.text,
        "events": everything(site.events),
        "repr": "".join(shown),
    }
    assert "created" in places["log"], "the log was not caught"
    found = {(name, text[:8]) for name, content in places.items() for text in secret if text in content}
    assert found == set()


@pytest.mark.needs(SERVER)
def test_the_store_files_a_session_under_the_hash_of_its_token(site: Site, browser: Browser) -> None:
    browser.do(put(a=1))
    token = browser.token.partition(".")[0].encode()
    assert site.calls.inner.load(hashlib.sha256(token).digest(), site.clock()) is not None


@pytest.mark.needs(SERVER)
def test_what_a_store_holds_opens_no_session(site: Site, browser: Browser) -> None:
    browser.do(log_in(ANN))
    token = browser.token.partition(".")[0].encode()
    record = site.calls.inner.load(hashlib.sha256(token).digest(), site.clock())
    assert record is not None
    for value in (hashlib.sha256(token).hexdigest(), record.handle, record.version.hex()):
        answer = site.browser().do(lambda session: session.copy(), HTTP_COOKIE=f"sid={value}")
        assert answer.result == {}


@pytest.mark.needs(SERVER)
def test_tokens_and_handles_are_long_random_and_never_the_same(site: Site) -> None:
    tokens, handles = set(), set()
    for _ in range(50):
        browser = site.browser()
        browser.do(put(a=1))
        tokens.add(browser.token.partition(".")[0])
        handles.add(browser.do(lambda session: session.handle).result)
    assert (len(tokens), len(handles)) == (50, 50)
    assert {len(token) for token in tokens} == {43}
    assert min(len(handle) for handle in handles) >= 16


@pytest.mark.needs(SERVER)
def test_no_exception_of_ours_has_the_token(site: Site, browser: Browser) -> None:
    browser.do(put(a=1))
    caught: list[SessionError] = []

    def fail(session: Session) -> None:
        for change in (
            lambda: session.update(b=object()),
            lambda: session.atomic(lambda data: data.update(b=object())),
            lambda: log_in({})(session),
        ):
            try:
                change()
            except SessionError as error:
                caught.append(error)

    browser.do(fail)
    site.calls.fail("load")

    def away(session: Session) -> None:
        try:
            session.get("a")
        except SessionError as error:
            caught.append(error)

    browser.do(away)
    assert len(caught) == 4
    text = "".join(everything([str(error), error.args, vars(error)]) for error in caught)
    assert [secret[:8] for secret in parts_of(browser) if secret in text] == []


# Rule 9.


def sources() -> dict[str, ast.Module]:
    return {str(path.relative_to(PACKAGE)): ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}


def test_no_module_of_the_package_can_unpickle_evaluate_or_import_by_name() -> None:
    forbidden_modules = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle", "imp", "runpy", "yaml"}
    forbidden_calls = {"eval", "exec", "compile", "__import__"}
    found = []
    for name, tree in sources().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found += [(name, alias.name) for alias in node.names if alias.name in forbidden_modules]
            elif isinstance(node, ast.ImportFrom) and node.module in forbidden_modules:
                found.append((name, node.module))
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in forbidden_calls:
                found.append((name, node.func.id))
    assert found == []


def test_nothing_of_ours_decodes_a_badly_signed_cookie(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise AssertionError("decoded before it was authenticated")

    from wsgi_session.codec import packing as codec

    browser.do(put(a=1))
    monkeypatch.setattr(codec, "unpackb", refuse)
    token, _, signature = browser.token.rpartition(".")
    forged = f"sid={token}.{signature[::-1]}"
    assert browser.do(lambda session: session.copy(), HTTP_COOKIE=forged).result == {}


def test_secrets_are_compared_in_constant_time() -> None:
    """``==`` stops at the first byte that differs; ``hmac.compare_digest`` does not."""
    secret = re.compile(r"signature|csrf|mac|digest", re.IGNORECASE)
    compared, equated = [], []
    for node in ast.walk(ast.parse((PACKAGE / "cookies" / "tokens.py").read_text())):
        if isinstance(node, ast.Call) and "compare_digest" in ast.unparse(node.func):
            compared.append(ast.unparse(node))
        elif isinstance(node, ast.Compare) and any(isinstance(operator, (ast.Eq, ast.NotEq)) for operator in node.ops):
            equated.append(ast.unparse(node))
    assert any("sign(" in call for call in compared), compared
    assert any("csrf" in call for call in compared), compared
    assert [text for text in equated if secret.search(text) and "len(" not in text and "LENGTH" not in text] == []
