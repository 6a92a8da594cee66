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
-- latter is looked for, and taken, whenever a status is written.
-- Cost: 4 commands per book, 2 more with a status.
local kept = ARGV[1]
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
            redis.call('XADD', top, 'MAXLEN', '~', kept, '*', 'data', payload)
        end
        if told ~= '' then
            local fields = {}
            for part in string.gmatch(told, '([^\n]*)\n') do
                fields[#fields + 1] = part
            end
            redis.call('HSET', status, unpack(fields))
            local reason = redis.call('GET', distrust)
            if reason then
                redis.call('DEL', distrust)
                signals[#signals + 1] = i
                signals[#signals + 1] = 'DISTRUST ' .. reason
            end
        end
    end
end
return signals
