"""Django's signed objects: ``payload:time:signature``, with JSON in the payload, possibly compressed."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from typing import Any

from itsdangerous import Signer
from itsdangerous.encoding import base64_decode

from wsgi_session.moving.flask_cookie import check_keys
from wsgi_session.moving.reader import NotAdopted

#: A compressed session that is larger is not adopted.
MAX_SIZE = 1_048_576
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def django_signer(secret_keys: str | bytes | Sequence[str | bytes], salt: str, algorithm: str = "sha256") -> Signer:
    """Return a signer that makes the signatures of ``django.core.signing.Signer``; the keys are newest first."""
    keys = check_keys(secret_keys)
    digest = getattr(hashlib, algorithm)
    return Signer(keys, salt=salt, sep=":", key_derivation="django-concat", digest_method=digest)


def split_signed(signed: str) -> tuple[str, float]:
    """Return payload and time of an object whose signature was checked and removed."""
    payload, colon, digits = signed.rpartition(":")
    if not colon or not digits or len(digits) > 8:
        raise NotAdopted("corrupt", "no time")
    seconds = 0
    for digit in str.__str__(digits):
        seconds = seconds * 62 + _DIGITS.index(digit)
    return payload, float(seconds)


def loads_django(payload: str) -> Any:
    """Return the object in a payload. Raises ``ValueError`` or ``zlib.error`` if it is damaged."""
    if not payload.startswith("."):
        return json.loads(base64_decode(payload).decode("latin-1"))
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(base64_decode(payload[1:]), MAX_SIZE)
    if not unpacker.eof:
        raise NotAdopted("too_large", f"more than {MAX_SIZE:,} bytes")
    return json.loads(data.decode("latin-1"))
