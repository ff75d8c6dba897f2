import { createHash } from "node:crypto";

/** A change in one step: Redis runs a script alone and whole. */
export interface RedisScript {
  readonly lua: string;
  readonly sha: string;
}

/*
 * Of each session there is a hash KEYS[1] (e epoch, o owner; f first, n next and b bytes of its stanzas) and a list KEYS[2] of those stanzas. Of each account for which stanzas wait there is a hash KEYS[3]: for each
 * session that has some, until when it is alive (ms since 1970; 0: it is over) and its resource. A script ends before its
 * first write or does all of them: a Redis that is full or read-only refuses the first.
 */

// A newer epoch is known: whoever asks is not the owner any more. An older one is what a failover has left of the record.
const FENCE = `
local function fenced(known) return tonumber(known or '0') > tonumber(ARGV[1]) end
local function keep(key, ttl)
  if redis.call('PTTL', key) < ttl then redis.call('PEXPIRE', key, ttl) end
end
local function live(ttl)
  keep(KEYS[1], tonumber(ttl))
  keep(KEYS[2], tonumber(ttl))
end
`;

// The entry of a session in KEYS[3].
const ACCOUNT = `
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function note(session, aliveUntil, resource)
  redis.call('HSET', KEYS[3], session, string.format('%.0f %s', aliveUntil, resource))
end
local function noted(entry)
  local aliveUntil, resource = string.match(entry or '', '^(%d+) (.*)$')
  return tonumber(aliveUntil), resource
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
  local h = redis.call('HMGET', KEYS[1], 'e', 'o', 'f', 'n')
  return h[1] and h
end
`;

const INHERIT = `${ACCOUNT.replaceAll("KEYS[3]", "KEYS[1]")}
local entries = redis.call('HGETALL', KEYS[1])
local answer = {}
for i = 1, #entries, 2 do
  local session = entries[i]
  local aliveUntil, resource = noted(entries[i + 1])
  local key = KEYS[1] .. session
  local h = redis.call('HMGET', key, 'e', 'f', 'n')
  if not h[2] or h[2] == h[3] or not aliveUntil then
    redis.call('HDEL', KEYS[1], session)
  elseif ARGV[4] == '1' and session == ARGV[3] then
    -- not that one
  elseif session == ARGV[3] or resource == ARGV[2] or aliveUntil <= now() then
    local time = redis.call('TIME')
    local epoch = math.max(time[1] * 1000000 + time[2], tonumber(h[1]) + 1)
    if ARGV[4] ~= '1' then
      redis.call('HSET', key, 'e', epoch, 'o', ARGV[1])
      note(session, 0, resource)
    end
    answer[#answer + 1] = { session, resource, epoch, h[2], h[3] }
  end
end
return answer`;

export const SCRIPTS = {
  // ARGV: owner, ttl, session. An epoch is the server's time in microseconds, or one more than the last: it rises also when
  // Redis has lost the record, or the last claim of it in a failover.
  claim: script(`${FENCE}${RECORD}${ACCOUNT}
local before = record()
local time = redis.call('TIME')
local epoch = time[1] * 1000000 + time[2]
if before then epoch = math.max(epoch, tonumber(before[1]) + 1) end
redis.call('HSET', KEYS[1], 'e', epoch, 'o', ARGV[1])
live(ARGV[2])
local _, resource = noted(redis.call('HGET', KEYS[3], ARGV[3]))
if resource then note(ARGV[3], now() + ARGV[2], resource) end
return { epoch, before }`),

  // ARGV: epoch, session
  release: script(`${FENCE}
if fenced(redis.call('HGET', KEYS[1], 'e')) then return 'fenced' end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HDEL', KEYS[3], ARGV[2])
return 'released'`),

  // ARGV: epoch, number of the first stanza, ttl, how much longer stanzas stay, most stanzas, most bytes, session,
  // resource, stanzas
  append: script(`${FENCE}${RANGE}${ACCOUNT}
local h = redis.call('HMGET', KEYS[1], 'e', 'f', 'n', 'b')
if not h[1] then return 'lost' end
if fenced(h[1]) then return 'fenced' end
local first = tonumber(ARGV[2])
local f, n = range(h[2], h[3], first)
if not f or first > n then return 'lost' end
local bytes = tonumber(h[4] or '0')
local start = 9 + n - first
for i = start, #ARGV do bytes = bytes + #ARGV[i] end
local after = math.max(n, first + #ARGV - 8)
if after > n and (after - f > tonumber(ARGV[5]) or bytes > tonumber(ARGV[6])) then return 'full' end
for i = start, #ARGV, 100 do redis.call('RPUSH', KEYS[2], unpack(ARGV, i, math.min(i + 99, #ARGV))) end
redis.call('HSET', KEYS[1], 'e', ARGV[1], 'f', f, 'n', after, 'b', bytes)
if after == f then
  live(ARGV[3])
else
  live(ARGV[3] + ARGV[4])
  note(ARGV[7], now() + ARGV[3], ARGV[8])
  keep(KEYS[3], ARGV[3] + ARGV[4])
end
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

  // ARGV: epoch, number of the last stanza to forget, whether the session is over (1), session
  trim: script(`${FENCE}${RANGE}${ACCOUNT}
local h = redis.call('HMGET', KEYS[1], 'e', 'f', 'n', 'b')
if not h[1] then return 'lost' end
if fenced(h[1]) then return 'fenced' end
if not h[2] then return 'trimmed' end
local f, n = range(h[2], h[3])
if not f then return 'lost' end
local from = math.max(f, math.min(tonumber(ARGV[2]) + 1, n))
if from == n then redis.call('HDEL', KEYS[3], ARGV[4]) end
if ARGV[3] == '1' then
  if from == n then
    redis.call('DEL', KEYS[1], KEYS[2])
    return 'trimmed'
  end
  local _, resource = noted(redis.call('HGET', KEYS[3], ARGV[4]))
  if resource then note(ARGV[4], 0, resource) end
end
if from == f then return 'trimmed' end
local bytes = tonumber(h[4])
for at = f, from - 1, 100 do
  for _, stanza in ipairs(redis.call('LRANGE', KEYS[2], at - f, math.min(at + 99, from - 1) - f)) do
    bytes = bytes - #stanza
  end
end
redis.call('LTRIM', KEYS[2], from - f, -1)
redis.call('HSET', KEYS[1], 'f', from, 'b', bytes)
return 'trimmed'`),

  // KEYS: the account's hash alone; those of its sessions begin like it. ARGV: owner, resource, a session, whether only to
  // look (1), for others than that session; else it is the one that was shown, or nothing
  inherit: script(INHERIT),

  // Does what all of the above do, so that a right that the user lacks shows here and not when a session needs it.
  probe: script(`
redis.call('TIME')
redis.call('HSET', KEYS[1], 'e', 1, 'o', 1)
redis.call('PEXPIRE', KEYS[1], 60000)
redis.call('PTTL', KEYS[1])
redis.call('HMGET', KEYS[1], 'e', 'o')
redis.call('HGET', KEYS[1], 'e')
redis.call('HGETALL', KEYS[1])
redis.call('HDEL', KEYS[1], 'o')
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
