-- Append an entry to a stream of records unless a young one that says the same is there: a repeated command, or another
-- worker that found out the same, adds nothing.
--
-- KEYS[1]  stream
-- ARGV[1]  entries kept          ARGV[2]  '~' to keep about that many, '=' for exactly
-- ARGV[3]  newest entries looked at
-- ARGV[4]  ms: an older entry is about something else (ids may start anew at the exchange)
-- ARGV[5]  n: how many fields tell whether two entries say the same      ARGV[6 .. 5+n]  their names
-- ARGV[6+n ..]  fields and values
--
-- Returns 1, or 0 when nothing was appended.
-- Cost: one XREVRANGE, one XADD.
local n = tonumber(ARGV[5])
local said = {}
for i = 6 + n, #ARGV, 2 do
    said[ARGV[i]] = ARGV[i + 1]
end
local function same(fields)
    local matching = 0
    for i = 1, #fields, 2 do
        for j = 6, 5 + n do
            if fields[i] == ARGV[j] and fields[i + 1] == said[fields[i]] then
                matching = matching + 1
            end
        end
    end
    return matching == n
end
local time = redis.call('TIME')
local oldest = time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(ARGV[4])
for _, entry in ipairs(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', ARGV[3])) do
    if tonumber(string.match(entry[1], '^%d+')) < oldest then
        break
    end
    if same(entry[2]) then
        return 0
    end
end
redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[2], ARGV[1], '*', unpack(ARGV, 6 + n))
return 1
