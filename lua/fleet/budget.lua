-- The request weight of one REST pool, shared by every process of one address.
--
-- KEYS[1]  budget hash: limit, minute (start, ms), used, blocked_until (ms), blocked_ms, phase (ms),
--          free_at (ms)
-- ARGV[1]  "ask", "told", "limit" or "block"
-- ARGV[2]  now in ms; 0: the server's own clock, the only one that all who ask share
-- ask:    ARGV[3] weight, ARGV[4] limit to assume while none is known, ARGV[5] share of the limit this asker
--         may use, in thousandths (urgent requests have a larger one), ARGV[6] weight that must be left of that for others,
--         ARGV[7] ms that must lie between two requests of weight 1; 0: none
-- told:   ARGV[3] used weight the exchange reported, ARGV[4] ms since its request was granted,
--         ARGV[5] the exchange's time of the reply in ms, to the second; 0: not told
-- limit:  ARGV[3] limit learned from the exchange
-- block:  ARGV[3] ms for which nobody may ask
--
-- Returns ms to wait before asking again; 0: granted (ask), or done; -1: refused, as no such value can be.
-- Cost: 2 commands, 1 more with the server's clock.
--
-- The exchange counts by the minutes of its own clock. `phase` is by how much that is ahead of ours, within a minute:
-- what a reply's time proves of it is taken over. What a reply says of a minute that is over raises no other.
-- Every stored value may have been written by a clock that was wrong, or by nobody of ours: it counts only while it
-- can be true, so that no step of a clock and no rubbish lasts longer than a minute.
local MINUTE, MOST_WEIGHT, MOST_LIMIT, MOST_BLOCK, UNTIL = 60000, 1e7, 1e5, 259200000, 1e15
local action = ARGV[1]

local function whole(text, least, most)
    local value = tonumber(text)
    if value and value >= least and value <= most then
        return value - value % 1
    end
end

local now = whole(ARGV[2], 1, UNTIL)
if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000 + (time[2] - time[2] % 1000) / 1000
end
local state = redis.pcall('HMGET', KEYS[1], 'limit', 'minute', 'used', 'blocked_until', 'blocked_ms', 'phase', 'free_at')
if state.err then
    redis.call('DEL', KEYS[1]) -- of another type: all of it is learned anew within a minute
    state = {}
end
local phase = whole(state[6], 0, MINUTE - 1) or 0
local used = whole(state[3], 0, MOST_WEIGHT) or 0
local counted = whole(state[2], 0, UNTIL) or 0

local function set(name, value)
    redis.call('HSET', KEYS[1], name, string.format('%.0f', value))
end

local function start_of(ms)
    return ms + phase - (ms + phase) % MINUTE
end

if action == 'told' and whole(ARGV[5], 1, UNTIL) then
    -- the reply was made between the grant and now, and the exchange's clock showed a time within one second then
    local elapsed = whole(ARGV[4], 0, MINUTE) or MINUTE
    local least = (whole(ARGV[5], 1, UNTIL) - now) % MINUTE
    local width = 1000 + elapsed
    local off = (phase - least) % MINUTE
    if off > width then
        phase = off - width < MINUTE - off and (least + width) % MINUTE or least
        set('phase', phase)
    end
end

local minute = start_of(now)
if counted == minute + MINUTE then
    minute = counted -- the phase was corrected: nothing is given back
elseif counted < minute then
    used = 0
end

local function keep(value, ...)
    redis.call('HSET', KEYS[1], 'minute', string.format('%.0f', minute), 'used', string.format('%.0f', value), ...)
end

if counted > minute then
    keep(used) -- a clock that was ahead has written it: what was used counts for this minute, and that is all
end

if action == 'ask' then
    local length = whole(state[5], 1, MOST_BLOCK)
    local left = (whole(state[4], 0, UNTIL) or 0) - now
    if not length and left > MOST_BLOCK then
        left = 0 -- no ban is that long, and nothing says how long this one was to be
    elseif left > (length or MOST_BLOCK) then
        left = length -- the clock went back
        set('blocked_until', now + length)
    end
    if left > 0 then
        return left
    end
    local limit = whole(state[1], 1, MOST_LIMIT) or tonumber(ARGV[4])
    local weight = tonumber(ARGV[3])
    -- what is more than a whole minute's share goes alone, or nobody could ever ask for the true limit
    if used > 0 and used + weight + (tonumber(ARGV[6]) or 0) > limit * tonumber(ARGV[5]) / 1000 then
        return minute + MINUTE - now - phase
    end
    local free_at, spacing = whole(state[7], 0, now + MINUTE) or 0, (tonumber(ARGV[7]) or 0) * weight
    if spacing > 0 and free_at > now then
        return free_at - now
    end
    keep(used + weight, 'free_at', string.format('%.0f', now + spacing))
elseif action == 'told' then
    local value, elapsed = whole(ARGV[3], 0, MOST_WEIGHT), whole(ARGV[4], 0, UNTIL) or UNTIL
    if not value then
        return -1
    end
    local at, theirs = (now + phase) % MINUTE, whole(ARGV[5], 1, UNTIL)
    local belongs = elapsed <= at
    if theirs then
        belongs = elapsed < MINUTE / 2 and theirs % MINUTE - at < MINUTE / 2
    end
    if belongs and minute == start_of(now) and value > used then
        keep(value)
    end
elseif action == 'limit' then
    local limit = whole(ARGV[3], 1, MOST_LIMIT)
    if not limit then
        return -1
    end
    set('limit', limit)
elseif action == 'block' then
    local length = whole(ARGV[3], 1, MOST_BLOCK)
    if not length then
        return -1
    end
    local left = (whole(state[4], 0, UNTIL) or 0) - now
    if left <= 0 or left > MOST_BLOCK or length > left then
        redis.call('HSET', KEYS[1], 'blocked_until', string.format('%.0f', now + length), 'blocked_ms',
            string.format('%.0f', length))
    end
else
    return redis.error_reply('ERR unknown action ' .. action)
end
return 0
