-- The request weight of one REST pool, shared by every process of one address.
--
-- KEYS[1]  budget hash: limit, minute (start ms), used, blocked_until (ms)
-- ARGV[1]  "ask", "told", "limit" or "block"
-- ARGV[2]  now, ms of the clock whose minutes the exchange counts
-- ask:    ARGV[3] weight, ARGV[4] limit to assume while none is known, ARGV[5] share of the limit this asker
--         may use, in thousandths (urgent requests have a larger one)
-- told:   ARGV[3] used weight the exchange reported for this minute
-- limit:  ARGV[3] limit learned from the exchange
-- block:  ARGV[3] ms until which nobody may ask
--
-- Returns ms to wait before asking again; 0: granted (ask), or done.
-- Cost: 2 commands.
local action, now = ARGV[1], tonumber(ARGV[2])
local minute = now - now % 60000
local state = redis.call('HMGET', KEYS[1], 'limit', 'minute', 'used', 'blocked_until')
local used = tonumber(state[3] or '0')
local counted = tonumber(state[2] or '0')
if counted > minute then
    minute = counted
elseif counted < minute then
    used = 0
end
local function keep(value)
    redis.call('HSET', KEYS[1], 'minute', string.format('%.0f', minute), 'used', string.format('%.0f', value))
end
if action == 'ask' then
    local blocked = tonumber(state[4] or '0')
    if blocked > now then
        return blocked - now
    end
    local limit = tonumber(state[1] or ARGV[4])
    if used + tonumber(ARGV[3]) > limit * tonumber(ARGV[5]) / 1000 then
        return minute + 60000 - now
    end
    keep(used + tonumber(ARGV[3]))
elseif action == 'told' then
    if tonumber(ARGV[3]) > used then
        keep(tonumber(ARGV[3]))
    end
elseif action == 'limit' then
    redis.call('HSET', KEYS[1], 'limit', ARGV[3])
elseif action == 'block' then
    if tonumber(ARGV[3]) > tonumber(state[4] or '0') then
        redis.call('HSET', KEYS[1], 'blocked_until', ARGV[3])
    end
else
    return redis.error_reply('ERR unknown action ' .. action)
end
return 0
