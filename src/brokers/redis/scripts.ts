/**
 * What runs inside Redis: each script at once or not at all.
 *
 * A topic has a hash with its epoch, its last offset and that event's id, and a stream of its events.
 * While it has no event the hash is short-lived, because anybody who subscribes to a name makes one; it
 * also says which brokers listen, so that none of them removes it while another needs it.
 * An offset is the time of Redis's clock in microseconds, or one more than the last if that clock is
 * behind. After a failover a replica that lacked the newest events may give their offsets to other
 * events; the random id of each event tells them apart. Each event names the offset and the id of the
 * one before it, so that a chain of events proves that none is missing.
 *
 * @module
 */

import { createHash } from "node:crypto";

/** A script, and the name under which Redis keeps it. */
export interface Script {
  readonly text: string;
  readonly sha: string;
}

// KEYS: hash, stream. Begins a new epoch if there is none, or one whose events have no ids: an older
// version made that. Not every user may DEL.
const OPEN = `
local function open(fresh)
  local meta = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'id')
  local epoch, offset, id = meta[1], meta[2], meta[3]
  if not id then
    epoch, offset, id = fresh, '0', '0'
    redis.call('HSET', KEYS[1], 'epoch', epoch, 'offset', offset, 'id', id)
    if type(redis.pcall('DEL', KEYS[2])) == 'table' then
      redis.call('XTRIM', KEYS[2], 'MAXLEN', '0')
    end
  end
  return epoch, offset, id
end
local function live(ttl)
  if ttl == '' then
    if redis.call('PTTL', KEYS[1]) ~= -1 then redis.call('PERSIST', KEYS[1]) end
  else
    redis.call('PEXPIRE', KEYS[1], ttl)
  end
end
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
`;

/**
 * ARGV: a fresh epoch, the hash's time to live, channel, data, size, age, the event's id. Returns
 * epoch and offset.
 */
export const PUBLISH: Script = script(`${OPEN}
local epoch, last, lastId = open(ARGV[1])
live(ARGV[2])
if lastId == '0' then
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if string.sub(field, 1, 2) == 'l:' then redis.call('HDEL', KEYS[1], field) end
  end
end
local now = clock()
local offset = string.format('%.0f', math.max(now, last + 1))
local previous, id = last .. '.' .. lastId, ARGV[7]
redis.call('HSET', KEYS[1], 'offset', offset, 'id', id)
local size, age = ARGV[5], ARGV[6]
if size ~= '0' then
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', size, offset .. '-0',
    'p', previous, 'i', id, 'd', ARGV[4])
  if age ~= '' then
    redis.call('XTRIM', KEYS[2], 'MINID', '~', string.format('%.0f', now - age * 1000))
    redis.call('PEXPIRE', KEYS[2], age)
  end
end
redis.call('PUBLISH', ARGV[3],
  epoch .. ' ' .. offset .. '.' .. id .. ' ' .. previous .. ' ' .. ARGV[4])
return {epoch, offset}
`);

/**
 * ARGV: a fresh epoch, the hash's time to live, epoch and offset of a position or two empty texts, how
 * many, age, `oldest` or `newest`, the time to live of a topic without events or an empty text if it
 * is the same, and the broker that listens to the topic or an empty text. Returns epoch, last offset,
 * its id, and events: those after the position, or all if the topic has no such position; the newest
 * come first, or the oldest.
 */
export const READ: Script = script(`${OPEN}
local epoch, offset, id = open(ARGV[1])
if id == '0' and ARGV[8] ~= '' then
  local left = redis.call('PTTL', KEYS[1])
  if left < tonumber(ARGV[8]) then redis.call('PEXPIRE', KEYS[1], ARGV[8]) end
  if ARGV[9] ~= '' then
    local ends = string.format('%.0f', clock() / 1000 + ARGV[8])
    redis.call('HSET', KEYS[1], 'l:' .. ARGV[9], ends)
  end
else
  live(ARGV[2])
end
local since, count, age = ARGV[4], ARGV[5], ARGV[6]
if ARGV[3] ~= epoch or tonumber(since) > tonumber(offset) then since = '' end
if count == '0' or since == offset then return {epoch, offset, id, {}} end
local from = '-'
if since ~= '' then from = '(' .. since .. '-0' end
if age ~= '' then
  local oldest = clock() - age * 1000
  if since == '' or oldest > tonumber(since) then from = string.format('%.0f', oldest) end
end
if ARGV[7] == 'oldest' then
  return {epoch, offset, id, redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', count)}
end
return {epoch, offset, id, redis.call('XREVRANGE', KEYS[2], '+', from, 'COUNT', count)}
`);

/**
 * ARGV: a broker that does not listen to the topic. Removes the hash of a topic without events, unless
 * another broker listens to it. Not every user may DEL.
 */
export const FORGET: Script = script(`
if redis.call('HGET', KEYS[1], 'id') ~= '0' then return 0 end
local own, time = 'l:' .. ARGV[1], redis.call('TIME')
local fields, now = redis.call('HGETALL', KEYS[1]), time[1] * 1000 + time[2] / 1000
for n = 1, #fields, 2 do
  local isListener = string.sub(fields[n], 1, 2) == 'l:'
  if isListener and fields[n] ~= own and tonumber(fields[n + 1]) > now then
    return redis.call('HDEL', KEYS[1], own)
  end
end
for n = 1, #fields, 2 do redis.call('HDEL', KEYS[1], fields[n]) end
return 1
`);

function script(text: string): Script {
  return { text, sha: createHash("sha1").update(text).digest("hex") };
}
