import { createHash } from "node:crypto";

/** A change in one step: Redis runs a script alone and whole. */
export interface RedisScript {
  readonly lua: string;
  readonly sha: string;
}

/*
 * Of each session there is a hash KEYS[1] (e epoch, o owner, c core, i and x the offsets; f first, n next and b bytes of
 * its stanzas) and a list KEYS[2] of those stanzas. A script ends before its first write or does all of them: a Redis
 * that is full or read-only refuses the first.
 */

// A newer epoch is known: whoever asks is not the owner any more. An older one is what a failover has left of the record.
const FENCE = `
local function fenced(known) return tonumber(known or '0') > tonumber(ARGV[1]) end
local function live(ttl)
  redis.call('PEXPIRE', KEYS[1], ttl)
  redis.call('PEXPIRE', KEYS[2], ttl)
end
`;

// Number of the first stanza and of the one to come, false when the list is not as the hash says.
const RANGE = `
local function range(first, next, empty)
  local f, n = tonumber(first or empty), tonumber(next or empty)
  if redis.call('LLEN', KEYS[2]) ~= n - f then return false end
  return f, n
end
`;

const RECORD = `
local function record()
  local h = redis.call('HMGET', KEYS[1], 'e', 'o', 'c', 'i', 'x', 'f', 'n')
  if not h[1] then return false end
  h[8] = redis.call('PTTL', KEYS[1])
  return h
end
`;

export const SCRIPTS = {
  // ARGV: owner, ttl. An epoch is the server's time in microseconds, or one more than the last: it rises also when
  // Redis has lost the record, or the last claim of it in a failover.
  claim: script(`${FENCE}${RECORD}
local before = record()
local time = redis.call('TIME')
local epoch = time[1] * 1000000 + time[2]
if before then epoch = math.max(epoch, tonumber(before[1]) + 1) end
redis.call('HSET', KEYS[1], 'e', epoch, 'o', ARGV[1])
live(ARGV[2])
return { epoch, before }`),

  read: script(`${RECORD} return record()`),

  // ARGV: epoch, ttl, owner, core, offsets
  save: script(`${FENCE}
if fenced(redis.call('HGET', KEYS[1], 'e')) then return 'fenced' end
redis.call('HSET', KEYS[1], 'e', ARGV[1], 'o', ARGV[3], 'c', ARGV[4], 'i', ARGV[5], 'x', ARGV[6])
live(ARGV[2])
return 'saved'`),

  // ARGV: epoch
  release: script(`${FENCE}
if fenced(redis.call('HGET', KEYS[1], 'e')) then return 'fenced' end
redis.call('DEL', KEYS[1], KEYS[2])
return 'released'`),

  // ARGV: epoch, number of the first stanza, ttl, most stanzas, most bytes, stanzas
  append: script(`${FENCE}${RANGE}
local h = redis.call('HMGET', KEYS[1], 'e', 'f', 'n', 'b')
if not h[1] then return 'lost' end
if fenced(h[1]) then return 'fenced' end
local first = tonumber(ARGV[2])
local f, n = range(h[2], h[3], first)
if not f or first > n then return 'lost' end
local bytes = tonumber(h[4] or '0')
local start = 6 + n - first
for i = start, #ARGV do bytes = bytes + #ARGV[i] end
local after = math.max(n, first + #ARGV - 5)
if after > n and (after - f > tonumber(ARGV[4]) or bytes > tonumber(ARGV[5])) then return 'full' end
for i = start, #ARGV, 100 do redis.call('RPUSH', KEYS[2], unpack(ARGV, i, math.min(i + 99, #ARGV))) end
redis.call('HSET', KEYS[1], 'e', ARGV[1], 'f', f, 'n', after, 'b', bytes)
live(ARGV[3])
return 'stored'`),

  // ARGV: epoch, number to begin with, most bytes
  load: script(`${FENCE}${RANGE}
local h = redis.call('HMGET', KEYS[1], 'e', 'f', 'n')
if not h[1] then return 'lost' end
if fenced(h[1]) then return 'fenced' end
local f, n = range(h[2], h[3], ARGV[2])
if not f then return 'lost' end
local at, room = math.max(f, tonumber(ARGV[2])), tonumber(ARGV[3])
local answer = { at, 0 }
while at < n do
  for _, stanza in ipairs(redis.call('LRANGE', KEYS[2], at - f, at - f + 15)) do
    room = room - #stanza
    if room < 0 and #answer > 2 then
      answer[2] = 1
      return answer
    end
    answer[#answer + 1] = stanza
    at = at + 1
  end
end
return answer`),

  // ARGV: epoch, number of the last stanza to forget
  trim: script(`${FENCE}${RANGE}
local h = redis.call('HMGET', KEYS[1], 'e', 'f', 'n', 'b')
if not h[1] then return 'lost' end
if fenced(h[1]) then return 'fenced' end
if not h[2] then return 'trimmed' end
local f, n = range(h[2], h[3])
if not f then return 'lost' end
local keep = math.min(tonumber(ARGV[2]) + 1, n)
if keep <= f then return 'trimmed' end
local bytes = tonumber(h[4])
for at = f, keep - 1, 100 do
  for _, stanza in ipairs(redis.call('LRANGE', KEYS[2], at - f, math.min(at + 99, keep - 1) - f)) do
    bytes = bytes - #stanza
  end
end
redis.call('LTRIM', KEYS[2], keep - f, -1)
redis.call('HSET', KEYS[1], 'f', keep, 'b', bytes)
return 'trimmed'`),

  // Does what all of the above do, so that a right that the user lacks shows here and not when a session needs it.
  probe: script(`
redis.call('TIME')
redis.call('HSET', KEYS[1], 'e', 1, 'o', 1)
redis.call('PEXPIRE', KEYS[1], 60000)
redis.call('PTTL', KEYS[1])
redis.call('HMGET', KEYS[1], 'e', 'o')
redis.call('HGET', KEYS[1], 'e')
redis.call('RPUSH', KEYS[2], 1)
redis.call('PEXPIRE', KEYS[2], 60000)
redis.call('LLEN', KEYS[2])
redis.call('LRANGE', KEYS[2], 0, 0)
redis.call('LTRIM', KEYS[2], 1, -1)
redis.call('DEL', KEYS[1], KEYS[2])
return 'ok'`),
} as const;

export type ScriptName = keyof typeof SCRIPTS;

function script(lua: string): RedisScript {
  return { lua, sha: createHash("sha1").update(lua).digest("hex") };
}
