"""The reader of the proofs that a browser has a key: it takes the one form that browsers send, and no other."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.device import Key, base64url

from wsgi_session.cookies.proofs import MAX_PROOF, registered_key, signed_challenge, unquoted  # isort: skip

KEY, OTHER = Key(), Key()
POINT = b"\x04" + bytes.fromhex(
    "".join(f"{number:064x}" for number in (lambda n: (n.x, n.y))(KEY.private.public_key().public_numbers()))
)

# As Chromium 156 has sent them, for the challenges "chal-1" and "next-chal".
CHROMIUM_REGISTRATION = (
    "eyJhbGciOiJFUzI1NiIsImp3ayI6eyJjcnYiOiJQLTI1NiIsImt0eSI6IkVDIiwieCI6IlRoT3BFN085WWFBdmdTcTlLcHZJeGFybUF6SVJfLVBW"
    "MzJvVWVrOWdmczQiLCJ5IjoiTVZjTWdIeE4yeWRxUzJTeTVTY0lzNlJXMV93OHRCTG13cjdqWWZBM2d0TSJ9LCJ0eXAiOiJkYnNjK2p3dCJ9.eyJq"
    "dGkiOiJjaGFsLTEifQ.lbrdUPCG2tey0dTEGeSdzTfhHhiAtGcRmkt26Yb1wP6s7nex49Sb761LbbFXz9CjmCHLlGRlyR6fuR5sf90faw"
)
CHROMIUM_REFRESH = (
    "eyJhbGciOiJFUzI1NiIsInR5cCI6ImRic2Mrand0In0.eyJqdGkiOiJuZXh0LWNoYWwifQ.DVB7jda2h_CJ7aXOZo2CGmfE6bGTj2xMyZs6V-Xnvl"
    "rqlM8WSAeeDiBl2XfBGzDBxFRQB9vUM3nhus9VvKGvRw"
)


def test_what_chromium_sends_is_read() -> None:
    registered = registered_key(CHROMIUM_REGISTRATION)
    assert registered is not None
    key, challenge = registered
    assert challenge == "chal-1"
    assert signed_challenge(CHROMIUM_REFRESH, key) == "next-chal"


def test_a_proof_may_have_the_quotes_of_the_draft() -> None:
    assert registered_key(f'"{KEY.proof("c", jwk=True)}"') == (POINT, "c")
    assert signed_challenge(f'"{KEY.proof("c")}"', POINT) == "c"
    assert [unquoted(text) for text in ("a", '"', '""', '"a"', '"a', 'a"')] == ["a", '"', "", "a", '"a', 'a"']


def test_a_proof_of_another_key_is_refused() -> None:
    assert signed_challenge(OTHER.proof("c"), POINT) is None
    assert signed_challenge(OTHER.proof("c", jwk=True), POINT) is None
    assert registered_key(OTHER.proof("c", header={"jwk": KEY.jwk})) is None


def _swapped(proof: str, *, header: str | None = None, payload: str | None = None, signature: str | None = None) -> str:
    parts = proof.split(".")
    for place, part in enumerate((header, payload, signature)):
        if part is not None:
            parts[place] = part
    return ".".join(parts)


def _json(value: Any) -> str:
    return base64url(json.dumps(value).encode())


FORGED = {
    "no signature": _swapped(KEY.proof("c", jwk=True), signature=""),
    "alg none": _swapped(
        KEY.proof("c"), header=_json({"alg": "none", "typ": "dbsc+jwt", "jwk": KEY.jwk}), signature=""
    ),
    "alg none, signed": KEY.proof("c", jwk=True, header={"alg": "none"}),
    "alg HS256": KEY.proof("c", jwk=True, header={"alg": "HS256"}),
    "alg in another case": KEY.proof("c", jwk=True, header={"alg": "es256"}),
    "alg a list": KEY.proof("c", jwk=True, header={"alg": ["ES256"]}),
    "typ JWT": KEY.proof("c", jwk=True, header={"typ": "JWT"}),
    "no typ": KEY.proof("c", header={"alg": "ES256", "jwk": KEY.jwk, "typ": None}),
    "crit": KEY.proof("c", jwk=True, header={"crit": ["exp"]}),
    "crit empty": KEY.proof("c", jwk=True, header={"crit": []}),
    "another payload": _swapped(KEY.proof("c", jwk=True), payload=_json({"jti": "d"})),
    "a signature of zeros": _swapped(KEY.proof("c", jwk=True), signature=base64url(bytes(64))),
    "a signature in DER": _swapped(KEY.proof("c", jwk=True), signature=base64url(b"0" * 70)),
    "a challenge of a number": KEY.proof(1, jwk=True),
    "no challenge": KEY.proof("c", jwk=True, payload={}),
    "a payload of a list": KEY.proof("c", jwk=True, payload=["jti"]),
    "a payload that is no JSON": KEY.proof("c", jwk=True, payload=b"{"),
    "a payload that is no UTF-8": KEY.proof("c", jwk=True, payload=b'{"jti":"\xff"}'),
    "a payload of a million brackets": KEY.proof("c", jwk=True, payload=b"[" * 2500),
    "a header of a list": KEY.proof("c", header=[]),
    "a header of brackets": KEY.proof("c", header=b"[" * 2500),
    "a header of a length that base64 never has": _swapped(KEY.proof("c", jwk=True), header="AAAAA"),
    "four parts": KEY.proof("c", jwk=True) + ".a",
    "spaces": KEY.proof("c", jwk=True) + " ",
    "two proofs in one header": KEY.proof("c", jwk=True) + "," + KEY.proof("c", jwk=True),
    "standard base64": KEY.proof("c", jwk=True).replace("-", "+").replace("_", "/") + "=",
    "too long": KEY.proof("c", jwk=True, header={"kid": "x" * MAX_PROOF}),
    "empty": "",
    "not ASCII": "é" * 100,
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_proof_is_refused(name: str) -> None:
    assert registered_key(FORGED[name]) is None
    assert signed_challenge(FORGED[name], POINT) is None


JWKS: dict[str, Any] = {
    "none": None,
    "a text": "key",
    "an RSA key": {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
    "another curve": {**KEY.jwk, "crv": "P-384"},
    "a symmetric key": {"kty": "oct", "k": "AAAA"},
    "a point that is not on the curve": {**KEY.jwk, "x": base64url(b"\x01" * 32)},
    "the point at infinity": {**KEY.jwk, "x": base64url(bytes(32)), "y": base64url(bytes(32))},
    "a short coordinate": {**KEY.jwk, "x": "AAAA"},
    "a coordinate of a number": {**KEY.jwk, "x": 5},
    "a coordinate above the field": {**KEY.jwk, "x": base64url(b"\xff" * 32)},
    "no y": {name: value for name, value in KEY.jwk.items() if name != "y"},
}


@pytest.mark.parametrize("name", JWKS)
def test_a_key_that_is_not_on_the_curve_is_refused(name: str) -> None:
    assert registered_key(KEY.proof("c", header={"jwk": JWKS[name]})) is None


def test_a_proof_without_a_key_registers_none() -> None:
    assert registered_key(KEY.proof("c")) is None


@given(st.text() | st.lists(st.sampled_from([*KEY.proof("c", jwk=True).split("."), ".", '"', "A"])).map("".join))
def test_no_header_of_a_client_makes_the_reader_raise(text: str) -> None:
    registered_key(text)
    signed_challenge(text, POINT)
