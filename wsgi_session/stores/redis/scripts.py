"""The Lua scripts of ``RedisStore``. Each is one atomic step of the server, and is safe to send twice.

The first key is that of the record. The last argument is the prefix of all key names, with which a script updates the
owner index in the same step. In a cluster the index is on another node. There the prefix is empty, and a script returns
the owner, so that the client updates the index; one that ends a session adds the time at which it would have ended.
Otherwise a script returns one of the numbers below.

A write that finds its own version already stored was sent before, and its reply was lost. It then only rewrites one
byte of the record with the same value, because a WAIT that follows counts from this connection's last write.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from wsgi_session.stores.redis.lua import (
    DEAD_PER_WRITE_IN_CLUSTER,
    INDEX_ENTRIES,
    OWNER_INDEX,
    RECORD,
    TTL,
    WRITE_NOTHING,
)

#: The results of the scripts. A touch or a delete returns GONE if there was no record, else DONE. A step of a rotation
#: in a cluster returns ALREADY_DONE if an earlier attempt has taken it.
GONE, DONE, CONFLICT, EXISTS, ALREADY_DONE = range(5)

#: The name of an owner's index is the prefix, this, and the owner; that of a record the prefix and its key of 32 bytes.
OWNER = b"owner:"


class Script(NamedTuple):
    """A script, and the SHA-1 by which a server that has cached it can run it."""

    source: bytes
    sha: bytes


def _script(body: str, *parts: str) -> Script:
    source = "".join((*parts, body)).encode()
    return Script(source, hashlib.sha1(source, usedforsecurity=False).hexdigest().encode())


_WRITER = (RECORD, TTL, INDEX_ENTRIES, OWNER_INDEX)

#: Key; record, now, prefix.
CREATE = _script(
    """
local now = struct.unpack('>d', ARGV[2])
local key, value, stored = KEYS[1], ARGV[1], head(KEYS[1])
if alive(stored, now) then
  if version(stored) ~= version(value) then return 3 end
  rewrite_byte(key)
  return 4
end
local ms = ttl_ms(expires(value), now)
redis.call('SET', key, value, 'PX', format_integer(ms))
remove_entry(owner(stored), key)
add_entry(owner(value), key, expires(value), now, ms)
return 1
""",
    *_WRITER,
)

#: Key; change (expected version, new version, now, touched, expires), data, prefix.
REPLACE = _script(
    """
local key, stored = KEYS[1], head(KEYS[1])
local expected, new_version, now, touched, expires = struct.unpack('>c16c16ddd', ARGV[1])
if not alive(stored, now) then return 0 end
if version(stored) ~= expected then
  if version(stored) ~= new_version then return tombstone(stored) and 0 or 2 end
  rewrite_byte(key)
  return 1
end
local was_touched, was_expires = struct.unpack('>dd', stored, 19)
local times, extends = stored:sub(19, 26), expires > was_expires
if touched > was_touched then times = ARGV[1]:sub(41, 48) end
if extends then times = times .. ARGV[1]:sub(49, 56) else times = times .. stored:sub(27, 34) end
local ms = ttl_ms(math.max(expires, was_expires), now)
local bytes = stored:sub(1, 2) .. new_version .. times .. stored:sub(35) .. ARGV[2]
redis.call('SET', key, bytes, 'PX', format_integer(ms))
if not extends then return 1 end
add_entry(owner(stored), key, expires, now, ms)
return owner_or_done(owner(stored))
""",
    *_WRITER,
)

#: Key; touch (touched, expires, now), prefix.
TOUCH = _script(
    """
local key, stored = KEYS[1], head(KEYS[1])
local touched, expires, now = struct.unpack('>ddd', ARGV[1])
if not alive(stored, now) or tombstone(stored) then return 0 end
local was_touched, was_expires = struct.unpack('>dd', stored, 19)
if touched > was_touched then redis.call('SETRANGE', key, 18, ARGV[1]:sub(1, 8)) end
if expires <= was_expires then return 1 end
redis.call('SETRANGE', key, 26, ARGV[1]:sub(9, 16))
local ms = ttl_ms(expires, now)
redis.call('PEXPIRE', key, format_integer(ms))
add_entry(owner(stored), key, expires, now, ms)
return owner_or_done(owner(stored))
""",
    *_WRITER,
)

#: Key; the version that it must have or an empty string, whether a WAIT follows, prefix.
DELETE = _script(
    """
local key, stored = KEYS[1], head(KEYS[1])
local matches = not (stored and tombstone(stored))
if ARGV[1] ~= '' then matches = stored and version(stored) == ARGV[1] end
if not matches or redis.call('DEL', key) == 0 then
  write_nothing(key)
  return 0
end
remove_entry(owner(stored), key)
return entry_or_done(stored)
""",
    RECORD,
    WRITE_NOTHING,
    OWNER_INDEX,
)

#: Keys; whether a WAIT follows, prefix. Returns the number of deleted records, as text. Needs all keys on one node.
DELETE_MANY = _script(
    """
local deleted = 0
for _, key in ipairs(KEYS) do
  local stored = head(key)
  if not (stored and tombstone(stored)) and redis.call('DEL', key) == 1 then
    remove_entry(owner(stored), key)
    deleted = deleted + 1
  end
end
if deleted == 0 then write_nothing(KEYS[1]) end
return format_integer(deleted)
""",
    RECORD,
    WRITE_NOTHING,
    TTL,
    OWNER_INDEX,
)

#: Old key, new key; versions (expected, new, now), record, tombstone, prefix. Needs both keys on one node.
ROTATE = _script(
    """
local old, new, value = KEYS[1], KEYS[2], ARGV[2]
local stored, stored_new = head(old), head(new)
local expected, new_version, now = struct.unpack('>c16c16d', ARGV[1])
local new_key_in_use = alive(stored_new, now)
if new_key_in_use and version(stored_new) == new_version then
  rewrite_byte(new)
  return 1
end
if not alive(stored, now) or tombstone(stored) then return 0 end
if version(stored) ~= expected then return 2 end
if new_key_in_use then return 3 end
local ms = ttl_ms(expires(value), now)
redis.call('SET', new, value, 'PX', format_integer(ms))
redis.call('SET', old, ARGV[3], 'PX', format_integer(ttl_ms(expires(ARGV[3]), now)))
remove_entry(owner(stored_new), new)
remove_entry(owner(stored), old)
add_entry(owner(value), new, expires(value), now, ms)
return 1
""",
    *_WRITER,
)

#: Index; prefix, the score to begin with, how many. Returns the number of entries read and the score of the last one,
#: then alternately keys and the heads of their records. Needs all keys on one node.
LIST_SESSIONS = _script(
    """
local index, prefix, gone = KEYS[1], ARGV[1], {}
local entries = redis.call('ZRANGE', index, ARGV[2], '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[3], 'WITHSCORES')
local found = {#entries / 2, entries[#entries] or ''}
for position = 1, #entries, 2 do
  local key = entries[position]
  local bytes = head(prefix .. key)
  if bytes then
    found[#found + 1] = key
    found[#found + 1] = bytes
  elseif redis.call('PTTL', prefix .. key) == -2 then
    gone[#gone + 1] = key
  end
end
if #gone > 0 then redis.call('ZREM', index, unpack(gone)) end
return found
""",
    RECORD,
)

#: Index; the score to begin with, how many. Returns alternately keys and scores, with either version of the protocol.
LIST_KEYS = _script(
    "return redis.call('ZRANGE', KEYS[1], ARGV[1], '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[2], 'WITHSCORES')"
)

#: Old key; versions (expected, new, now), tombstone, the (empty) prefix. The second step of a rotation in a cluster.
LEAVE_TOMBSTONE = _script(
    """
local key, stored = KEYS[1], head(KEYS[1])
local expected, new_version, now = struct.unpack('>c16c16d', ARGV[1])
if stored and tombstone(stored) then
  if version(stored) ~= new_version then return 0 end
  rewrite_byte(key)
  return 4
end
if not alive(stored, now) then return 0 end
if version(stored) ~= expected then return 2 end
redis.call('SET', key, ARGV[2], 'PX', format_integer(ttl_ms(expires(ARGV[2]), now)))
return entry_or_done(stored)
""",
    RECORD,
    TTL,
    OWNER_INDEX,
)

#: Index; key, times (now, expires), whether the session is new. Returns the keys of a few entries that are dead unless
#: their records were renewed. If the key of a new session is listed already, its earlier session may just have been
#: deleted, and its entry not yet: a higher score tells REMOVE_ENTRIES that the entry now belongs to another session.
ADD_ENTRY = _script(
    """
local now, expires = struct.unpack('>dd', ARGV[2])
local ends, listed = expires, redis.call('ZSCORE', KEYS[1], ARGV[1])
if listed and ARGV[3] ~= '' then ends = math.max(expires, tonumber(listed)) + 2 end
put_entry(KEYS[1], ARGV[1], ends, now, ttl_ms(expires, now))
return dead_entries(KEYS[1], now, DEAD_PER_WRITE)
""".replace("DEAD_PER_WRITE", str(DEAD_PER_WRITE_IN_CLUSTER)),
    TTL,
    INDEX_ENTRIES,
)

#: Index; alternately a key and the time at which its deleted session would have ended.
REMOVE_ENTRIES = _script(
    """
for position = 1, #ARGV, 2 do
  local key, expires = ARGV[position], struct.unpack('>d', ARGV[position + 1])
  local score = redis.call('ZSCORE', KEYS[1], key)
  if score and tonumber(score) <= expires + 1 then redis.call('ZREM', KEYS[1], key) end
end
"""
)
