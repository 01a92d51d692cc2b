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

// KEYS: hash, stream. ARGV: a fresh epoch. Begins a new epoch if there is none, or one whose events have no
// ids: an older version made that. Not every user may DEL.
// Redis would make functions anew with each call, which takes as long as two of its commands.
const OPEN = `
local call = redis.call
local meta = call('HMGET', KEYS[1], 'epoch', 'offset', 'id')
local epoch, last, lastId = meta[1], meta[2], meta[3]
if not lastId then
  epoch, last, lastId = ARGV[1], '0', '0'
  call('HSET', KEYS[1], 'epoch', epoch, 'offset', last, 'id', lastId)
  if type(redis.pcall('DEL', KEYS[2])) == 'table' then
    call('XTRIM', KEYS[2], 'MAXLEN', '0')
  end
end
`;

// ARGV: the hash's time to live, as the second.
const LIVE = `
if ARGV[2] ~= '' then
  call('PEXPIRE', KEYS[1], ARGV[2])
elseif call('PTTL', KEYS[1]) ~= -1 then
  call('PERSIST', KEYS[1])
end
`;

const CLOCK = `
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
`;

/**
 * ARGV: a fresh epoch, the hash's time to live, channel, data, size, age, the event's id. Returns
 * epoch and offset, with a space between them. Events that are too old are removed now and then: `READ` does
 * not return them.
 */
export const PUBLISH: Script = script(`${OPEN}${LIVE}${CLOCK}
if lastId == '0' then
  for _, field in ipairs(call('HKEYS', KEYS[1])) do
    if string.sub(field, 1, 2) == 'l:' then call('HDEL', KEYS[1], field) end
  end
end
local offset = string.format('%.0f', math.max(now, last + 1))
local previous, id = last .. '.' .. lastId, ARGV[7]
call('HSET', KEYS[1], 'offset', offset, 'id', id)
local size, age = ARGV[5], ARGV[6]
if size ~= '0' then
  call('XADD', KEYS[2], 'MAXLEN', '~', size, offset .. '-0',
    'p', previous, 'i', id, 'd', ARGV[4])
  if age ~= '' then
    if now % 16 == 0 then
      call('XTRIM', KEYS[2], 'MINID', '~', string.format('%.0f', now - age * 1000))
    end
    call('PEXPIRE', KEYS[2], age)
  end
end
local place = epoch .. ' ' .. offset
call('PUBLISH', ARGV[3], place .. '.' .. id .. ' ' .. previous .. ' ' .. ARGV[4])
return place
`);

/**
 * ARGV: a fresh epoch, the hash's time to live, epoch and offset of a position or two empty texts, how
 * many, age, `oldest` or `newest`, the time to live of a topic without events or an empty text if it
 * is the same, and the broker that listens to the topic or an empty text. Returns epoch, last offset,
 * its id, and events: those after the position, or all if the topic has no such position; the newest
 * come first, or the oldest.
 */
export const READ: Script = script(`${OPEN}${CLOCK}
if lastId == '0' and ARGV[8] ~= '' then
  local left = call('PTTL', KEYS[1])
  if left < tonumber(ARGV[8]) then call('PEXPIRE', KEYS[1], ARGV[8]) end
  if ARGV[9] ~= '' then
    local ends = string.format('%.0f', now / 1000 + ARGV[8])
    call('HSET', KEYS[1], 'l:' .. ARGV[9], ends)
  end
else${LIVE}end
local since, count, age = ARGV[4], ARGV[5], ARGV[6]
if ARGV[3] ~= epoch or tonumber(since) > tonumber(last) then since = '' end
if count == '0' or since == last then return {epoch, last, lastId, {}} end
local from = '-'
if since ~= '' then from = '(' .. since .. '-0' end
if age ~= '' then
  local oldest = now - age * 1000
  if since == '' or oldest > tonumber(since) then from = string.format('%.0f', oldest) end
end
if ARGV[7] == 'oldest' then
  return {epoch, last, lastId, call('XRANGE', KEYS[2], from, '+', 'COUNT', count)}
end
return {epoch, last, lastId, call('XREVRANGE', KEYS[2], '+', from, 'COUNT', count)}
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
