"""The SQL statements of ``SQLiteStore``.

Each runs outside any transaction, so that SQLite makes it one atomic step. They are constants, because a connection
finds its prepared statement by the text.
"""

from __future__ import annotations

from wsgi_session.stores.contract import DELETE_BATCH
from wsgi_session.stores.sqlite.file import APPLICATION_ID

# The limits of one DELETE of a sweep, so that it holds the write lock for less than 50 ms: 200 records change up to 600
# pages, in about 7 ms.
BATCH_RECORDS = 200
BATCH_BYTES = 4 << 20

_FIELDS = "data, version, handle, created, touched, expires, owner, persistent, idle, namespace"
LOAD = f"SELECT {_FIELDS} FROM sessions WHERE key = ? AND expires > ?"  # noqa: S608 - constants
_ROW = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_OVERWRITE = """
    ON CONFLICT (key) DO UPDATE SET
        data = excluded.data, version = excluded.version, handle = excluded.handle, created = excluded.created,
        touched = excluded.touched, expires = excluded.expires, owner = excluded.owner,
        persistent = excluded.persistent, idle = excluded.idle, namespace = excluded.namespace"""
CREATE = f"""
    INSERT INTO sessions ({_FIELDS}, key) VALUES {_ROW} {_OVERWRITE}
    WHERE sessions.expires <= ?"""  # noqa: S608 - constants
# For a replace that moves neither time: SET with `expires` would rewrite its index entry, which takes twice as long.
REPLACE_DATA = """
    UPDATE sessions SET data = ?, version = ?
    WHERE key = ? AND version = ? AND expires > ? AND touched >= ? AND expires >= ?"""
REPLACE = """
    UPDATE sessions SET data = ?, version = ?, touched = max(touched, ?), expires = max(expires, ?)
    WHERE key = ? AND version = ? AND expires > ?"""
# Writes both rows of a rotation: the record under its new key, and the tombstone over the old record. SQLite runs one
# write at a time, so that a revocation comes before or after both.
ROTATE = f"""
    INSERT INTO sessions ({_FIELDS}, key) SELECT * FROM (VALUES {_ROW}, {_ROW})
    WHERE EXISTS (SELECT 1 FROM sessions WHERE key = ? AND version = ? AND expires > ? AND handle <> '')
        AND NOT EXISTS (SELECT 1 FROM sessions WHERE key = ? AND expires > ?)
    {_OVERWRITE}"""  # noqa: S608 - constants
VERSIONS = "SELECT key, version, handle FROM sessions WHERE key IN (?, ?) AND expires > ?"
TOUCH = """
    UPDATE sessions SET touched = max(touched, ?), expires = max(expires, ?)
    WHERE key = ? AND expires > ? AND handle <> ''"""
DELETE = "DELETE FROM sessions WHERE key = ? AND handle <> ''"
DELETE_VERSION = "DELETE FROM sessions WHERE key = ? AND version = ?"
_KEYS = ", ".join("?" * DELETE_BATCH)
DELETE_MANY = f"DELETE FROM sessions WHERE key IN ({_KEYS}) AND handle <> ''"  # noqa: S608 - constants
# Ordered by rowid, as in the index, which is the order of creation: a session that is rotated during the listing comes
# after all others. The data is the last column and is not read. A key that is not a blob comes from a manual edit, and
# no token leads to it.
OF_OWNER = """
    SELECT rowid, key, version, handle, created, touched, expires, idle FROM sessions
    WHERE owner = ? AND rowid > ? AND expires > ? AND typeof(key) = 'blob' ORDER BY rowid LIMIT ?"""
COUNT = "SELECT count(*) FROM sessions WHERE expires > ? AND handle <> ''"
COUNT_NAMESPACE = f"{COUNT} AND namespace = ?"
SCAN = f"""
    SELECT rowid, key, {_FIELDS} FROM sessions
    WHERE rowid > ? AND expires > ? AND handle <> '' AND typeof(key) = 'blob'
    ORDER BY rowid LIMIT ?"""  # noqa: S608 - constants
DEAD = "SELECT length(data) FROM sessions WHERE expires < ? ORDER BY expires LIMIT ?"
SWEEP = """
    DELETE FROM sessions WHERE expires < ?
        AND rowid IN (SELECT rowid FROM sessions WHERE expires < ? ORDER BY expires LIMIT ?)"""
# Changes nothing, but is a real write.
PING = f"PRAGMA application_id = {APPLICATION_ID}"


def first_batch(sizes: list[tuple[int]]) -> int:
    """Return how many of the first records, at least one, have ``BATCH_BYTES`` of data together."""
    total = 0
    for number, (size,) in enumerate(sizes, 1):
        total += size
        if total >= BATCH_BYTES:
            return number
    return len(sizes)
