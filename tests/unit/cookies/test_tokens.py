"""Tokens: random, signed in the format of itsdangerous, hashed for the store."""

from __future__ import annotations

import hashlib
import re
import string
from base64 import urlsafe_b64decode
from itertools import pairwise

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from itsdangerous import BadSignature, Signer

from wsgi_session.cookies import tokens
from wsgi_session.cookies.tokens import TokenSigner

NEWEST, OLDER, OLDEST = b"newest" * 6, b"older." * 6, b"oldest" * 6
URL_SAFE = string.ascii_letters + string.digits + "-_"
SIGNED = TokenSigner([NEWEST], "sid")
TOKEN = tokens.new_token()


def signer(*secrets_oldest_first: bytes, namespace: str = "sid") -> Signer:
    """Return itsdangerous' own signer, with the parameters from our documentation."""
    salt = b"wsgi-session.token." + namespace.encode()
    return Signer(list(secrets_oldest_first), salt=salt, key_derivation="hmac", digest_method=hashlib.sha256)


# Generating.


def test_ten_thousand_tokens_are_distinct_url_safe_and_in_no_order() -> None:
    drawn = [tokens.new_token() for _ in range(10_000)]
    assert len(set(drawn)) == len(drawn)
    assert all(re.fullmatch(rb"[A-Za-z0-9_-]{43}", token) for token in drawn)
    # If tokens started with a time or a counter, many would share their first characters.
    assert len({token[:4] for token in drawn}) > 9_900
    rising = sum(first < second for first, second in pairwise(drawn))
    assert 4_500 < rising < 5_500, rising


def test_every_character_of_a_token_varies() -> None:
    drawn = [tokens.new_token().decode() for _ in range(2_000)]
    for place in range(42):
        assert {token[place] for token in drawn} == set(URL_SAFE), place


def test_handles_and_versions_are_random_and_tell_nothing_of_each_other() -> None:
    drawn = [tokens.new_handle_and_version() for _ in range(1_000)]
    handles = {handle for handle, _ in drawn}
    versions = {version for _, version in drawn} | {tokens.new_version() for _ in range(1_000)}
    assert (len(handles), len(versions)) == (1_000, 2_000)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{16}", handle) for handle in handles)
    assert {len(version) for version in versions} == {16}
    assert not any(urlsafe_b64decode(handle) in version for handle, version in drawn)


@pytest.mark.parametrize("begins", [False, True])
def test_the_version_of_a_rotation_says_whether_a_login_begins_another_session(begins: bool) -> None:
    drawn = {tokens.new_rotation_version(is_login=begins) for _ in range(1_000)}
    assert len(drawn) == 1_000
    assert {len(version) for version in drawn} == {16}
    assert {tokens.rotated_by_login(version) for version in drawn} == {begins}
    assert len({version[15] for version in drawn}) > 64, "the rest of it is random"


# Signing.


def test_what_we_sign_itsdangerous_opens_and_the_reverse() -> None:
    assert signer(NEWEST).unsign(SIGNED.sign(TOKEN)) == TOKEN
    assert SIGNED.verify(signer(NEWEST).sign(TOKEN).decode()) == (TOKEN, True)
    assert SIGNED.sign(TOKEN).encode() == signer(NEWEST).sign(TOKEN)
    assert len(SIGNED.sign(TOKEN)) == tokens.SIGNED_LENGTH


def test_the_first_secret_signs_and_all_verify() -> None:
    """CVE-2025-47278: Flask signed with the oldest secret, because itsdangerous expects the newest last."""
    rotating = TokenSigner([NEWEST, OLDER, OLDEST], "sid")
    assert rotating.sign(TOKEN).encode() == signer(NEWEST).sign(TOKEN)
    assert rotating.sign(TOKEN).encode() == signer(OLDEST, OLDER, NEWEST).sign(TOKEN)
    opened = {secret: rotating.verify(TokenSigner([secret], "sid").sign(TOKEN)) for secret in (NEWEST, OLDER, OLDEST)}
    assert opened == {NEWEST: (TOKEN, True), OLDER: (TOKEN, False), OLDEST: (TOKEN, False)}


def test_a_secret_that_was_dropped_opens_nothing() -> None:
    assert TokenSigner([NEWEST, OLDER], "sid").verify(TokenSigner([OLDEST], "sid").sign(TOKEN)) is None


@pytest.mark.parametrize("other", ["sid2", "si", "", "SID", "sid.", "__Host-sid", "s\xefd"])
def test_a_cookie_of_one_namespace_opens_nothing_in_another(other: str) -> None:
    assert TokenSigner([NEWEST], other).verify(SIGNED.sign(TOKEN)) is None
    assert SIGNED.verify(TokenSigner([NEWEST], other).sign(TOKEN)) is None


def test_a_signature_made_for_another_purpose_opens_nothing() -> None:
    for salt in (b"itsdangerous.Signer", b"wsgi-session.token.", b"cookie-session"):
        foreign = Signer(NEWEST, salt=salt, key_derivation="hmac", digest_method=hashlib.sha256)
        assert SIGNED.verify(foreign.sign(TOKEN).decode()) is None


@given(st.integers(0, 86), st.sampled_from(URL_SAFE + ".=+/ \x00\xe9\u0130"))
def test_no_changed_character_is_overlooked(place: int, character: str) -> None:
    signed = SIGNED.sign(TOKEN)
    changed = signed[:place] + character + signed[place + 1 :]
    assume(changed != signed)
    assert SIGNED.verify(changed) is None


@given(st.text() | st.text(URL_SAFE + ".", min_size=85, max_size=88) | st.text(min_size=87, max_size=87))
@example("t" * 43 + "." + "\udc80" * 43)  # From a server that does not decode headers as latin-1.
def test_what_we_did_not_sign_opens_nothing_and_raises_nothing(text: str) -> None:
    assert SIGNED.verify(text) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda signed: signed[:-1],
        lambda signed: signed + "=",
        lambda signed: " " + signed,
        lambda signed: signed.replace(".", ""),
        lambda signed: signed[:43],
        lambda signed: signed[:44],
        lambda signed: "." + signed[:43] + signed[44:],
        lambda signed: signed.swapcase(),
        lambda signed: "",
        lambda signed: signed * 100,
    ],
)
def test_a_cut_or_padded_cookie_opens_nothing(change: object) -> None:
    assert callable(change)
    assert SIGNED.verify(change(SIGNED.sign(TOKEN))) is None


def test_itsdangerous_agrees_on_what_is_forged() -> None:
    forged = TokenSigner([OLDER], "sid").sign(TOKEN)
    with pytest.raises(BadSignature):
        signer(NEWEST).unsign(forged)
    assert SIGNED.verify(forged) is None


# For the store.


def test_a_store_sees_the_hash_of_a_token_and_of_an_owner() -> None:
    """CVE-2019-16782: a copy of the store is not enough to log in."""
    assert tokens.store_key(TOKEN) == hashlib.sha256(TOKEN).digest()
    assert len(tokens.owner_key("sid", "id:5")) == 32


namespaces = st.text(string.ascii_letters + ":0123456789", max_size=6)


@given(st.tuples(namespaces, namespaces), st.tuples(namespaces, namespaces))
def test_no_two_owners_of_any_namespaces_share_a_key(first: tuple[str, str], second: tuple[str, str]) -> None:
    assert (tokens.owner_key(*first) == tokens.owner_key(*second)) == (first == second)


def test_a_namespace_that_runs_into_the_owner_is_another() -> None:
    assert tokens.owner_key("a", "b:c") != tokens.owner_key("a:b", "c")
    assert tokens.owner_key("1:a", "id:5") != tokens.owner_key("1", "a:id:5")


# CSRF tokens.


def test_a_csrf_token_is_another_text_each_time_and_always_matches() -> None:
    """BREACH guesses texts that are the same in each response by their compressed length."""
    given_out = {tokens.csrf_token(TOKEN) for _ in range(100)}
    assert len(given_out) == 100
    assert all(tokens.csrf_matches(TOKEN, text) for text in given_out)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{86}", text) for text in given_out)
    assert not any(TOKEN.decode()[:8] in text for text in given_out)
    assert len({text[43:] for text in given_out}) == 100, "the mask is not on the secret"


def test_an_unmasked_csrf_token_is_the_same_text_each_time_and_matches_too() -> None:
    (steady,) = {tokens.unmasked_csrf_token(tokens.csrf_token(TOKEN)) for _ in range(100)}
    assert tokens.csrf_matches(TOKEN, steady)
    assert not tokens.csrf_matches(tokens.new_token(), steady)


def test_a_csrf_token_is_one_sessions_own() -> None:
    assert not tokens.csrf_matches(tokens.new_token(), tokens.csrf_token(TOKEN))


# Made once: each is masked at random, and hypothesis expects that an example repeats.
CSRF_TOKEN = tokens.csrf_token(TOKEN)


@given(st.integers(0, 84), st.sampled_from(URL_SAFE + "=+ \xe9"))
def test_no_changed_character_of_a_csrf_token_is_overlooked(place: int, character: str) -> None:
    text = CSRF_TOKEN
    changed = text[:place] + character + text[place + 1 :]
    assume(changed != text)
    assert not tokens.csrf_matches(TOKEN, changed)


@given(st.text() | st.text(URL_SAFE + "+/=!", min_size=85, max_size=87) | st.text(min_size=86, max_size=86))
def test_any_other_text_is_no_csrf_token_and_raises_nothing(text: str) -> None:
    assert not tokens.csrf_matches(TOKEN, text)


def test_a_csrf_token_with_foreign_characters_in_it_is_refused() -> None:
    """Decoders skip or accept characters outside their alphabet, so a token with such characters is not decoded."""
    text = tokens.csrf_token(TOKEN)
    assert not tokens.csrf_matches(TOKEN, "!!" + text[:84])
    assert not tokens.csrf_matches(TOKEN, "!!!!" + text[:82])
    assert not tokens.csrf_matches(TOKEN, "A" * 86)
    assert not tokens.csrf_matches(TOKEN, text + "\n")


def test_a_token_in_the_standard_base64_alphabet_is_refused_before_it_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Python 3.15 warns of "+" and "/" in url-safe base64, which would raise if warnings are errors."""
    monkeypatch.setattr(tokens, "a2b_base64", lambda text: pytest.fail("decoded"))
    for text in ("+" * 86, "/" * 86, tokens.csrf_token(TOKEN)[:85] + "+"):
        assert not tokens.csrf_matches(TOKEN, text)


@pytest.mark.parametrize("given", [None, b"A" * 86, 5, ["A"] * 86, object()], ids=lambda given: type(given).__name__)
def test_what_is_not_text_is_a_wrong_token(given: object) -> None:
    assert not tokens.csrf_matches(TOKEN, given)
