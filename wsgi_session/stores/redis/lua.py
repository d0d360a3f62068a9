"""The Lua functions that the scripts of ``RedisStore`` share."""

from __future__ import annotations

#: The maximum number of dead entries that one write removes from its owner's index: 256 take the server 0.2 ms. In a
#: cluster the client reads each record, which takes it 1 ms for 64.
DEAD_PER_WRITE, DEAD_PER_WRITE_IN_CLUSTER = 256, 64

#: Seconds after its end, by the writer's clock, until an entry is dead, and until the server removes a record.
DEAD_AFTER = 300

# The offsets are those of records.py, counted from 1.
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

-- A write without effect: the first byte again. (PEXPIRE with the PTTL would delete a record without a time to live.)
local function rewrite_byte(key) redis.call('SETRANGE', key, 0, '\1') end
"""

# The server's clock does not decide whether a record is alive. The server only removes it some time later.
TTL = """
local function ttl_ms(expires, now)
  return math.max(1, math.min(math.ceil((expires - now + DEAD_AFTER) * 1000), 1e14))
end

local function format_integer(number) return string.format('%.0f', number) end
""".replace("DEAD_AFTER", str(DEAD_AFTER))

# The score of an entry is the end of its session, plus a fraction of a second derived from the key, so that scores
# differ even if many sessions end at the same time. Each write checks some entries whose records are probably gone.
# An index lives for twice as long as its longest session, plus a day: a touch that renews a session renews the index
# too, and in a cluster this may fail once. A touch also restores an entry that was evicted.
INDEX_ENTRIES = """
local function put_entry(index, key, ends, now, ttl)
  if ends ~= ends then return end  -- NaN, of a corrupt record
  local score = ends + struct.unpack('>I3', key) / 16777216
  redis.call('ZADD', index, 'GT', string.format('%.17g', score), key)
  if redis.call('PTTL', index) < 2 * ttl then
    redis.call('PEXPIRE', index, format_integer(2 * ttl + 86400000))
  end
end

local function dead_entries(index, now, most)
  local horizon = string.format('(%.17g', now - DEAD_AFTER)
  return redis.call('ZRANGE', index, '-inf', horizon, 'BYSCORE', 'LIMIT', 0, most)
end
""".replace("DEAD_AFTER", str(DEAD_AFTER))

# A WAIT that follows counts from this connection's last write. If a delete finds nothing, the write that ended the
# session may not have reached a replica yet. So the script makes a write without effect, on a key that it may use.
WRITE_NOTHING = """
local function write_nothing(key)
  if ARGV[#ARGV - 1] == '' then return end
  local byte = redis.call('GETRANGE', key, 0, 0)
  if byte ~= '' then
    redis.call('SETRANGE', key, 0, byte)
  else
    redis.call('SET', key, '')
    redis.call('DEL', key)
  end
end
"""

OWNER_INDEX = """
local prefix = ARGV[#ARGV]

local function remove_dead(index, keys)
  if #keys == 0 then return end
  local names = {}
  for position, key in ipairs(keys) do names[position] = prefix .. key end
  local gone = keys
  if redis.call('EXISTS', unpack(names)) > 0 then
    gone = {}
    for position, key in ipairs(keys) do
      if redis.call('EXISTS', names[position]) == 0 then gone[#gone + 1] = key end
    end
  end
  if #gone > 0 then redis.call('ZREM', index, unpack(gone)) end
end

local function add_entry(owner, key, ends, now, ttl)
  if not owner or prefix == '' then return end
  local index = prefix .. 'owner:' .. owner
  put_entry(index, key:sub(#prefix + 1), ends, now, ttl)
  remove_dead(index, dead_entries(index, now, DEAD_PER_WRITE))
end

local function remove_entry(owner, key)
  if owner and prefix ~= '' then redis.call('ZREM', prefix .. 'owner:' .. owner, key:sub(#prefix + 1)) end
end

local function owner_or_done(owner)
  if owner and prefix == '' then return owner end
  return 1
end

local function entry_or_done(bytes)
  local owner = owner(bytes)
  if owner and prefix == '' then return owner .. bytes:sub(27, 34) end
  return 1
end
""".replace("DEAD_PER_WRITE", str(DEAD_PER_WRITE))
