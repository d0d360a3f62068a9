"""The Lua scripts of ``RedisStore``: each is one atomic step of the server, and can be sent twice without harm.

Each gets the record's key first, and as its last argument the prefix of all keys, with which it keeps the owner index
in the same step. In a cluster the index lies on another node: there the prefix is empty, and a script returns the owner
instead, for the client to do it. Otherwise a script returns one of the numbers below.

A write that finds its own version already there was sent before, and its answer lost: it writes nothing then but a byte
of the record, as it is, for a WAIT that follows counts from this connection's last write.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from wsgi_session.stores.redis.lua import FORGOTTEN_IN_CLUSTER, INDEX, LIFE, OWNED_BY, RECORD

#: What a script returns. Of a touch or a delete, GONE: there was nothing, DONE: there was. Of a step of a rotation in a
#: cluster, AGAIN: it was taken before.
GONE, DONE, CONFLICT, EXISTS, AGAIN = range(5)

#: An owner's index is under the prefix, this, and the owner; a record under the prefix and its 32 bytes of key.
OWNER = b"owner:"


class Script(NamedTuple):
    """A script, and the name by which a server that has it knows it."""

    source: bytes
    sha: bytes


def _script(body: str, *parts: str) -> Script:
    source = "".join((*parts, body)).encode()
    return Script(source, hashlib.sha1(source, usedforsecurity=False).hexdigest().encode())


_WRITER = (RECORD, LIFE, INDEX, OWNED_BY)

#: Key; record, now, prefix.
CREATE = _script(
    """
local now = struct.unpack('>d', ARGV[2])
local key, value, there = KEYS[1], ARGV[1], head(KEYS[1])
if alive(there, now) then
  if version(there) ~= version(value) then return 3 end
  again(key)
  return 4
end
local ms = life(expires(value), now)
redis.call('SET', key, value, 'PX', text(ms))
strike(owner(there), key)
enter(owner(value), key, expires(value), now, ms)
return 1
""",
    *_WRITER,
)

#: Key; change (expected version, new version, now, touched, expires), data, prefix.
REPLACE = _script(
    """
local key, there = KEYS[1], head(KEYS[1])
local expected, fresh, now, touched, expires = struct.unpack('>c16c16ddd', ARGV[1])
if not alive(there, now) then return 0 end
if version(there) ~= expected then
  if version(there) ~= fresh then return tombstone(there) and 0 or 2 end
  again(key)
  return 1
end
local was_touched, was_expires = struct.unpack('>dd', there, 19)
local times, late = there:sub(19, 26), expires > was_expires
if touched > was_touched then times = ARGV[1]:sub(41, 48) end
if late then times = times .. ARGV[1]:sub(49, 56) else times = times .. there:sub(27, 34) end
local ms = life(math.max(expires, was_expires), now)
redis.call('SET', key, there:sub(1, 2) .. fresh .. times .. there:sub(35) .. ARGV[2], 'PX', text(ms))
if not late then return 1 end
enter(owner(there), key, expires, now, ms)
return result(owner(there))
""",
    *_WRITER,
)

#: Key; touch (touched, expires, now), prefix.
TOUCH = _script(
    """
local key, there = KEYS[1], head(KEYS[1])
local touched, expires, now = struct.unpack('>ddd', ARGV[1])
if not alive(there, now) or tombstone(there) then return 0 end
local was_touched, was_expires = struct.unpack('>dd', there, 19)
if touched > was_touched then redis.call('SETRANGE', key, 18, ARGV[1]:sub(1, 8)) end
if expires <= was_expires then return 1 end
redis.call('SETRANGE', key, 26, ARGV[1]:sub(9, 16))
local ms = life(expires, now)
redis.call('PEXPIRE', key, text(ms))
enter(owner(there), key, expires, now, ms)
return result(owner(there))
""",
    *_WRITER,
)

#: Key; the version that it must have, or nothing, prefix.
DELETE = _script(
    """
local key, there = KEYS[1], head(KEYS[1])
if ARGV[1] ~= '' then
  if not there or version(there) ~= ARGV[1] then return 0 end
elseif there and tombstone(there) then
  return 0
end
if redis.call('DEL', key) == 0 then return 0 end
strike(owner(there), key)
return result(owner(there))
""",
    RECORD,
    OWNED_BY,
)

#: Keys; prefix. Returns how many there were, as a text. Where one node has all.
DELETE_MANY = _script(
    """
local deleted = 0
for _, key in ipairs(KEYS) do
  local there = head(key)
  if not (there and tombstone(there)) and redis.call('DEL', key) == 1 then
    strike(owner(there), key)
    deleted = deleted + 1
  end
end
return text(deleted)
""",
    RECORD,
    LIFE,
    OWNED_BY,
)

#: Old key, new key; versions (expected, new, now), record, tombstone, prefix. Where one node has both.
ROTATE = _script(
    """
local old, new, value = KEYS[1], KEYS[2], ARGV[2]
local there, stored = head(new), head(old)
local expected, fresh, now = struct.unpack('>c16c16d', ARGV[1])
local taken = alive(there, now)
if taken and version(there) == fresh then
  again(new)
  return 1
end
if not alive(stored, now) or tombstone(stored) then return 0 end
if version(stored) ~= expected then return 2 end
if taken then return 3 end
local ms = life(expires(value), now)
redis.call('SET', new, value, 'PX', text(ms))
redis.call('SET', old, ARGV[3], 'PX', text(life(expires(ARGV[3]), now)))
strike(owner(there), new)
strike(owner(stored), old)
enter(owner(value), new, expires(value), now, ms)
return 1
""",
    *_WRITER,
)

#: Index; prefix, the score to begin with, how many. Returns how many entries it has looked at and the score of the last
#: one, then keys and the heads of records in turn. Where one node has all.
OWNED = _script(
    """
local index, prefix, gone = KEYS[1], ARGV[1], {}
local entries = redis.call('ZRANGE', index, ARGV[2], '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[3], 'WITHSCORES')
local found = {#entries / 2, entries[#entries] or ''}
for place = 1, #entries, 2 do
  local key = entries[place]
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

#: Index; the score to begin with, how many. Returns keys and scores in turn, whichever protocol the client speaks.
LISTED = _script("return redis.call('ZRANGE', KEYS[1], ARGV[1], '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[2], 'WITHSCORES')")

#: Old key; versions (expected, new, now), tombstone, the (empty) prefix. A cluster's half of a rotation.
MOVE = _script(
    """
local key, there = KEYS[1], head(KEYS[1])
local expected, fresh, now = struct.unpack('>c16c16d', ARGV[1])
if there and tombstone(there) then
  if version(there) ~= fresh then return 0 end
  again(key)
  return 4
end
if not alive(there, now) then return 0 end
if version(there) ~= expected then return 2 end
redis.call('SET', key, ARGV[2], 'PX', text(life(expires(ARGV[2]), now)))
return result(owner(there))
""",
    RECORD,
    LIFE,
    OWNED_BY,
)

#: Index; key, times (now, expires). Returns the keys of a few entries that are dead, unless their records live on.
ENLIST = _script(
    """
local now, expires = struct.unpack('>dd', ARGV[2])
enlist(KEYS[1], ARGV[1], expires, now, life(expires, now))
return dead(KEYS[1], now, FORGOTTEN)
""".replace("FORGOTTEN", str(FORGOTTEN_IN_CLUSTER)),
    LIFE,
    INDEX,
)
