-- Write what the owner says of the single orders of several symbols, each only if it still owns the symbol.
--
-- KEYS     3 per symbol: lease hash, orders:{S}:top stream, orders:{S}:status hash
-- ARGV[1]  entries kept, about, in a top stream
-- then 3 per symbol:  fencing number, payload ("" appends none), status
-- A status is lines "field\nvalue\nfield\nvalue\n"; "" leaves it as it is. To it comes `told_ms`, the server's time.
--
-- Returns a flat list of pairs: position (1-based) and FENCED (the number is not the lease's; nothing was written) or
-- REFUSED <error> (a key is of another type, or no id is left in its stream; the other symbols were written).
-- A call that is repeated appends nothing twice.
-- Cost: 3 commands per symbol with a payload, 2 with a status, 1 per call.
local kept = ARGV[1]
local signals = {}
local time = redis.call('TIME')
local now_ms = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
local function write(top, status, payload, told)
    if payload ~= '' then
        local newest = redis.call('XREVRANGE', top, '+', '-', 'COUNT', 1)[1]
        if not (newest and newest[2][2] == payload) then
            redis.call('XADD', top, 'MAXLEN', '~', kept, '*', 'data', payload)
        end
    end
    if told ~= '' then
        local fields = {}
        for part in string.gmatch(told, '([^\n]*)\n') do
            fields[#fields + 1] = part
        end
        redis.call('HSET', status, 'told_ms', now_ms, unpack(fields))
    end
end
for i = 1, #KEYS / 3 do
    local lease, top, status = KEYS[3 * i - 2], KEYS[3 * i - 1], KEYS[3 * i]
    local token, payload, told = ARGV[3 * i - 1], ARGV[3 * i], ARGV[3 * i + 1]
    local owner = redis.pcall('HGET', lease, 'token')
    if owner ~= token then
        signals[#signals + 1], signals[#signals + 2] = i, 'FENCED'
    else
        local done, problem = pcall(write, top, status, payload, told)
        if not done then
            local text = type(problem) == 'table' and problem.err or tostring(problem)
            if not (string.find(text, 'WRONGTYPE', 1, true) or string.find(text, 'exhausted', 1, true)) then
                error(problem, 0)
            end
            signals[#signals + 1], signals[#signals + 2] = i, 'REFUSED ' .. text
        end
    end
end
return signals
