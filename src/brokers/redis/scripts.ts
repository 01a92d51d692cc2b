/**
 * What runs inside Redis: each script at once or not at all.
 *
 * A topic has a hash with its epoch and last offset, and a stream of its events. An offset is the time
 * of the engine's clock in microseconds, or one more than the last: also an engine that has lost its
 * newest events, as after a crash or in a failover, never gives an offset a second time. Each event
 * names the one before it, so that a chain of events proves that none is missing.
 *
 * @module
 */

import { createHash } from "node:crypto";

/** A script, and the name under which the engine keeps it. */
export interface Script {
  readonly text: string;
  readonly sha: string;
}

// KEYS: hash, stream. Begins a new epoch where there is none.
const OPEN = `
local function open(fresh, ttl)
  local meta = redis.call('HMGET', KEYS[1], 'epoch', 'offset')
  local epoch, offset = meta[1], meta[2]
  if not epoch then
    epoch, offset = fresh, '0'
    redis.call('HSET', KEYS[1], 'epoch', epoch, 'offset', offset)
  end
  if ttl == '' then
    if redis.call('PTTL', KEYS[1]) ~= -1 then redis.call('PERSIST', KEYS[1]) end
  else
    redis.call('PEXPIRE', KEYS[1], ttl)
  end
  return epoch, offset
end
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
`;

/** ARGV: a fresh epoch, the hash's time to live, channel, data, size, age. Gives epoch and offset. */
export const PUBLISH: Script = script(`${OPEN}
local epoch, previous = open(ARGV[1], ARGV[2])
local now = clock()
local offset = string.format('%.0f', math.max(now, previous + 1))
redis.call('HSET', KEYS[1], 'offset', offset)
local size, age = ARGV[5], ARGV[6]
if size ~= '0' then
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', size, offset .. '-0', 'p', previous, 'd', ARGV[4])
  if age ~= '' then
    redis.call('XTRIM', KEYS[2], 'MINID', '~', string.format('%.0f', now - age * 1000))
    redis.call('PEXPIRE', KEYS[2], age)
  end
end
redis.call('PUBLISH', ARGV[3], epoch .. ' ' .. offset .. ' ' .. previous .. ' ' .. ARGV[4])
return {epoch, offset}
`);

/**
 * ARGV: a fresh epoch, the hash's time to live, epoch and offset of a position or two empty texts, how
 * many, age, `oldest` or `newest`. Gives epoch, last offset and events: those behind the position, or
 * whatever is left where it is none of this topic; the newest come first, or the oldest.
 */
export const READ: Script = script(`${OPEN}
local epoch, offset = open(ARGV[1], ARGV[2])
local since, count, age = ARGV[4], ARGV[5], ARGV[6]
if ARGV[3] ~= epoch or tonumber(since) > tonumber(offset) then since = '' end
if count == '0' or since == offset then return {epoch, offset, {}} end
local from = '-'
if since ~= '' then from = '(' .. since .. '-0' end
if age ~= '' then
  local oldest = clock() - age * 1000
  if since == '' or oldest > tonumber(since) then from = string.format('%.0f', oldest) end
end
if ARGV[7] == 'oldest' then
  return {epoch, offset, redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', count)}
end
return {epoch, offset, redis.call('XREVRANGE', KEYS[2], '+', from, 'COUNT', count)}
`);

function script(text: string): Script {
  return { text, sha: createHash("sha1").update(text).digest("hex") };
}
