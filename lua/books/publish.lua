-- Publish the top of several books, each only if the publisher still owns the symbol.
--
-- KEYS[1]  LIVE_ORDERBOOK hash; then 5 per book: lease hash, book:{S}:top stream, book:{S}:status hash,
--          book:{S}:distrust string, raw stream
-- ARGV[1]  entries kept in a top stream
-- then 5 per book:  symbol, fencing number, payload ("" leaves what is shown, "-" withdraws the book), status, and what
--          the owner has read without its group: "<entries> <id of the last>", or ""; see include/take_entries.lua
-- A status is lines "field\nvalue\nfield\nvalue\n"; "" leaves it as it is. To it comes `told_ms`, the server's time: by
-- its age readers know whether the owner still says anything, whatever the clocks of the two are set to.
--
-- Returns a flat list of pairs: position (1-based) and why the owner must act on it:
--   FENCED             the fencing number is not the lease's; nothing was written
--   DISTRUST <reason>  an audit found the book wrong. It is looked for whenever a status is written, and said until a
--                      status shows that the sync it was first said of is over: a reply may be lost
--   GONE               a status says "synced" and LIVE_ORDERBOOK has no such book: somebody removed or spoiled it
--   REFUSED <error>    a key of the book is of another type, or no id is left in its stream; the others of it, and the other books, were written
--   ELSEWHERE          the group gave out other entries than the owner had read
--   REPLACED <type>    (position 0) LIVE_ORDERBOOK was no hash and was removed: it is made of the books
-- A call that is repeated says and writes the same again, but for `told_ms`, and appends nothing.
-- Cost: 4 commands per book with a payload, 3 more with a status, 2 more with entries read, 1 per call, 1 more with any status.
-- include: take_entries
local OUT_OF_SYNC = { waiting = true, confirming = true, broken = true }
local kept = ARGV[1]
local signals = {}
local now_ms
local function signal(position, text)
    signals[#signals + 1] = position
    signals[#signals + 1] = text
end
local function append_top(top, payload)
    local newest = redis.call('XREVRANGE', top, '+', '-', 'COUNT', 1)[1]
    if not (newest and newest[2][2] == payload) then
        redis.call('XADD', top, 'MAXLEN', '~', kept, '*', 'data', payload)
    end
end
local function distrusted(key, status)
    if redis.call('TYPE', key).ok ~= 'string' then
        redis.call('DEL', key)  -- nobody's word, or none
        return false
    end
    local reason = redis.call('GET', key)
    local before, said_of = string.match(reason, '^(.*)\n(%d+)$')
    local over = said_of and (OUT_OF_SYNC[status.state] or said_of ~= status.sync_count)
    if over or not status.sync_count then
        redis.call('DEL', key)
        return not over and reason
    end
    if not before then
        redis.call('SET', key, reason .. '\n' .. status.sync_count, 'KEEPTTL')
    end
    return before or reason
end
local function tell(position, symbol, status, distrust, told)
    local fields, values = {}, {}
    for part in string.gmatch(told, '([^\n]*)\n') do
        fields[#fields + 1] = part
    end
    for j = 1, #fields, 2 do
        values[fields[j]] = fields[j + 1]
    end
    local reason = distrusted(distrust, values)
    if reason then
        signal(position, 'DISTRUST ' .. reason)
    end
    if values.state == 'synced' then
        local shown = redis.call('HGET', KEYS[1], symbol)
        if not shown or string.sub(shown, 1, 5) ~= '{"s":' then
            signal(position, 'GONE')
        end
    end
    if not now_ms then
        local time = redis.call('TIME')
        now_ms = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
    end
    redis.call('HSET', status, 'told_ms', now_ms, unpack(fields))
end
-- What one key refuses costs no other key anything; what the server refuses ends the call.
local function alone(position, work, ...)
    local done, problem = pcall(work, ...)
    if not done then
        local text = type(problem) == 'table' and problem.err or tostring(problem)
        if not (string.find(text, 'WRONGTYPE', 1, true) or string.find(text, 'exhausted', 1, true)) then
            error(problem, 0)
        end
        signal(position, 'REFUSED ' .. text)
    end
end
local function publish(i)
    local at = 5 * i - 3
    local lease, top, status, distrust, raw = KEYS[at], KEYS[at + 1], KEYS[at + 2], KEYS[at + 3], KEYS[at + 4]
    local symbol, token, payload, told, read = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
    if redis.call('HGET', lease, 'token') ~= token then
        signal(i, 'FENCED')
        return
    end
    if not take_entries(raw, read) then
        signal(i, 'ELSEWHERE')
    end
    if payload == '-' then
        redis.call('HDEL', KEYS[1], symbol)
    elseif payload ~= '' then
        redis.call('HSET', KEYS[1], symbol, payload)
        alone(i, append_top, top, payload)
    end
    if told ~= '' then
        alone(i, tell, i, symbol, status, distrust, told)
    end
end
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'hash' and kind ~= 'none' then
    redis.call('DEL', KEYS[1])
    signal(0, 'REPLACED ' .. kind)
end
for i = 1, (#KEYS - 1) / 5 do
    alone(i, publish, i)
end
return signals
