"""The three people who can log in, and how their passwords are checked.

This file contains only scrypt hashes of the passwords. The login page shows them in plain text, because this is a demo.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

#: E-mail address: the user (for ``session["user"]``), the salt and the hash of the password.
_USERS: dict[str, tuple[dict[str, Any], str, str]] = {
    "ann@example.com": (
        {"id": 1, "name": "Ann Archer", "email": "ann@example.com"},
        "eb09cbcd54cd682fb457767bdbb75dfc",
        "115aa723270f62de64dca25b0d11e7091aa845ff623306e10dca439adc564eb7",
    ),
    "bjorn@example.com": (
        {"id": 2, "name": "Björn Åkesson", "email": "bjorn@example.com"},
        "599f5556d6a2de7bf2f6e2369c18fb2b",
        "0c9c28097e7c294ec4126d9204576f9199307088141981119aa62c40ee3bd3d6",
    ),
    "chloe@example.com": (
        {"id": 3, "name": "Chloé O’Brien", "email": "chloe@example.com"},
        "dda91d42065313614ad6611c3f9c4aa6",
        "062293235c118d754813fbe700601ad45ae8862e7bfddcd0ca0dd6949df0a41b",
    ),
}
#: Checked for an unknown e-mail address, so that the response time does not reveal which accounts exist.
_NOBODY = (None, "00" * 16, "00" * 32)


def check(email: str, password: str) -> dict[str, Any] | None:
    """Return the user who has this e-mail and password, or ``None``."""
    user, salt, expected = _USERS.get(email.strip().lower(), _NOBODY)
    if not hmac.compare_digest(scrypt(password, salt), bytes.fromhex(expected)) or user is None:
        return None
    return dict(user)  # A copy, so that changes to ``session["user"]`` do not change this table.


def scrypt(password: str, salt: str) -> bytes:
    """Hash a password: it takes about 50 ms and 16 MiB, also for each guess of an attacker who has the hashes."""
    return hashlib.scrypt(password.encode(), salt=bytes.fromhex(salt), n=2**14, r=8, p=1, dklen=32)
