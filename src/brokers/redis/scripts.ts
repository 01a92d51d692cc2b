/**
 * What runs inside Redis: each script at once or not at all.
 *
 * A topic has a hash with its epoch, its last offset and that event's id, and a stream of its events.
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
local function open(fresh, ttl)
  local meta = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'id')
  local epoch, offset, id = meta[1], meta[2], meta[3]
  if not id then
    epoch, offset, id = fresh, '0', '0'
    redis.call('HSET', KEYS[1], 'epoch', epoch, 'offset', offset, 'id', id)
    if type(redis.pcall('DEL', KEYS[2])) == 'table' then
      redis.call('XTRIM', KEYS[2], 'MAXLEN', '0')
    end
  end
  if ttl == '' then
    if redis.call('PTTL', KEYS[1]) ~= -1 then redis.call('PERSIST', KEYS[1]) end
  else
    redis.call('PEXPIRE', KEYS[1], ttl)
  end
  return epoch, offset, id
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
local epoch, last, lastId = open(ARGV[1], ARGV[2])
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
 * many, age, `oldest` or `newest`. Returns epoch, last offset, its id, and events: those after the
 * position, or all if the topic has no such position; the newest come first, or the oldest.
 */
export const READ: Script = script(`${OPEN}
local epoch, offset, id = open(ARGV[1], ARGV[2])
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

function script(text: string): Script {
  return { text, sha: createHash("sha1").update(text).digest("hex") };
}
