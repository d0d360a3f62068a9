"""The Lua functions that the scripts of ``RedisStore`` share."""

from __future__ import annotations

#: How many entries of dead sessions a write takes off its owner's index at most: 256 take the server 0.2 ms. In a
#: cluster the client looks for each record, which takes it 1 ms for 64.
FORGOTTEN, FORGOTTEN_IN_CLUSTER = 256, 64

# Bytes are those of redis_records.py, counted from 1.
RECORD = """
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
LIFE = """
local function life(expires, now)
  return math.max(1, math.min(math.ceil((expires - now) * 1000) + 300000, 1e14))
end

local function text(number) return string.format('%.0f', number) end
"""

# An entry's score is the end of its session, and a part of a second that its key decides, so that scores differ where
# many sessions end at once. Each write looks at some entries whose records have most likely gone by now.
# An index lives for twice as long as its longest session, and a day: the touches that renew a session renew it too, and
# in a cluster one of them may fail. They also put back an entry that an eviction took.
INDEX = """
local function enlist(index, key, ends, now, life)
  if ends ~= ends then return end  -- NaN, of a corrupt record
  local score = ends + struct.unpack('>I3', key) / 16777216
  redis.call('ZADD', index, 'GT', string.format('%.17g', score), key)
  if redis.call('PTTL', index) < 2 * life then
    redis.call('PEXPIRE', index, text(2 * life + 86400000))
  end
end

local function dead(index, now, most)
  local horizon = string.format('(%.17g', now - 300)
  return redis.call('ZRANGE', index, '-inf', horizon, 'BYSCORE', 'LIMIT', 0, most)
end
"""

OWNED_BY = """
local prefix = ARGV[#ARGV]

local function forget(index, keys)
  if #keys == 0 then return end
  local names = {}
  for place, key in ipairs(keys) do names[place] = prefix .. key end
  local gone = keys
  if redis.call('EXISTS', unpack(names)) > 0 then
    gone = {}
    for place, key in ipairs(keys) do
      if redis.call('EXISTS', names[place]) == 0 then gone[#gone + 1] = key end
    end
  end
  if #gone > 0 then redis.call('ZREM', index, unpack(gone)) end
end

local function enter(owner, key, ends, now, life)
  if not owner or prefix == '' then return end
  local index = prefix .. 'owner:' .. owner
  enlist(index, key:sub(#prefix + 1), ends, now, life)
  forget(index, dead(index, now, FORGOTTEN))
end

local function strike(owner, key)
  if owner and prefix ~= '' then redis.call('ZREM', prefix .. 'owner:' .. owner, key:sub(#prefix + 1)) end
end

local function result(owner)
  if owner and prefix == '' then return owner end
  return 1
end
""".replace("FORGOTTEN", str(FORGOTTEN))
