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


# Bytes are those of redis_records.py, counted from 1.
_RECORD = """
local function head(key)
  local bytes = redis.call('GETRANGE', key, 0, 255)
  if #bytes < 46 or bytes:byte(1) ~= 1 then return nil end
  local size = struct.unpack('>H', bytes, 35)
  if size > #bytes then bytes = redis.call('GETRANGE', key, 0, size - 1) end
  if size < 46 or size > #bytes then return nil end
  return bytes:sub(1, size)
end

local function version(bytes) return bytes:sub(3, 18) end
local function expires(bytes) return (struct.unpack('>d', bytes, 27)) end
local function tombstone(bytes) return bytes:sub(37, 38) == '\\0\\0' end
local function alive(bytes, now) return bytes and now < expires(bytes) end

local function owner(bytes)
  if bytes and math.floor(bytes:byte(2) / 2) % 2 == 1 then return bytes:sub(47, 78) end
end

-- A write without effect: the first byte as it is. (PEXPIRE of PTTL would delete a record that has no time to live.)
local function again(key) redis.call('SETRANGE', key, 0, '\1') end
"""

# The server's clock decides nothing: it takes away what has been dead for five minutes by the clock of who wrote it.
_LIFE = """
local function life(expires, now)
  return math.max(1, math.min(math.ceil((expires - now) * 1000) + 300000, 1e14))
end

local function text(number) return string.format('%.0f', number) end
"""

# An entry's score is the end of its session, and a part of a second that its key decides, so that scores differ where
# many sessions end at once. Each write looks at a few entries whose records have most likely gone by now.
# An index lives for twice as long as its longest session, and a day: the touches that renew a session renew it too, and
# in a cluster one of them may fail. They also put back an entry that an eviction took.
_INDEX = """
local function enlist(index, key, ends, now, life)
  if ends ~= ends then return end  -- NaN, of a corrupt record
  local score = ends + struct.unpack('>I3', key) / 16777216
  redis.call('ZADD', index, 'GT', string.format('%.17g', score), key)
  if redis.call('PTTL', index) < 2 * life then
    redis.call('PEXPIRE', index, text(2 * life + 86400000))
  end
end

local function dead(index, now)
  local horizon = string.format('(%.17g', now - 300)
  return redis.call('ZRANGE', index, '-inf', horizon, 'BYSCORE', 'LIMIT', 0, 16)
end
"""

_OWNER = """
local prefix = ARGV[#ARGV]

local function enter(owner, key, ends, now, life)
  if not owner or prefix == '' then return end
  local index = prefix .. 'owner:' .. owner
  enlist(index, key:sub(#prefix + 1), ends, now, life)
  for _, old in ipairs(dead(index, now)) do
    if redis.call('PTTL', prefix .. old) == -2 then redis.call('ZREM', index, old) end
  end
end

local function strike(owner, key)
  if owner and prefix ~= '' then redis.call('ZREM', prefix .. 'owner:' .. owner, key:sub(#prefix + 1)) end
end

local function result(owner)
  if owner and prefix == '' then return owner end
  return 1
end
"""

_WRITER = (_RECORD, _LIFE, _INDEX, _OWNER)

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
    _RECORD,
    _OWNER,
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
    _RECORD,
    _LIFE,
    _OWNER,
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
    _RECORD,
)

#: Index; the score to begin with, how many. Returns keys and scores in turn, whichever protocol the client speaks.
LISTED = _script(
    "return redis.call('ZRANGE', KEYS[1], ARGV[1], '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[2], 'WITHSCORES')"
)

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
    _RECORD,
    _LIFE,
    _OWNER,
)

#: Index; key, times (now, expires). Returns the keys of a few entries that are dead, unless their records live on.
ENLIST = _script(
    """
local now, expires = struct.unpack('>dd', ARGV[2])
enlist(KEYS[1], ARGV[1], expires, now, life(expires, now))
return dead(KEYS[1], now)
""",
    _LIFE,
    _INDEX,
)
