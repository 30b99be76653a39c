"""The Lua scripts of `streams`: each is one step for Redis, so that nobody sees half of it.

KEYS: 1 what is known of the address (a hash), 2 its messages (a stream), 3 the reign, 4 all
addresses by when they were used (a sorted set), 5 what each counts for and their "total" (a hash),
and for what every process says 6 a key that stands for it: where it was recorded, or "" if it went
out without.

The reign is a text that changes whenever Redis may have lost something: at a restart, even with
data from a disk, and at a change of the primary (both have another `run_id`), and when a process
says so. An epoch of another reign has ended. Where nobody has asked in an epoch (`asked`), messages
are numbered and published, and none is kept. A stream's ids are `<offset>-<milliseconds>`.
"""

from __future__ import annotations

EPOCH_BYTES = 16

# ARGV: 1 another reign, should one be due; 2 "1": it is due whatever Redis says of itself.
REIGN = """
local run = redis.call('INFO', 'server'):match('run_id:(%w+)')
local reign = redis.call('GET', KEYS[1])
if ARGV[2] == '1' or not reign or reign:sub(1, #run) ~= run then
  reign = run .. ARGV[1]
  redis.call('SET', KEYS[1], reign)
end
return reign
"""

_KNOWN = """
local reign = redis.call('GET', KEYS[3])
if not reign then
  reign = redis.call('INFO', 'server'):match('run_id:(%w+)') .. ARGV[1]
  redis.call('SET', KEYS[3], reign)
end
local known = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'first', 'bytes', 'reign', 'why',
  'asked')
local epoch, offset = known[1], tonumber(known[2])
local first, bytes, why = tonumber(known[3]), tonumber(known[4]), known[6]
local asked = known[7]
if not epoch or known[5] ~= reign then
  epoch, offset, first, bytes, why, asked = ARGV[1], 0, 1, 0, 'expired', '0'
  redis.call('DEL', KEYS[2])
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# An address counts for its messages and 1 KiB. When all together are too large, those that have not
# been used for longest go, each with its epoch.
_REMEMBER = """
redis.call('HSET', KEYS[1], 'epoch', epoch, 'offset', offset, 'first', first, 'bytes', bytes,
  'reign', reign, 'why', why, 'asked', asked)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local counted = redis.call('HMGET', KEYS[5], 'total', KEYS[1])
local size = bytes + 1024
local total = (counted[1] or 0) - (counted[2] or 0) + size
redis.call('ZADD', KEYS[4], now, KEYS[1])
while total > tonumber(ARGV[4]) do
  local oldest = redis.call('ZRANGE', KEYS[4], 0, 0)[1]
  if oldest == KEYS[1] then
    redis.call('DEL', KEYS[5])
    total = size
    break
  end
  total = total - (redis.call('HGET', KEYS[5], oldest) or 0)
  redis.call('DEL', oldest, oldest .. '.said')
  redis.call('ZREM', KEYS[4], oldest)
  redis.call('HDEL', KEYS[5], oldest)
end
redis.call('HSET', KEYS[5], 'total', total, KEYS[1], size)
redis.call('PEXPIRE', KEYS[4], ARGV[3])
redis.call('PEXPIRE', KEYS[5], ARGV[3])
"""

# ARGV: 1 an epoch, should one begin; 2 how long messages are kept, 3 how long an idle epoch is, in
# ms; 4 bytes of all addresses; 5 messages and 6 bytes of this one; 7 the channel; 8 the message,
# packed but for its position; and with a sixth key 9 how long that stands, in ms. Returns where the
# message is, whoever said it.
APPEND = (
    """
local before = KEYS[6] and redis.call('GET', KEYS[6])
if before then
  local epoch, offset = before:match('^(%w+) (%d+)$')
  return {epoch or '', tonumber(offset or 0)}
end
"""
    + _KNOWN
    + """
offset = offset + 1
if asked == '0' then
  first = offset + 1
else
  if redis.call('EXISTS', KEYS[2]) == 0 then first, bytes, why = offset, 0, 'expired' end
  bytes = bytes + #ARGV[8]
  redis.call('XADD', KEYS[2], string.format('%.0f-%.0f', offset, now), 'm', ARGV[8])
  while first <= offset and (offset - first >= tonumber(ARGV[5]) or bytes > tonumber(ARGV[6])) do
    local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
    if not oldest then
      bytes, first = 0, offset + 1
      break
    end
    redis.call('XDEL', KEYS[2], oldest[1])
    why = 'trimmed'
    bytes = bytes - #oldest[2][2]
    first = first + 1
  end
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
end
"""
    + _REMEMBER
    + """
if KEYS[6] then
  redis.call('SET', KEYS[6], string.format('%s %.0f', epoch, offset), 'PX', ARGV[9])
end
redis.call('PUBLISH', ARGV[7], ARGV[8] .. '\\176' .. epoch .. '\\207' .. struct.pack('>I8', offset))
return {epoch, offset}
"""
)

# ARGV: 1 to 4 as above; 5 and 6 the epoch and the offset that somebody has; no offset: from now on.
SINCE = (
    _KNOWN
    + "asked = '1'"
    + _REMEMBER
    + """
local after = tonumber(ARGV[6])
if not after then return {epoch, offset, ''} end
if ARGV[5] ~= epoch then return {epoch, offset, 'epoch'} end
if after > offset then return {epoch, offset, 'future'} end
if after == offset then return {epoch, offset, ''} end
if after + 1 < first then return {epoch, offset, why} end
local missed = redis.call('XRANGE', KEYS[2], string.format('%.0f-0', after + 1), '+')
if #missed ~= offset - after then return {epoch, offset, 'expired'} end
local answer = {epoch, offset, ''}
for number, entry in ipairs(missed) do
  local at, said = entry[1]:match('^(%d+)-(%d+)$')
  if now - tonumber(said) > tonumber(ARGV[2]) then return {epoch, offset, 'expired'} end
  if tonumber(at) ~= after + number then return {epoch, offset, 'trimmed'} end
  answer[3 + number] = entry[2][2]
end
return answer
"""
)
