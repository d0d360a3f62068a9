"""How Beaker writes a session: a dict as JSON or a pickle, encrypted if there is a key, then in base64."""

from __future__ import annotations

import hashlib
import json
import zlib
from base64 import b64decode
from typing import Any

from wsgi_session.config.secrets import hide
from wsgi_session.errors import ConfigError
from wsgi_session.moving.pickles import load_pickle
from wsgi_session.moving.reader import Foreign, NotAdopted

#: A compressed session that is larger is not adopted.
MAX_SIZE = 1_048_576
# The keys under which Beaker keeps its own data in the session.
_OWN = ("_id", "_creation_time", "_accessed_time", "_expires", "_domain", "_path")
_KEY_LENGTH = 32
_IV, _TAG = 12, 16


class BeakerCodec:
    """Decodes sessions that were written with these settings of Beaker."""

    def __init__(
        self, data_serializer: str, encrypt_key: str | None, validate_key: str | None, encrypt_nonce_bits: int
    ) -> None:
        if data_serializer not in ("pickle", "json"):
            raise ConfigError(f"data_serializer={data_serializer!r}: give 'pickle' or 'json'.")
        if encrypt_key is not None:
            if validate_key is None:
                raise ConfigError("encrypt_key needs validate_key, too.")
            _aes()
        self._is_json = data_serializer == "json"
        self._encrypt_key: Any = hide(encrypt_key)
        self._validate_key: Any = hide(validate_key)
        # The length of the nonce in base64, as Beaker computes it.
        self._nonce_length = (4 * (encrypt_nonce_bits // 8) // 3 + 3) & ~3

    def decode(self, text: Any) -> Any:
        """Return the dict. Raises ``NotAdopted``, or ``ValueError`` and others, if it is damaged."""
        if not isinstance(text, str):
            raise NotAdopted("corrupt", "the session is not a text")
        raw = b64decode(text) if self._encrypt_key is None else self._decrypt(text)
        return json.loads(_decompress(raw)) if self._is_json else load_pickle(raw)

    def _decrypt(self, text: str) -> bytes:
        nonce, data = text[: self._nonce_length], b64decode(text[self._nonce_length :])
        salt = f"{self._validate_key}{nonce}".encode()
        # One round, because Beaker's key is as good as random.
        key = hashlib.pbkdf2_hmac("sha1", self._encrypt_key.encode(), salt, 1, _KEY_LENGTH)
        opened: bytes = _aes()(key).decrypt(data[:_IV], data[_IV + _TAG :] + data[_IV : _IV + _TAG], None)
        return opened


def foreign_of_beaker(data: Any, timeout: float | None, user_key: str | None) -> Foreign:
    """Return the session with Beaker's own keys taken out of its data."""
    if not isinstance(data, dict):
        raise NotAdopted("corrupt", "the session is not a dict")
    kept = {key: value for key, value in data.items() if key not in _OWN}
    touched, created = data.get("_accessed_time"), data.get("_creation_time")
    # Beaker accepts a session while its age is not greater than the timeout.
    expires = None if timeout is None or touched is None else touched + timeout + 0.001
    user_id = None if user_key is None else data.get(user_key)
    return Foreign(kept, touched if created is None else created, touched, expires, user_id)


def _decompress(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(data, MAX_SIZE)
    if not unpacker.eof:
        raise NotAdopted("too_large", f"more than {MAX_SIZE:,} bytes")
    return text


def _aes() -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise ConfigError("encrypt_key needs cryptography: pip install 'wsgi-session[crypto]'.") from error
    return AESGCM
