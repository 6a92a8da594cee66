-- Append many exchange messages to their streams, each at most once.
--
-- KEYS     the streams (on a cluster: of one slot)
-- ARGV[1]  number of entries n
-- ARGV[2 .. 1+k]  retention in ms of KEYS[1 .. k] (entries older than this before the new one are trimmed)
-- ARGV[2+k]  id_reset_ms: an id that went back while its time went on by at least this much starts anew
-- then n times 2:  "<key index from 1> <event ms> <update id> <received us> <line>", data
--
-- An entry's id is <event ms>-<update id>, so the last id of a stream names the last update id it holds.
-- An entry whose update id is not greater than that is a repeat and is dropped, whatever its time: two lines
-- may stamp one event differently. An entry that is new but whose clock went back takes the stream's last ms.
--
-- A stream whose last id is more than a week ahead of an entry is refused with an error: all that follows would be filed
-- under that one ms, and never be trimmed. What the call appended before stays, and is a repeat when it comes again.
--
-- Returns {appended, repeats, resets, then for each key: its repeats, then for the last repeat of each key whose
-- first copy is still there: the line that was first and by how many us}.
-- Cost: one XINFO and one XTRIM per key, one XADD per new entry, one XRANGE per key with repeats.
local FAR_MS = 604800000
local call, format, match = redis.call, string.format, string.match
local n = tonumber(ARGV[1])
local k = #KEYS
local reset_ms = tonumber(ARGV[2 + k])
local last_ms, last_id, repeats_of, repeated = {}, {}, {}, {}
for i = 1, k do
    last_ms[i], last_id[i], repeats_of[i] = 0, -1, 0
    local info = redis.pcall('XINFO', 'STREAM', KEYS[i])
    if info.err == nil then
        for j = 1, #info, 2 do
            if info[j] == 'last-generated-id' then
                local ms, id = match(info[j + 1], '^(%d+)-(%d+)$')
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
    local index, event_ms, update_id, received, line = match(ARGV[at], '^(%d+) (%d+) (%d+) (%d+) (%S+)$')
    local i, ms, id = tonumber(index), tonumber(event_ms), tonumber(update_id)
    local wanted = true
    if last_ms[i] - ms > FAR_MS then
        return redis.error_reply('FAR an id of ' .. KEYS[i] .. ' is of a far future')
    end
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
        call('XADD', KEYS[i], format('%.0f-%.0f', ms, id), 'data', ARGV[at + 1], 'received', received, 'line', line)
        last_ms[i], last_id[i] = ms, id
        appended = appended + 1
    else
        repeats = repeats + 1
        repeats_of[i] = repeats_of[i] + 1
        repeated[i] = { event_ms .. '-' .. update_id, received }
    end
    at = at + 2
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
for i = 1, k do
    if repeated[i] then
        local first = call('XRANGE', KEYS[i], repeated[i][1], repeated[i][1])[1]
        if first and first[2][3] == 'received' then
            reply[#reply + 1] = first[2][6]
            reply[#reply + 1] = tonumber(repeated[i][2]) - tonumber(first[2][4])
        end
    end
end
return reply
