"""Sealing: signatures, encryption, keys, deserialization."""

from __future__ import annotations

import ast
import json
import os
import pickle
import random
import re
from base64 import b64encode, urlsafe_b64encode
from binascii import a2b_base64
from collections.abc import Callable, Iterator
from hmac import compare_digest
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from itsdangerous import Signer, TimestampSigner, URLSafeSerializer
from msgpack import packb
from webob import Request
from werkzeug.http import parse_cookie

import wsgi_session
from tests.security.cases import OLD_SECRET, case, look, opened_by, stored, values_of, with_cookies_of
from tests.security.wire import Wire
from tests.support.site import ANN, BOB, SECRET, Browser, MakeSite, Site, log_in, put, read
from tests.support.stores import SERVER
from wsgi_session import ConfigError, SessionMiddleware
from wsgi_session.backends import cookie as sealed
from wsgi_session.codec import packing as codec
from wsgi_session.codec.packing import join
from wsgi_session.cookies import tokens
from wsgi_session.cookies.seal import Sealer
from wsgi_session.stores import MemoryStore
from wsgi_session.testing import plant

PACKAGE = Path(wsgi_session.__file__).parent
PAGES = [*PACKAGE.parent.glob("*.md"), *(PACKAGE.parent / "docs").glob("*.md")]


class Bomb:
    """Unpickling it writes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


def forgeries(marker: Path) -> Iterator[str]:
    """Yield cookies that can be made without the secret."""
    claims = {"user": {"id": 1, "email": "ann@example.com"}}
    contents = [json.dumps(claims).encode(), packb(claims), b"", b"null"]
    contents += [pickle.dumps(claims), pickle.dumps(Bomb(marker))]
    stranger = Sealer([OLD_SECRET.encode()], b"wsgi-session session")
    for content in contents:
        text = urlsafe_b64encode(content).decode().rstrip("=")
        yield from (text, f"{text}.{'A' * 43}", f"{text}--{'0' * 64}", b64encode(content).decode())
        yield stranger.seal(content)
        yield Signer(OLD_SECRET).sign(urlsafe_b64encode(content).rstrip(b"=")).decode()
    # A valid head with an invalid seal, and an empty text that is encrypted with an empty key.
    yield urlsafe_b64encode(b"\x01" + bytes(48)).decode().rstrip("=")
    yield urlsafe_b64encode(b"\x01" + bytes(32) + AESGCM(bytes(32)).encrypt(bytes(12), b"", None)).decode().rstrip("=")


@case(26)
def test_nothing_is_decoded_that_has_not_proved_genuine(
    site: Site, browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cookie that we did not sign or encrypt gives an empty session: it is not decoded, and no other format is tried.

    Case 26: CVE-2026-39324, rack-session's ``Session::Cookie``: if decryption failed, the plain decoder was tried, so
    forged sessions were accepted and attackers' bytes were unmarshalled.
    """
    browser.do(log_in(ANN))
    genuine = browser.token

    def refuse(*arguments: object, **named: object) -> None:
        raise AssertionError("decoded before it had proved genuine")

    monkeypatch.setattr(codec, "unpackb", refuse)
    monkeypatch.setattr(sealed, "unpackb", refuse)
    for forged in (*forgeries(tmp_path / "marker"), genuine[:-1], genuine[1:], genuine + "A", genuine[::-1]):
        site.forget()
        assert opened_by(site, f"sid={forged}") == {}, forged
        assert site.calls.counts() == {}, forged
    assert not (tmp_path / "marker").exists()


@case(27)
def test_sealed_data_shows_no_pattern_and_cannot_be_changed(sealed: Site) -> None:
    """Sessions in the cookie are encrypted with AES-256-GCM: the ciphertext shows no pattern, no two cookies are equal,
    and a cookie with one changed byte is refused.

    Case 27: CVE-2012-3458, Beaker: AES in ECB mode, so equal blocks of a session were equal blocks of its cookie.
    """
    one, two = sealed.browser(), sealed.browser()
    one.do(put(run="A" * 640)), two.do(put(run="A" * 640))
    assert one.token != two.token
    raw = bytearray(a2b_base64(one.token.translate(str.maketrans("-_", "+/")) + "=="))
    blocks = [bytes(raw[place : place + 16]) for place in range(len(raw) - 16)]
    assert len(set(blocks)) == len(blocks), "a block of the ciphertext repeats"
    for place in range(len(raw)):
        raw[place] ^= 1
        forged = urlsafe_b64encode(raw).decode().rstrip("=")
        assert opened_by(sealed, f"sid={forged}") == {}, f"byte {place}"
        raw[place] ^= 1
    assert opened_by(sealed, one.header) == {"run": "A" * 640}


@case(28)
def test_a_signature_is_compared_by_compare_digest_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signatures and CSRF tokens are compared with ``hmac.compare_digest``, in constant time.

    Case 28: CVE-2009-3086 (Rails), CVE-2013-0263 (Rack), CVE-2016-1000236 (cookie-signature), CVE-2016-7036
    (python-jose), CVE-2017-14775 (Laravel): signatures and tokens were compared byte by byte up to the first
    difference, so the time revealed how many bytes were right.
    """
    keyring = tokens.TokenSigner([SECRET.encode(), OLD_SECRET.encode()], "sid")
    token = tokens.new_token()
    genuine, old = keyring.sign(token), tokens.TokenSigner([OLD_SECRET.encode()], "sid").sign(token)
    wrong, form = f"{token.decode()}.{'A' * 43}", tokens.csrf_token(token)

    def outcomes() -> list[bool]:
        return [
            *(keyring.verify(text) is not None for text in (genuine, old, wrong)),
            tokens.csrf_matches(token, form),
            tokens.csrf_matches(token, "A" * 86),
        ]

    asked: list[bytes] = []

    def recorded(left: bytes, right: bytes) -> bool:
        asked.extend((left, right))
        return compare_digest(left, right)

    monkeypatch.setattr(tokens, "compare_digest", recorded)
    assert outcomes() == [True, True, False, True, False]
    assert len(asked) >= 10
    # Its result alone decides: nothing else compares the bytes.
    monkeypatch.setattr(tokens, "compare_digest", lambda left, right: False)
    assert outcomes() == [False] * 5
    monkeypatch.setattr(tokens, "compare_digest", lambda left, right: True)
    assert outcomes() == [True] * 5


@case(28)
def test_no_module_compares_a_secret_with_an_equals_sign() -> None:
    """No variable in the source whose name contains signature, mac, digest, csrf, token or secret is compared with
    ``==`` or ``!=``.
    """
    secret = re.compile(r"\b\w*(signature|mac|digest|csrf|token|secret)\w*\b", re.IGNORECASE)
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Compare) and any(isinstance(one, (ast.Eq, ast.NotEq)) for one in node.ops):
                sides = [side for side in (node.left, *node.comparators) if not _is_a_length(side)]
                found += [
                    f"{path.name}:{node.lineno} {ast.unparse(node)}"
                    for side in sides
                    if secret.search(ast.unparse(side)) and len(sides) > 1
                ]
    assert found == []


def _is_a_length(node: ast.expr) -> bool:
    return (isinstance(node, ast.Call) and ast.unparse(node.func) == "len") or "LENGTH" in ast.unparse(node)


@case(29)
def test_of_several_secrets_the_first_signs_and_all_verify(make_site: MakeSite) -> None:
    """With ``secret=[new, old]``, new cookies are signed with the new secret only. A cookie of the old secret is
    accepted, and renewed with the next response whose request uses the session. When the old secret is removed, the
    cookie is refused.

    Case 29: CVE-2025-47278, Flask 3.1.0: the list of keys was passed in the wrong order, so new cookies were signed
    with the oldest key.
    """
    new, both, old = make_site(secret=SECRET), make_site(secret=[SECRET, OLD_SECRET]), make_site(secret=OLD_SECRET)
    fresh = both.browser()
    fresh.do(put(k=1))
    assert (opened_by(new, fresh.header), opened_by(old, fresh.header)) == ({"k": 1}, {})
    before = old.browser()
    before.do(put(k=2))
    renewed = with_cookies_of(both, before)
    assert [len(renewed.do(step).cookies) for step in (read, read)] == [1, 0]
    assert renewed.token != before.token
    assert opened_by(new, renewed.header) == {"k": 2}
    assert opened_by(new, before.header) == {}


@case(29)
def test_processes_that_are_replaced_one_by_one_all_open_the_new_secrets_cookies(make_site: MakeSite) -> None:
    """In a rolling deployment, ``[old, new]`` signs with the old secret, and accepts the cookies that the next step
    signs.
    """
    first, second = make_site(secret=[OLD_SECRET, SECRET]), make_site(secret=[SECRET, OLD_SECRET])
    browser = first.browser()
    browser.do(put(k=1))
    assert opened_by(make_site(secret=OLD_SECRET), browser.header) == {"k": 1}
    moving = with_cookies_of(second, browser)
    moving.do(put(k=2))
    assert opened_by(first, moving.header) == {"k": 2}


@case(30)
@pytest.mark.parametrize(
    "secret", [None, "", b"", [], "secret", "x" * 31, "changeme" * 9, "Secret " + "x" * 40, [SECRET, ""]]
)
def test_a_missing_short_or_well_known_secret_is_refused(secret: Any) -> None:
    """There is no default secret. A short or well-known secret is refused at construction. The message names the
    command that generates one, and does not repeat the secret.

    Case 30: CVE-2023-27524 (Superset), CVE-2020-17526 (Airflow), CVE-2012-3503 (Katello), CVE-2008-7311 (Spree),
    man-group/dtale#960: sites kept the secret that was shipped with the software, so anyone could forge their cookies.
    """
    with pytest.raises(ConfigError, match="python -m wsgi_session keygen") as caught:
        SessionMiddleware(lambda environ, start_response: [], secret=secret, store=MemoryStore())
    assert "x" * 8 not in str(caught.value)


@case(30)
def test_no_secret_of_the_documentation_works() -> None:
    """The middleware accepts no secret that our documentation prints."""
    printed = [
        text
        for page in PAGES
        for text in re.findall(r"(?i)secret[\"']?\s*[=:]\s*\[?[\"'`]?([^\s\"'`,)\]]+)", page.read_text("utf-8"))
    ]
    assert "SECRET" in printed, printed
    for text in printed:
        with pytest.raises(ConfigError, match="secret"):
            SessionMiddleware(lambda environ, start_response: [], secret=text, store=MemoryStore())


@case(31)
def test_what_was_made_for_something_else_opens_no_session(make_site: MakeSite) -> None:
    """Signatures and encryption are bound to their purpose and to the middleware's name: even with the same secret, the
    cookie of another middleware, or any other signed value, is refused.

    Case 31: CVE-2021-41263 (rails_multisite), CVE-2023-48309 (next-auth), Laravel 2020-07-27: a value that was
    encrypted for another site or another purpose was accepted as a session.
    """
    shop, admin = make_site(cookie_name="shop"), make_site(cookie_name="admin")
    ann, root = shop.browser(), admin.browser()
    ann.do(log_in(ANN)), root.do(log_in(BOB))
    assert opened_by(admin, f"admin={ann.token}") == {}
    assert opened_by(shop, f"shop={root.token}") == {}
    handle, form = ann.do(lambda session: (session.handle, session.csrf_token)).result
    token = ann.token.partition(".")[0][:43]
    signers = [Signer(SECRET), TimestampSigner(SECRET), Signer(SECRET, salt="shop")]
    others = [handle, form, *(signer.sign(token).decode() for signer in signers)]
    others += [URLSafeSerializer(SECRET).dumps({"user": ANN})]
    others += [Sealer([SECRET.encode()], b"password reset").seal(packb({"user": ANN}))]
    for value in others:
        assert opened_by(shop, f"shop={value}") == {}, value


@case(32)
@pytest.mark.needs(SERVER)
def test_two_middlewares_over_one_store_share_no_session(make_site: MakeSite) -> None:
    """Two middlewares with different names over one store share no tokens, owners or counts.

    Case 32: CVE-2022-46170, CodeIgniter4: two session cookies (of users and of administrators) over one database shared
    their ids.

    Not over cookie://: it has no store; case 31 tests it.
    """
    users, admins = make_site(cookie_name="user"), make_site(cookie_name="admin")
    mallory, root = users.browser(), admins.browser()
    mallory.do(log_in(ANN)), root.do(log_in(ANN))
    assert opened_by(admins, f"admin={mallory.token}") == {}
    assert (len(users.middleware.sessions.of(ANN)), users.middleware.sessions.count()) == (1, 1)
    assert users.middleware.sessions.revoke_all(ANN) == 1
    assert root.do(read).result == {"user": ANN}


def damaged(data: bytes) -> Iterator[bytes]:
    """Yield the data of damaged records: cut off or changed anywhere, or of another format."""
    chance = random.Random(33)
    yield from (data[:length] for length in range(len(data)))
    for place in range(len(data)):
        yield data[:place] + bytes([data[place] ^ chance.randrange(1, 256)]) + data[place + 1 :]
    yield from (packb(value) for value in (None, 5, [], ["user"], "text", True, {1: 2}, {"user": None}))
    yield from (b"null", b"{}", b"[]", json.dumps({"user": ANN}).encode(), pickle.dumps({"user": ANN}))
    yield from (chance.randbytes(chance.randrange(60)) for _ in range(50))


@case(33)
@pytest.mark.needs(SERVER)
def test_a_damaged_record_is_an_empty_session_and_is_left_as_it_is(site: Site, browser: Browser) -> None:
    """A record that cannot be read gives an empty session and at most one event, never an exception or a 5xx. Record
    and cookie stay until the application writes.

    Case 33: CVE-2014-4179 (yar), rack#299, caolan/cookie-sessions#17, Starlette (learn-to-cloud-app#834), Beaker: a
    cookie or record that was tampered with, cut off or malformed caused an exception at every request, until the
    visitor deleted the cookies.

    Not over cookie://: it has no records; see the next test.
    """
    browser.do(put(k=[1, "two"]))
    store, key = site.calls.inner, tokens.store_key(browser.token.partition(".")[0].encode())
    genuine = stored(site, browser)
    assert genuine is not None
    before = genuine.version
    for number, data in enumerate(damaged(genuine.data)):
        version = b"%016d" % number
        store.replace(key, genuine._replace(data=data, version=version), before, site.clock())
        before = version
        site.events.clear()
        answer = browser.copy().do(lambda session: (session.state, list(session), session.copy()))
        assert (answer.code, answer.cookies, len(site.events) < 2) == (200, [], True), (data, answer, site.events)
        left = stored(site, browser)
        assert left is not None
        assert left.data == data
    answer = browser.do(put(k=1))
    assert (answer.code, browser.do(read).result) == (200, {"k": 1})


@case(33)
def test_a_genuine_seal_of_something_else_is_an_empty_session(sealed: Site) -> None:
    """A genuine encrypted cookie whose content is not a session also gives an empty session: ``null``, a number, a
    list, a record cut off.
    """
    browser = sealed.browser()
    browser.do(put(k=1))
    backend: Any = sealed.middleware._backend
    plain, _ = backend._sealer.open(browser.token)
    for content in damaged(plain):
        browser.jar = {"sid": backend._sealer.seal(content)}
        sealed.events.clear()
        answer = browser.do(look)
        assert (answer.code, len(sealed.events) < 2) == (200, True), (content, answer, sealed.events)
        assert answer.cookies == [] or answer.result[0] == "live", content


@case(33)
def test_any_bytes_as_a_cookie_are_an_empty_session_over_the_wire(wire: Wire) -> None:
    """Any bytes that real servers let through as a cookie give an empty session."""
    chance = random.Random(33)
    allowed = bytes(set(range(1, 256)) - set(b"\r\n"))
    for _ in range(100):
        value = bytes(chance.choices(allowed, k=chance.randrange(1, 120)))
        reply = wire.get("/get", b"Cookie: __Host-sid=" + value)
        # A server may refuse control characters in a header.
        assert reply.status in (200, 400), (value, reply)
        assert reply.status == 400 or (reply.data, reply.cookies) == ({}, [])


@case(34)
@pytest.mark.parametrize("kind_of", ["in_memory", "sealed"])
def test_a_cookies_value_comes_back_from_every_parser(request: pytest.FixtureRequest, kind_of: str) -> None:
    """A cookie's value contains only letters, digits, ``.``, ``_`` and ``-``, which no parser or proxy changes.

    Case 34: rack-session#60, a regression of 2.1.2: the value was plain base64, whose ``+`` the cookie parser replaced
    with a space; nearly every cookie broke.
    """
    site: Site = request.getfixturevalue(kind_of)
    chance = random.Random(34)
    for number in range(10_000 if kind_of == "in_memory" else 2_000):
        header = plant(site.middleware, {"k": chance.randbytes(chance.randrange(40))})
        name, _, value = header.partition("=")
        assert re.fullmatch(r"[A-Za-z0-9._-]+", value), value
        if number % 10:
            continue
        request_of_webob = Request({"HTTP_COOKIE": header})
        parsed = [SimpleCookie(header)[name].value, parse_cookie(header)[name], request_of_webob.cookies[name]]
        assert parsed == [value] * 3, header
    assert len(opened_by(site, header)["k"]) < 40


@case(35)
@pytest.mark.needs(SERVER)
def test_a_pickle_in_the_store_is_never_loaded(site: Site, browser: Browser, tmp_path: Path) -> None:
    """Someone who can write to the store cannot run code in the application: data is MessagePack with a closed list of
    types.

    Case 35: CVE-2013-7489 (Beaker), CVE-2021-33026 (Flask-Caching), CVE-2019-17206, GHSA-5v4m-c73v-c7gq (Plug),
    CVE-2020-9484 and CVE-2025-24813 (Tomcat), CVE-2015-8566 (Joomla), pyramid_session_redis 1.5.1,
    getsentry/sentry#30861: session bytes were loaded with a format that runs code.

    Not over cookie://: only someone with the secret can create a cookie there; case 26 sends a pickle.
    """
    marker = tmp_path / "marker"
    bomb = pickle.dumps(Bomb(marker))
    browser.do(put(k=1))
    record = stored(site, browser)
    assert record is not None
    key, version = tokens.store_key(browser.token.partition(".")[0].encode()), record.version
    for number, data in enumerate((bomb, join({**values_of(site, browser), "k": bomb}), b64encode(bomb))):
        written = record._replace(data=data, version=b"%016d" % number)
        site.calls.inner.replace(key, written, version, site.clock())
        version = written.version
        assert opened_by(site, browser.header) == {}
    assert not marker.exists()


@case(35)
def test_the_package_imports_nothing_that_loads_code() -> None:
    """No module of the package imports pickle, marshal, shelve, dill or yaml, or calls `eval` or `exec`."""
    forbidden = {"pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle", "yaml"}
    found: list[str] = []
    collect: dict[type, Callable[[Any], list[str]]] = {
        ast.Import: lambda node: [alias.name.partition(".")[0] for alias in node.names],
        ast.ImportFrom: lambda node: [(node.module or "").partition(".")[0]],
        ast.Call: lambda node: [f"{node.func.id}()"] if isinstance(node.func, ast.Name) else [],
    }
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = collect.get(type(node), lambda node: [])(node)
            found += [f"{path.name}: {name}" for name in names if name in forbidden | {"eval()", "exec()", "compile()"}]
    assert found == []
