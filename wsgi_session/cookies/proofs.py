"""Proofs that a browser has a private key: the signed texts of Device Bound Session Credentials (ES256, RFC 7515).

A proof is a JWT in the compact form. This module reads the one form that browsers send, so it needs no general library
for JWTs. It refuses all others: another algorithm (``none`` included), another type, a critical extension (``crit``), a
key that is not on the curve P-256. ``cryptography`` checks the signature.
"""

from __future__ import annotations

import json
import re
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from itsdangerous import BadData, base64_decode

#: A longer proof is refused. Those of browsers have less than 500 characters.
MAX_PROOF = 4096
# Header and payload, both signed, and 64 bytes of signature.
_FORM = re.compile(r"(([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+))\.([A-Za-z0-9_-]{86})", re.ASCII)
_COORDINATE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


def registered_key(proof: str) -> tuple[bytes, str] | None:
    """Return the public key that a browser registers, 65 bytes, and the challenge that it has signed with it.

    ``None`` if the proof is not valid. Never raises, whatever a client sends.
    """
    try:
        header, *rest = _parts(proof)
        jwk = header["jwk"]
        if jwk["kty"] != "EC" or jwk["crv"] != "P-256":
            return None
        point = b"\x04" + _coordinate(jwk["x"]) + _coordinate(jwk["y"])
        return point, _signed_challenge(point, *rest)
    except (ValueError, TypeError, LookupError, RecursionError, BadData, InvalidSignature):
        return None


def signed_challenge(proof: str, key: bytes) -> str | None:
    """Return the challenge that the owner of the public key has signed; ``None`` if the proof is not valid.

    A key in the proof itself does not count. Never raises, whatever a client sends.
    """
    try:
        _, *rest = _parts(proof)
        return _signed_challenge(key, *rest)
    except (ValueError, TypeError, LookupError, RecursionError, BadData, InvalidSignature):
        return None


def unquoted(value: str) -> str:
    """Return the text of a structured header (RFC 9651). The draft asks for quotes, Chromium 156 sends none."""
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def _parts(proof: str) -> tuple[dict[str, Any], str, str, str]:
    """Return the header, and the texts of what is signed, of the payload and of the signature."""
    form = None if len(proof) > MAX_PROOF else _FORM.fullmatch(unquoted(proof))
    if form is None:
        raise ValueError("not a JWT with a signature of ES256")
    signed, header_text, payload, signature = form.groups()
    header = json.loads(base64_decode(header_text))
    if header["alg"] != "ES256" or header["typ"] != "dbsc+jwt" or "crit" in header:
        raise ValueError("another kind of JWT")
    return header, signed, payload, signature


def _signed_challenge(key: bytes, signed: str, payload: str, signature: str) -> str:
    raw = base64_decode(signature)
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    EllipticCurvePublicKey.from_encoded_point(SECP256R1(), key).verify(der, signed.encode("ascii"), ECDSA(SHA256()))
    challenge = json.loads(base64_decode(payload))["jti"]
    if not isinstance(challenge, str):
        raise TypeError("a challenge that is not text")
    return challenge


def _coordinate(text: str) -> bytes:
    if _COORDINATE.fullmatch(text) is None:
        raise ValueError("not 32 bytes")
    return base64_decode(text)
