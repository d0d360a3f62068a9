"""Splits a value that is too long for one cookie into up to five cookies.

The first cookie, ``sid``, contains ``3.chunk``: the number of cookies, and the first chunk of the value. The others,
``sid.1`` to ``sid.4``, contain ``id.chunk``. The id is a random part of the value. If a header has several cookies
``sid.1`` (another host of the same domain can set some), the id shows which one belongs to the first cookie.

The cookies' names are fixed: if requests overlap, the later response overwrites the cookies of the earlier one. With
different names for each value, cookies would accumulate in the browser until servers refuse its long header.
"""

from __future__ import annotations

from wsgi_session.cookies.cookie import MAX_AGE, SchemeCookies, SessionCookie

#: The largest cookie, in bytes and with its attributes, that every browser accepts (RFC 6265bis, 6.1).
MAX_COOKIE = 4096
#: The maximum number of cookies for one value.
MAX_CHUNKS = 5
_COUNTS = frozenset(map(str, range(2, MAX_CHUNKS + 1)))


class CookieChunks:
    """Reads, writes and removes the cookies of one middleware. ``id_part``: the part of a value that is its id."""

    def __init__(self, cookies: SchemeCookies, id_part: slice) -> None:
        self._id_part = id_part
        # The cookies after the first one, by the name of the first one.
        self._more = {
            cookie.name: [cookie.with_suffix(f".{number}") for number in range(1, MAX_CHUNKS)]
            for cookie in (cookies.http, cookies.https)
        }
        longest = max(len(more[-1].write("", MAX_AGE)) for more in self._more.values())
        #: Characters of a split value in each cookie; below 1 if the name and the attributes leave no room.
        self.chunk_size = MAX_COOKIE - longest - (id_part.stop - id_part.start) - len(".")

    def read(self, cookie: SessionCookie, header: str) -> list[str]:
        """Return the joined value of every cookie of this name, in the header's order.

        A value with missing chunks is returned without them, and so is not a valid seal.
        """
        values = cookie.read(header)
        chunks: dict[str, str] | None = None
        for place, value in enumerate(values):
            if "." not in value:
                continue
            if chunks is None:
                chunks = self._read_chunks(cookie, header)
            values[place] = self._join(value, chunks)
        return values

    def write(self, cookie: SessionCookie, value: str, max_age: float | None, header: str) -> list[str]:
        """Return the Set-Cookie values that store ``value`` in the browser, and remove stale cookies that it sent."""
        first = cookie.write(value, max_age)
        if len(first) <= MAX_COOKIE:
            return [first, *self._removals(cookie, header, 0)]
        chunks = [value[start : start + self.chunk_size] for start in range(0, len(value), self.chunk_size)]
        first = cookie.write(f"{len(chunks)}.{chunks[0]}", max_age)
        chunk_id = value[self._id_part]
        pairs = zip(self._more[cookie.name], chunks[1:], strict=False)
        rest = [other.write(f"{chunk_id}.{chunk}", max_age) for other, chunk in pairs]
        # The first cookie comes last, so that the browser never has it without the others.
        return [*rest, first, *self._removals(cookie, header, len(rest))]

    def remove(self, cookie: SessionCookie, header: str) -> list[str]:
        """Return the Set-Cookie values that remove the cookies that the browser sent; an empty list if it sent none."""
        removals = self._removals(cookie, header, 0)
        return [cookie.remove(), *removals] if cookie.read(header) else removals

    def _join(self, first: str, chunks: dict[str, str]) -> str:
        """Return the joined value. If chunks are missing or belong to another value, it is not a valid seal."""
        count, _, start = first.partition(".")
        if count not in _COUNTS:
            return ""
        chunk_id = start[self._id_part]
        # Each chunk is used only once, so that this takes linear time even if an attacker has set many first cookies.
        return start + "".join(chunks.pop(f"{number}{chunk_id}", "") for number in range(1, int(count)))

    def _read_chunks(self, cookie: SessionCookie, header: str) -> dict[str, str]:
        """Return the chunks in the header, by number and id."""
        chunks: dict[str, str] = {}
        for number, other in enumerate(self._more[cookie.name], 1):
            for value in other.read(header):
                chunk_id, _, chunk = value.partition(".")
                chunks.setdefault(f"{number}{chunk_id}", chunk)
        return chunks

    def _removals(self, cookie: SessionCookie, header: str, kept: int) -> list[str]:
        """Return the Set-Cookie values that remove the further cookies of the browser, except the first ``kept``."""
        if cookie.name + "." not in header:
            return []
        return [other.remove() for other in self._more[cookie.name][kept:] if other.read(header)]
