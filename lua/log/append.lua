-- Append many exchange messages to their streams, each at most once, by the exchange's own numbers.
--
-- KEYS     the streams (on a cluster: of one slot)
-- ARGV[1]  number of entries n
-- ARGV[2]  id_reset_ms: an id that went back while its time went on by at least this much starts anew
-- ARGV[3 .. 2+3k]  of KEYS[1 .. k] the retention in ms (entries older than this before the new one are trimmed), and ms
--          and update id of an entry that was the last at some time, where the caller knows one, else twice "": if there is none
--          after it, nothing has to be read. It is taken at its word: what it names may be gone with the stream, and stays a repeat.
-- then n times 7:  key index from 1, event ms, update id, received us, line, kind ("" of an update), data
--
-- An update's id is <event ms>-<update id>, so the last id of a stream names the last update id it holds.
-- One whose update id is not greater than that is a repeat and is dropped, whatever its time: two lines
-- may stamp one event differently. One that is new but whose clock went back takes the stream's last ms.
-- Ids are compared as text: they may be greater than what a double holds.
--
-- An entry of another kind has the fields `kind <kind>` behind `line`:
--   snapshot, checksum, break   leave the last update id as it is: <ms>-<last update id>; <ms>-0 in an empty stream.
--   restart    a whole book whose ids begin anew: <ms>-<its own update id>, from which ids count on.
-- Their ms is the event's own, if that is later than the stream's last, else the last plus one. A repeat is one of the
-- same kind, received time, line and data among the newest LOOKED_AT entries (a call tried again), and a restart that
-- is no newer than another line's there. After a restart, what comes from before it is a repeat: of its own line by the
-- time received (a call tried again), of another by the event's (that line is late).
--
-- A stream whose last id is more than a week ahead of an entry is refused with an error: all that follows would be filed
-- under that one ms, and never be trimmed. What the call appended before stays, and is a repeat when it comes again.
--
-- Returns {appended, repeats, resets, then for each key: its repeats, then for the last repeat of each key whose
-- first copy is still there: the line that was first and by how many us}.
-- Cost: one XREVRANGE per key, of one entry or, where the last id is known, of none; one XADD per new entry, one XRANGE per key with repeats; per key with another
-- kind or a clock that went back one XREVRANGE of up to LOOKED_AT entries. A stream is trimmed when its time comes into
-- another TRIMS-th of its retention, not by each call.
local FAR_MS, LOOKED_AT, TRIMS = 604800000, 500, 100
local call, format, match, unpack = redis.call, string.format, string.match, unpack
local n = tonumber(ARGV[1])
local k = #KEYS
local reset_ms = ARGV[2] + 0
local last_ms, last_id, began_ms, kept_ms, repeats_of, repeated = {}, {}, {}, {}, {}, {}

local function set_last(i, id)
    local ms, number = match(id, '^(%d+)-(%d+)$')
    last_ms[i], last_id[i] = ms + 0, ms == '0' and '' or number
end

-- The last id a stream ever had: its newest entries may have been deleted, or the id been set.
local function set_last_ever(i)
    last_ms[i], last_id[i] = 0, ''
    local info = redis.pcall('XINFO', 'STREAM', KEYS[i])
    for j = 1, info.err and 0 or #info, 2 do
        if info[j] == 'last-generated-id' then
            set_last(i, info[j + 1])
        end
    end
end

for i = 1, k do
    repeats_of[i] = 0
    local known_ms, known_id = ARGV[3 * i + 1], ARGV[3 * i + 2]
    kept_ms[i] = ARGV[3 * i] + 0
    local newest = redis.pcall('XREVRANGE', KEYS[i], '+', known_ms == '' and '-' or '(' .. known_ms .. '-' .. known_id, 'COUNT', 1)
    if newest.err then
        return redis.error_reply('WRONGTYPE ' .. KEYS[i] .. ' is no stream')
    elseif newest[1] then
        set_last(i, newest[1][1])
    elseif known_ms ~= '' then
        last_ms[i], last_id[i] = known_ms + 0, known_ms == '0' and '' or known_id
    else
        set_last_ever(i)
    end
    began_ms[i] = last_ms[i]
end

local function is_later(id, than)
    return #id > #than or (#id == #than and id > than)
end

local looked_from, entries_of, restarts = {}, {}, {}

local function identity(kind, received, line, data)
    return kind .. ' ' .. received .. ' ' .. line .. ' ' .. data
end

-- Read the newest entries of a key once, back to a time. What is found may be older, where an entry before looked further:
-- it counts only if it is not, so that what becomes of an entry does not depend on those it came with.
local function look_back(i, ms)
    if looked_from[i] and looked_from[i] <= ms then
        return
    end
    looked_from[i], entries_of[i], restarts[i] = ms, {}, nil
    local newest = call('XREVRANGE', KEYS[i], '+', format('%.0f', ms), 'COUNT', LOOKED_AT)
    for _, entry in ipairs(newest) do
        local fields = entry[2]
        if fields[7] == 'kind' then
            local itself, entry_ms = identity(fields[8], fields[4], fields[6], fields[2]), tonumber(match(entry[1], '^%d+'))
            entries_of[i][itself] = entries_of[i][itself] or entry_ms
            if fields[8] == 'restart' and not restarts[i] then
                restarts[i] = { ms = entry_ms, line = fields[6], received = tonumber(fields[4]) }
            end
        end
    end
end

local function is_from_before_a_restart(i, ms, line, received)
    look_back(i, ms)
    local restart = restarts[i]
    if restart == nil or restart.ms < ms then
        return false
    elseif line == restart.line then
        return tonumber(received) < restart.received
    end
    return ms < restart.ms
end

local function is_known_restart(i, ms, line)
    look_back(i, ms)
    local restart = restarts[i]
    return restart ~= nil and line ~= restart.line and ms <= restart.ms
end

local appended, repeats, resets = 0, 0, 0

-- Take one entry of key i in; the error with which the stream refused it, or nil.
local function take(i, event_ms, id, received, line, kind, data)
    local ms, ms_text, wanted, is_reset = event_ms + 0, event_ms, true, false
    if last_ms[i] - ms > FAR_MS then
        return redis.error_reply('FAR an id of ' .. KEYS[i] .. ' is of a far future')
    end
    local itself = kind ~= '' and identity(kind, received, line, data)
    if not itself then
        if not is_later(id, last_id[i]) then
            is_reset = ms >= last_ms[i] + reset_ms
            wanted = is_reset
        elseif ms < last_ms[i] then
            wanted = not is_from_before_a_restart(i, ms, line, received)
            ms, ms_text = last_ms[i], nil
        end
    else
        look_back(i, ms)
        if (entries_of[i][itself] or -1) >= ms or kind == 'restart' and is_known_restart(i, ms, line) then
            wanted = false
        else
            ms, ms_text = math.max(ms, last_ms[i] + 1), nil
            if kind ~= 'restart' then
                id = last_id[i] == '' and '0' or last_id[i]
            end
        end
    end
    if not wanted then
        repeats = repeats + 1
        repeats_of[i] = repeats_of[i] + 1
        if not itself then
            repeated[i] = { event_ms .. '-' .. id, received }
        end
        return nil
    end
    local reply
    local entry_id = (ms_text or format('%.0f', ms)) .. '-' .. id
    if itself then
        reply = redis.pcall('XADD', KEYS[i], entry_id, 'data', data, 'received', received, 'line', line, 'kind', kind)
    else
        reply = redis.pcall('XADD', KEYS[i], entry_id, 'data', data, 'received', received, 'line', line)
    end
    if type(reply) == 'table' then
        return reply
    end
    if itself then
        entries_of[i][itself] = ms
        if kind == 'restart' then
            restarts[i] = { ms = ms, line = line, received = tonumber(received) }
        end
    end
    last_ms[i], last_id[i] = ms, id
    appended = appended + 1
    resets = resets + (is_reset and 1 or 0)
    return nil
end

for at = 3 + 3 * k, 2 + 3 * k + 7 * n, 7 do
    local index, event_ms, id, received, line, kind, data = unpack(ARGV, at, at + 6)
    local i = index + 0
    local refused = take(i, event_ms, id, received, line, kind, data)
    if refused then
        set_last_ever(i)
        refused = take(i, event_ms, id, received, line, kind, data)
    end
    if refused then
        return refused
    end
end
for i = 1, k do
    local part_ms = math.ceil(kept_ms[i] / TRIMS)
    local oldest = last_ms[i] - kept_ms[i]
    if oldest > 0 and part_ms > 0 and last_ms[i] - last_ms[i] % part_ms ~= began_ms[i] - began_ms[i] % part_ms then
        call('XTRIM', KEYS[i], 'MINID', '~', format('%.0f', oldest))
    end
end
local reply = { appended, repeats, resets }
for i = 1, k do
    reply[3 + i] = repeats_of[i]
end
for i = 1, k do
    if repeated[i] then
        local first = call('XRANGE', KEYS[i], repeated[i][1], repeated[i][1])[1]
        if first and first[2][3] == 'received' and first[2][7] == nil then
            reply[#reply + 1] = first[2][6]
            reply[#reply + 1] = tonumber(repeated[i][2]) - tonumber(first[2][4])
        end
    end
end
return reply
