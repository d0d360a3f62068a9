"""The two measured sessions, of 500 B and of 20 KB (as JSON), and the response of every contender."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

#: A WSGI application. (``wsgiref.types`` has a stricter one, from Python 3.11 on.)
App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

#: The text that S3 reads. It is the body of the response, so that no application can skip the reading.
EMAIL = "ann.example@example.com"
#: The body where nothing is read, and where a forged cookie must not find a session.
NOBODY = "-" * len(EMAIL)
#: The form in which S4 answers with ``visits``: as long as the other bodies.
VISITS = f"%0{len(EMAIL)}d"

HEADERS = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(EMAIL)))]

#: Nine keys, as a shop's visitor has them.
SMALL: dict[str, Any] = {
    "user": {"id": 48213, "name": "Ann Example", "email": EMAIL, "role": "editor"},
    "email": EMAIL,
    "visits": 7,
    "nonce": "q0XKcGkPb1nJx9m2u3T7Yw5VfZrLhD8sEoAiB4tNCgM",
    "locale": "en-GB",
    "theme": "dark",
    "last_page": "/catalogue/garden/tools?page=3&sort=price&in_stock=yes&q=brass",
    "newsletter": True,
    "cart": [
        {"sku": "A-1001", "name": "Watering can", "quantity": 1, "price": 1995},
        {"sku": "B-2040", "name": "Hand trowel", "quantity": 2, "price": 850},
    ],
}

#: Twelve keys: the small session's, and three that belong in a database.
LARGE: dict[str, Any] = {
    **SMALL,
    "orders": [
        {"number": 700100 + n, "state": "delivered", "total": 1995 + 7 * n, "items": [f"A-{n:04d}", f"B-{n:04d}"]}
        for n in range(90)
    ],
    "recently_viewed": [
        {"sku": f"C-{n:04d}", "title": f"Garden item number {n}", "price": 350 + n} for n in range(110)
    ],
    "draft": {"subject": "A question about my order", "text": "The lid of the watering can does not fit. " * 99},
}


#: The names of what an application does with its session. Every contender has an application for each.
#:
#: ``untouched`` does nothing; ``read`` reads the text under ``email``; ``read_nested`` reads the e-mail address in the
#: mapping under ``user``; ``write`` reads ``visits`` and writes it, one higher; ``new_small`` and ``new_large`` store
#: all keys of SMALL or LARGE.
WORKS = ("untouched", "read", "read_nested", "write", "new_small", "new_large")


def untouched(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer without reading a session: the bare application, and the one of S1 and S2."""
    start_response("200 OK", HEADERS.copy())
    return [NOBODY.encode()]


def size(payload: dict[str, Any]) -> int:
    """Return the bytes that the session takes as JSON, which is what the floor stores."""
    return len(json.dumps(payload))
