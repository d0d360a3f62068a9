"""Promises about any Cookie header."""

from __future__ import annotations

from collections.abc import Sequence

from tests.fuzz.visits import Broken, Visits, flash, read, write
from wsgi_session.cookies.cookie import SessionCookie
from wsgi_session.cookies.tokens import TokenSigner, new_token
from wsgi_session.stores import MemoryStore
from wsgi_session.testing import plant

#: Number of sessions that have a valid cookie.
PLANTED = 3
_SECRET = b"of the reader alone: 62a8c1d9e4f7b035"


class Headers:
    """For any Cookie header, over a store: an answer, no other visitor's data, and no id that the client chose."""

    words: Sequence[bytes] = (
        b"sid",
        b"sid=",
        b"__Host-sid=",
        b"__Secure-sid=",
        b";",
        b"; ",
        b"=",
        b",",
        b'"',
        b" ",
        b"\t",
        b"\0",
        b"\r\n",
        b"\x0b",
        b"\x1f",
        b"\x85",
        b"\xa0",
        b"\\073",
        b"\\",
        b"%3B",
        b"$Version=1; ",
        b".",
        b"-",
        b"_",
        b"sid.1=",
        b"lang=en,sid=",
        b"Sid=",
        b"a=b",
        b"\xff",
        b"\xc3\xa4",
        b"A" * 43,
        b"A" * 43 + b"." + b"A" * 43,
        b"==",
        b"+/",
    )

    def __init__(self) -> None:
        # So few that the anonymous sessions that are made meanwhile displace one another.
        self._visits = Visits(MemoryStore(max_sessions=1_000))
        self._whose = {self._plant(number): number for number in range(PLANTED)}
        tokens = list(self._whose)
        self.words: Sequence[bytes] = [*Headers.words, *tokens, tokens[0][:43], tokens[0][44:]]
        first, second, third = tokens
        self.valid: Sequence[bytes] = [
            b"sid=" + first,
            b"__Host-sid=" + second,
            b"sid=" + first + b"; lang=en",
            b'lang="a b"; sid=' + third,
            b"sid=nothing; sid=" + first + b"; sid=" + second,
            b"a=1; b=2; __Host-sid=" + first + b"; sid=" + second,
            b"sid=1;sid=2;sid=" + third + b";sid=" + second + b" ; x=y",
        ]

    def hold(self, data: bytes, turn: int) -> None:
        header = data.decode("latin-1")
        visits = self._visits
        kind = turn % 4
        visits.make((read, read, write, flash)[kind], header, "https" if turn & 4 else "http")
        whose = visits.saw.get("whose")
        if whose is not None and not any(token in data for token, its in self._whose.items() if its == whose):
            raise Broken(f"saw session {whose}, whose token the request did not have")
        if whose is None and visits.saw:
            raise Broken(f"saw {visits.saw} without a session")
        if kind < 2 and visits.cookies:
            raise Broken(f"a request that only read got {visits.cookies}")
        for cookie in visits.cookies:
            if cookie.partition("=")[2].partition(";")[0] in header:
                raise Broken(f"the client's own id became a session: {cookie}")

    def _plant(self, number: int) -> bytes:
        # Logged in, so that anonymous sessions do not displace them.
        header = plant(self._visits.middleware, {"whose": number, "user": {"id": number}})
        return header.partition("=")[2].encode()


class Cookies:
    """For any Cookie header, parsed alone: the values of a plain split, and no value with a wrong signature."""

    words = Headers.words

    def __init__(self) -> None:
        self._cookie = SessionCookie("sid")
        self._keyring = TokenSigner([_SECRET], "sid")
        token = new_token()
        self._signed = self._keyring.sign(token)
        good = b"sid=" + self._signed.encode()
        self.valid: Sequence[bytes] = [
            good,
            b"a=b; " + good + b"; a=b",
            b"sid=1; " + good + b";sid=2",
            b" sid= x ; sid=\t",
            b"xsid=1",
        ]

    def hold(self, data: bytes, turn: int) -> None:
        header = data.decode("latin-1")
        values = self._cookie.read(header)
        parts = [part.strip(" \t") for part in header.split(";")]
        wanted = [part.removeprefix("sid=").strip(" \t") for part in parts if part.startswith("sid=")]
        if values != wanted and len(header) <= 65_536:
            raise Broken(f"read {values}, but a plain split gives {wanted}")
        for value in values:
            if (self._keyring.verify(value) is not None) != (value == self._signed):
                raise Broken(f"accepted {value!r}, or refused the signed value")
