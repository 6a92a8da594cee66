-- Append many exchange messages to their streams, each at most once, by the exchange's own numbers.
--
-- KEYS     the streams (on a cluster: of one slot), those first whose entries are plain, see below
-- ARGV[1]  id_reset_ms: an id that went back while its time went on by at least this much starts anew
-- ARGV[2]  how many of KEYS are plain
-- then 4 for each key:
--   retention in ms (entries older than this before the new one are trimmed); of a plain key "" where the caller knows that
--          its entries come into no other TRIMS-th of it
--   "<ms>-<update id>" of an entry that was the last at some time, where the caller knows one, else "": if there is none
--          after it, nothing has to be read. It is taken at its word: what it names may be gone with the stream, and stays
--          a repeat.
--   number of its entries
--   line of its entries, if they are plain, else ""
-- then the entries, key after key:
--   of a plain key 3 each: "<event ms>-<update id>", received us, data
--   of another     5 each: the same, received us, line, kind ("" of an update), data
--
-- Plain are entries that are updates of one line and follow each other, the first of them the entry named as the last:
-- of a greater update id, and no earlier ms. As long as that one is the last, they have only to be appended.
--
-- An update's id is <event ms>-<update id>, so the last id of a stream names the last update id it holds.
-- One whose update id is not greater than that is a repeat and is dropped, whatever its time: two lines
-- may stamp one event differently. One that is new but whose clock went back takes the stream's last ms.
-- Ids are compared as text: they may be greater than what a double holds.
--
-- An entry of another kind has the fields `kind <kind>` behind `line`:
--   snapshot, checksum, break   leave the last update id as it is: <ms>-<last update id>; <ms>-0 in an empty stream.
--   restart    a whole book whose ids begin anew: <ms>-<its own update id>, from which ids count on. A snapshot of a lower
--              update id than the last, though later by id_reset_ms, is one too: sockets that ended did not see it happen.
-- Their ms is the event's own, if that is later than the stream's last, else the last plus one; then a restart has its own
-- in a field `event_ms` behind `kind`, for by that it is told what came before it. A repeat is one of the
-- same kind, received time, line and data among the newest LOOKED_AT entries (a call tried again), and a restart that
-- is no newer than another line's there. After a restart, what comes from before it is a repeat: of its own line by the
-- time received (a call tried again), of another by the event's (that line is late).
--
-- A stream whose last id is more than a week ahead of an entry is refused with an error: all that follows would be filed
-- under that one ms, and never be trimmed. What the call appended before stays, and is a repeat when it comes again.
--
-- Returns {appended, repeats, resets}; if anything but plain appending was to be done then for each key: its repeats, then
-- for the last repeat of each key whose first copy is still there: the line that was first and by how many us.
-- Cost: one XREAD for all plain keys, one XREVRANGE of one entry for each other, and for a plain one to which somebody else
-- appended; one XADD per new entry; one XRANGE per key with repeats, unless the last repeats what was the newest; per key with
-- another kind or a clock that went back one XREVRANGE of up to LOOKED_AT entries. A stream is trimmed when its time comes
-- into another TRIMS-th of its retention, not by each call. A plain entry of 340 bytes is some 33,000 instructions of the
-- server, and a call 40,000 beside; an entry that repeats the newest 90,000.
local FAR_MS, LOOKED_AT, TRIMS = 604800000, 500, 100
local keys, argv, call, try = KEYS, ARGV, redis.call, redis.pcall
local k, plain = #keys, argv[2] + 0
local appended, repeats, resets = 0, 0, 0

-- Whatever is not plain appending. Most calls need nothing of it, and so do not define it.
local function carefully()
    local format, match = string.format, string.match
    local reset_ms = argv[1] + 0
    local last_ms, last_id, began_ms, newest_of, repeats_of, repeated = {}, {}, {}, {}, {}, {}
    local looked_from, entries_of, restarts = {}, {}, {}
    for i = 1, k do
        repeats_of[i] = 0
    end

    local function set_last(i, id)
        local ms, number = match(id, '^(%d+)-(%d+)$')
        last_ms[i], last_id[i] = ms + 0, ms == '0' and '' or number
    end

    -- The last id a stream ever had: its newest entries may have been deleted, or the id been set.
    local function set_last_ever(i)
        last_ms[i], last_id[i] = 0, ''
        local info = try('XINFO', 'STREAM', keys[i])
        for j = 1, info.err and 0 or #info, 2 do
            if info[j] == 'last-generated-id' then
                set_last(i, info[j + 1])
            end
        end
    end

    -- Find the last id of key i; an error where it is no stream.
    local function find_last(i)
        local known = argv[4 * i]
        local newest = try('XREVRANGE', keys[i], '+', known == '' and '-' or '(' .. known, 'COUNT', 1)
        if newest.err then
            return redis.error_reply('WRONGTYPE ' .. keys[i] .. ' is no stream')
        elseif newest[1] then
            newest_of[i] = newest[1]
            set_last(i, newest[1][1])
        elseif known ~= '' then
            set_last(i, known)
        else
            set_last_ever(i)
        end
        began_ms[i] = last_ms[i]
    end

    local function is_later(id, than)
        return #id > #than or (#id == #than and id > than)
    end

    local function identity(kind, received, line, data)
        return (kind == 'snapshot' and 'restart' or kind) .. ' ' .. received .. ' ' .. line .. ' ' .. data
    end

    -- Read the newest entries of a key once, back to a time. What is found may be older, where an entry before looked further:
    -- it counts only if it is not, so that what becomes of an entry does not depend on those it came with.
    local function look_back(i, ms)
        if looked_from[i] and looked_from[i] <= ms then
            return
        end
        looked_from[i], entries_of[i], restarts[i] = ms, {}, nil
        local newest = call('XREVRANGE', keys[i], '+', format('%.0f', ms), 'COUNT', LOOKED_AT)
        for _, entry in ipairs(newest) do
            local fields = entry[2]
            if fields[7] == 'kind' then
                local itself, entry_ms = identity(fields[8], fields[4], fields[6], fields[2]), tonumber(match(entry[1], '^%d+'))
                entries_of[i][itself] = entries_of[i][itself] or entry_ms
                if fields[8] == 'restart' and not restarts[i] then
                    restarts[i] = { filed_ms = entry_ms, ms = tonumber(fields[10]) or entry_ms, line = fields[6],
                        received = tonumber(fields[4]) }
                end
            end
        end
    end

    local function is_from_before_a_restart(i, ms, line, received)
        look_back(i, ms)
        local restart = restarts[i]
        if restart == nil or restart.filed_ms < ms then
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

    -- Take one entry of key i in; the error with which the stream refused it, or nil.
    local function take(i, entry_id, received, line, kind, data)
        local ms_text, id = match(entry_id, '^(%d+)-(%d+)$')
        local ms, wanted, is_reset = ms_text + 0, true, false
        if last_ms[i] - ms > FAR_MS then
            return redis.error_reply('FAR an id of ' .. keys[i] .. ' is of a far future')
        end
        local itself = kind ~= '' and identity(kind, received, line, data)
        local wanted_id = entry_id
        if kind == 'snapshot' and is_later(last_id[i], id) and ms >= last_ms[i] + reset_ms then
            kind, is_reset = 'restart', true
        end
        if not itself then
            if not is_later(id, last_id[i]) then
                is_reset = ms >= last_ms[i] + reset_ms
                wanted = is_reset
            elseif ms < last_ms[i] then
                wanted = not is_from_before_a_restart(i, ms, line, received)
                ms, wanted_id = last_ms[i], nil
            end
        else
            look_back(i, ms)
            if (entries_of[i][itself] or -1) >= ms or kind == 'restart' and is_known_restart(i, ms, line) then
                wanted = false
            else
                ms, wanted_id = math.max(ms, last_ms[i] + 1), nil
                if kind ~= 'restart' then
                    id = last_id[i] == '' and '0' or last_id[i]
                end
            end
        end
        if not wanted then
            repeats = repeats + 1
            repeats_of[i] = repeats_of[i] + 1
            if not itself then
                repeated[i] = { entry_id, received }
            end
            return nil
        end
        local reply
        wanted_id = wanted_id or format('%.0f-', ms) .. id
        if kind == 'restart' and ms > ms_text + 0 then
            reply = try('XADD', keys[i], wanted_id, 'data', data, 'received', received, 'line', line, 'kind', kind,
                'event_ms', ms_text)
        elseif itself then
            reply = try('XADD', keys[i], wanted_id, 'data', data, 'received', received, 'line', line, 'kind', kind)
        else
            reply = try('XADD', keys[i], wanted_id, 'data', data, 'received', received, 'line', line)
        end
        if type(reply) == 'table' then
            return reply
        end
        if itself then
            entries_of[i][itself] = ms
            if kind == 'restart' then
                restarts[i] = { filed_ms = ms, ms = ms_text + 0, line = line, received = tonumber(received) }
            end
        end
        last_ms[i], last_id[i] = ms, id
        appended = appended + 1
        resets = resets + (is_reset and 1 or 0)
        return nil
    end

    -- Take the entries of key i in that stand in ARGV from `at` to `till`; the error that ended it, or nil.
    local function take_all(i, at, till)
        local own_line = argv[4 * i + 2]
        if not last_ms[i] then
            set_last(i, argv[4 * i])
            began_ms[i] = last_ms[i]
        end
        while at <= till do
            local entry_id, received, line, kind, data, refused = argv[at], argv[at + 1], own_line, '', argv[at + 2], nil
            if own_line == '' then
                line, kind, data = argv[at + 2], argv[at + 3], argv[at + 4]
            end
            refused = take(i, entry_id, received, line, kind, data)
            if refused then
                set_last_ever(i)
                refused = take(i, entry_id, received, line, kind, data)
            end
            if refused then
                return refused
            end
            at = at + (own_line == '' and 5 or 3)
        end
        local kept_ms = (tonumber(argv[4 * i - 1]) or 0)
        local part_ms, oldest = math.ceil(kept_ms / TRIMS), last_ms[i] - kept_ms
        if oldest > 0 and part_ms > 0 and last_ms[i] - last_ms[i] % part_ms ~= began_ms[i] - began_ms[i] % part_ms then
            call('XTRIM', keys[i], 'MINID', '~', format('%.0f', oldest))
        end
        return nil
    end

    local function reply_of_all()
        local reply = { appended, repeats, resets, unpack(repeats_of) }
        for i = 1, k do
            if repeated[i] then
                local id, received = repeated[i][1], repeated[i][2]
                local first = newest_of[i]
                if not first or first[1] ~= id then
                    first = call('XRANGE', keys[i], id, id)[1]
                end
                if first and first[2][3] == 'received' and first[2][7] == nil then
                    reply[#reply + 1] = first[2][6]
                    reply[#reply + 1] = tonumber(received) - tonumber(first[2][4])
                end
            end
        end
        return reply
    end

    return find_last, take_all, reply_of_all
end

-- Nothing is appended anywhere before every key is known to be a stream.
local find_last, take_all, reply_of_all
local asked, others, moved = { 'COUNT', 1, 'STREAMS', unpack(keys, 1, plain) }, nil, nil
if plain > 0 then
    for i = 1, plain do
        asked[3 + plain + i] = argv[4 * i]
    end
    others = try('XREAD', unpack(asked))
end
if others or plain < k then
    find_last, take_all, reply_of_all = carefully()
    moved = {}
    for j = 1, others and #others or 0 do
        moved[others[j][1]] = true
    end
    for i = 1, k do
        if i > plain or moved[keys[i]] or others and others.err then
            local refused = find_last(i)
            if refused then
                return refused
            end
            moved[keys[i]] = true
        end
    end
end
local at = 3 + 4 * k
for i = 1, k do
    local key, count, line = keys[i], argv[4 * i + 1], argv[4 * i + 2]
    local till = at - 1 + count * (line == '' and 5 or 3)
    if not (moved and moved[key]) then
        while at <= till do
            local reply = try('XADD', key, argv[at], 'data', argv[at + 2], 'received', argv[at + 1], 'line', line)
            if type(reply) == 'table' then
                break
            end
            at, appended = at + 3, appended + 1
        end
    end
    if at <= till then
        if not take_all then
            find_last, take_all, reply_of_all = carefully()
        end
        local refused = take_all(i, at, till)
        if refused then
            return refused
        end
        at = till + 1
    elseif argv[4 * i - 1] ~= '' then
        local newest_ms = string.match(argv[till - 2], '^%d+') + 0
        if newest_ms > argv[4 * i - 1] + 0 then
            call('XTRIM', key, 'MINID', '~', string.format('%.0f', newest_ms - argv[4 * i - 1]))
        end
    end
end
if reply_of_all then
    return reply_of_all()
end
return { appended, repeats, resets }
