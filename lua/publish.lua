-- Publish the top of several books, each only if the publisher still owns the symbol.
--
-- KEYS[1]  LIVE_ORDERBOOK hash; then 4 per book: lease hash, book:{S}:top stream, book:{S}:status hash,
--          book:{S}:distrust string
-- ARGV[1]  entries kept in a top stream
-- then 4 per book:  symbol, fencing number, payload ("" leaves what is shown, "-" withdraws the book), status
-- A status is lines "field\nvalue\nfield\nvalue\n"; "" leaves it as it is.
--
-- Returns a flat list of pairs: position (1-based) and why the owner must act on it: "FENCED" where the fencing
-- number is not the lease's (nothing was written), or "DISTRUST <reason>" where an audit found the book wrong. The
-- latter is looked for whenever a status is written, and said until a status shows that the sync it was first said of
-- is over: a reply may be lost. A call that is repeated says and writes the same again, and appends nothing.
-- Cost: 5 commands per book with a payload, 2 more with a status.
local OUT_OF_SYNC = { waiting = true, confirming = true, broken = true }
local kept = ARGV[1]
local function appended_already(top, payload)
    local newest = redis.call('XREVRANGE', top, '+', '-', 'COUNT', 1)[1]
    return newest and newest[2][2] == payload
end
local function distrusted(key, status)
    local reason = redis.call('GET', key)
    if not reason then
        return false
    end
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
local signals = {}
local books = (#KEYS - 1) / 4
for i = 1, books do
    local first = 4 * i - 2
    local lease, top, status, distrust = KEYS[first], KEYS[first + 1], KEYS[first + 2], KEYS[first + 3]
    local at = 4 * i - 2
    local symbol, token, payload, told = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
    if redis.call('HGET', lease, 'token') ~= token then
        signals[#signals + 1] = i
        signals[#signals + 1] = 'FENCED'
    else
        if payload == '-' then
            redis.call('HDEL', KEYS[1], symbol)
        elseif payload ~= '' then
            redis.call('HSET', KEYS[1], symbol, payload)
            if not appended_already(top, payload) then
                redis.call('XADD', top, 'MAXLEN', '~', kept, '*', 'data', payload)
            end
        end
        if told ~= '' then
            local fields, values = {}, {}
            for part in string.gmatch(told, '([^\n]*)\n') do
                fields[#fields + 1] = part
            end
            for j = 1, #fields, 2 do
                values[fields[j]] = fields[j + 1]
            end
            redis.call('HSET', status, unpack(fields))
            local reason = distrusted(distrust, values)
            if reason then
                signals[#signals + 1] = i
                signals[#signals + 1] = 'DISTRUST ' .. reason
            end
        end
    end
end
return signals
