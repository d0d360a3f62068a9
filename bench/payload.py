"""The two sessions that are measured, of 500 B and of 20 KB (as JSON), and the response that every contender gives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

#: A WSGI application. (``wsgiref.types`` has a stricter one, from Python 3.11 on.)
App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

#: What S3 reads. The response's body is this text, so that an application which did not read it cannot pass for one.
EMAIL = "ann.example@example.com"
#: The body where nothing is read, and where a forged cookie must find nobody.
NOBODY = "-" * len(EMAIL)
#: S4 reads and writes ``visits``, and answers with it in this form: as long as the others.
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

#: Twelve keys: the small session's, and three that somebody put there who ought to have used a database.
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


#: What an application does with its session, by name: what every contender has an application for.
#:
#: ``untouched`` nothing; ``read`` the text under ``email``; ``read_nested`` the mapping under ``user``, of which the
#: e-mail address; ``write`` reads ``visits`` and writes it, one higher; ``new_small`` and ``new_large`` put all keys of
#: SMALL or LARGE in.
WORKS = ("untouched", "read", "read_nested", "write", "new_small", "new_large")


def untouched(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer without a look at any session: the bare application, and what S1 and S2 wrap."""
    start_response("200 OK", HEADERS.copy())
    return [NOBODY.encode()]


def size(payload: dict[str, Any]) -> int:
    """Return the bytes that the session takes as JSON, which is what the floor stores."""
    return len(json.dumps(payload))
