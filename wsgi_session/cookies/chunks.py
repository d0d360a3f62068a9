"""A text that is too long for one cookie, in up to five.

The head stands in ``sid``: ``3.part``, how many cookies there are and the first part. The others stand in ``sid.1`` to
``sid.4``: ``mark.part``. The mark is made of random characters of the text itself, so that of several ``sid.1`` in a
header (a neighbouring host may plant some) the one that belongs to the head is found.

The names are always the same ones: of overlapping requests the later answer writes over the earlier one's pieces. Names
of their own for each text would pile up in the browser, until servers refuse the long header for good.
"""

from __future__ import annotations

from wsgi_session.cookies.cookie import MAX_AGE, SchemeCookies, SessionCookie

#: Bytes of one cookie, attributes included, that every browser takes (RFC 6265bis, 6.1).
MAX_COOKIE = 4096
#: Cookies that one text may take.
MAX_PIECES = 5
_COUNTS = frozenset(map(str, range(2, MAX_PIECES + 1)))


class Pieces:
    """Writes, reads and removes the texts of one middleware. ``mark``: where a text has random characters."""

    def __init__(self, cookies: SchemeCookies, mark: slice) -> None:
        self._mark = mark
        self._others = {
            cookie.name: [cookie.piece(f".{number}") for number in range(1, MAX_PIECES)]
            for cookie in (cookies.http, cookies.https)
        }
        longest = max(len(others[-1].write("", MAX_AGE)) for others in self._others.values())
        #: Characters that one of several cookies holds, whichever it is; below 1 if the attributes leave no room.
        self.room = MAX_COOKIE - longest - (mark.stop - mark.start) - len(".")

    def read(self, cookie: SessionCookie, header: str) -> list[str]:
        """Return the text of every cookie of this name, in the header's order; incomplete ones as they are."""
        values = cookie.read(header)
        others: dict[str, str] | None = None
        for place, value in enumerate(values):
            if "." not in value:
                continue
            if others is None:
                others = self._read_others(cookie, header)
            values[place] = self._joined(value, others)
        return values

    def write(self, cookie: SessionCookie, text: str, max_age: float | None, header: str) -> list[str]:
        """Return the Set-Cookie values that put ``text`` into a browser, and take out what it sent and is stale."""
        head = cookie.write(text, max_age)
        if len(head) <= MAX_COOKIE:
            return [head, *self._removals(cookie, header, 0)]
        parts = [text[start : start + self.room] for start in range(0, len(text), self.room)]
        head = cookie.write(f"{len(parts)}.{parts[0]}", max_age)
        mark = text[self._mark]
        others = zip(self._others[cookie.name], parts[1:], strict=False)
        rest = [other.write(f"{mark}.{part}", max_age) for other, part in others]
        # The head after the rest, so that there is none without its pieces.
        return [*rest, head, *self._removals(cookie, header, len(rest))]

    def remove(self, cookie: SessionCookie, header: str) -> list[str]:
        """Return the Set-Cookie values that remove what the browser sent, none if it sent nothing."""
        removals = self._removals(cookie, header, 0)
        return [cookie.remove(), *removals] if cookie.read(header) else removals

    def _joined(self, head: str, others: dict[str, str]) -> str:
        """Return the whole text, or one that is nobody's if pieces are missing or of another."""
        count, _, first = head.partition(".")
        if count not in _COUNTS:
            return ""
        mark = first[self._mark]
        # Each piece is taken once: the time is linear in the header, however many heads somebody planted.
        return first + "".join(others.pop(f"{number}{mark}", "") for number in range(1, int(count)))

    def _read_others(self, cookie: SessionCookie, header: str) -> dict[str, str]:
        """Return the parts of every piece in the header, by number and mark."""
        others: dict[str, str] = {}
        for number, other in enumerate(self._others[cookie.name], 1):
            for value in other.read(header):
                mark, _, part = value.partition(".")
                others.setdefault(f"{number}{mark}", part)
        return others

    def _removals(self, cookie: SessionCookie, header: str, kept: int) -> list[str]:
        """Return what removes the pieces that the browser sent, but the first ``kept``."""
        if cookie.name + "." not in header:
            return []
        return [other.remove() for other in self._others[cookie.name][kept:] if other.read(header)]
