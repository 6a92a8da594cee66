-- Append many exchange messages to their streams, each at most once.
--
-- KEYS     the streams (on a cluster: of one slot)
-- ARGV[1]  number of entries n
-- ARGV[2 .. 1+k]  retention in ms of KEYS[1 .. k] (entries older than this before the new one are trimmed)
-- ARGV[2+k]  id_reset_ms: an id that went back while its time went on by at least this much starts anew
-- then n times 6:  key index (1-based), event ms, update id, data, received us, line
--
-- An entry's id is <event ms>-<update id>, so the last id of a stream names the last update id it holds.
-- An entry whose update id is not greater than that is a repeat and is dropped, whatever its time: two lines
-- may stamp one event differently. An entry that is new but whose clock went back takes the stream's last ms.
--
-- Returns {appended, repeats, resets, then for each key: its repeats}.
-- Cost: one XINFO and one XTRIM per key, one XADD per new entry.
local n = tonumber(ARGV[1])
local k = #KEYS
local reset_ms = tonumber(ARGV[2 + k])
local last_ms, last_id, repeats_of = {}, {}, {}
for i = 1, k do
    last_ms[i], last_id[i], repeats_of[i] = 0, -1, 0
    local info = redis.pcall('XINFO', 'STREAM', KEYS[i])
    if info.err == nil then
        for j = 1, #info, 2 do
            if info[j] == 'last-generated-id' then
                local ms, id = string.match(info[j + 1], '^(%d+)-(%d+)$')
                last_ms[i], last_id[i] = tonumber(ms), tonumber(id)
                break
            end
        end
        if last_ms[i] == 0 then
            last_id[i] = -1
        end
    elseif redis.call('EXISTS', KEYS[i]) == 1 then
        return redis.error_reply('WRONGTYPE ' .. KEYS[i] .. ' is no stream')
    end
end
local appended, repeats, resets = 0, 0, 0
local at = 3 + k
for _ = 1, n do
    local i = tonumber(ARGV[at])
    local ms, id = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
    local wanted = true
    if id <= last_id[i] then
        if ms >= last_ms[i] + reset_ms then
            resets = resets + 1
        else
            wanted = false
        end
    elseif ms < last_ms[i] then
        ms = last_ms[i]
    end
    if wanted then
        redis.call('XADD', KEYS[i], string.format('%.0f-%.0f', ms, id), 'data', ARGV[at + 3], 'received', ARGV[at + 4], 'line', ARGV[at + 5])
        last_ms[i], last_id[i] = ms, id
        appended = appended + 1
    else
        repeats = repeats + 1
        repeats_of[i] = repeats_of[i] + 1
    end
    at = at + 6
end
for i = 1, k do
    local oldest = last_ms[i] - tonumber(ARGV[1 + i])
    if oldest > 0 then
        redis.call('XTRIM', KEYS[i], 'MINID', '~', string.format('%.0f', oldest))
    end
end
local reply = { appended, repeats, resets }
for i = 1, k do
    reply[3 + i] = repeats_of[i]
end
return reply
