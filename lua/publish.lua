-- Publish the top of several books, each only if the publisher still owns the symbol.
--
-- KEYS[1]  LIVE_ORDERBOOK hash; then 3 per book: lease hash, book:{S}:top stream, book:{S}:status hash
-- ARGV[1]  entries kept in a top stream
-- then 4 per book:  symbol, fencing number, payload ("" leaves what is shown, "-" withdraws the book), status
-- A status is lines "field\nvalue\nfield\nvalue\n"; "" leaves it as it is.
--
-- Returns the positions (1-based) of the books refused because the fencing number is not the lease's.
-- Cost: 4 commands per book.
local kept = ARGV[1]
local refused = {}
local books = (#KEYS - 1) / 3
for i = 1, books do
    local lease, top, status = KEYS[3 * i - 1], KEYS[3 * i], KEYS[3 * i + 1]
    local at = 4 * i - 2
    local symbol, token, payload, told = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
    if redis.call('HGET', lease, 'token') ~= token then
        refused[#refused + 1] = i
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
        end
    end
end
return refused
