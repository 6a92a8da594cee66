-- Append messages to streams whose exchange does not number them: the log itself numbers what it takes.
--
-- KEYS[1 .. k]     the streams (on a cluster: all keys of one slot)
-- KEYS[k+1 .. 2k]  for each of them: its writer (hash), or the names that it has (sorted set by event ms)
-- ARGV[1]  number of entries n
-- ARGV[2 .. 1+k]  retention in ms of KEYS[1 .. k] (entries older than this before the new one are trimmed)
-- ARGV[2+k .. 1+2k]  for each of them an entry that the caller knows to have been appended, or refused: "<turn> <number>"
--                     or "<name> <event ms>"; "- 0" for none
-- ARGV[2+2k]  silent_ms: another line may take over from a writer that appended nothing for longer than this
-- ARGV[3+2k]  names_ms: how much older than the stream's newest entry a name is remembered
-- ARGV[4+2k]  names_most: how many names are remembered
-- then n times 2:  "<key index from 1> <event ms> <number> <received us> <line> <turn> <kind> <name, or ->", data
--
-- An entry's id is <ms>-<number of the log>: the event's ms or the stream's last, whichever is later, and the last
-- entry's number plus one. It has the fields `kind <kind>` behind `line` unless its kind is `update`.
--
-- Without a name (books): one line writes at a time. A turn is what it writes over one socket; its numbers rise. An
-- entry of the writer's line and turn is appended if its number is greater than the last, else it is a repeat. A turn
-- that was not yet begins with a snapshot or restart:
--   at once, if nobody writes, or if it is of the writer's own line and was received after the present turn's first
--   entry; else if the writer has appended nothing for longer than silent_ms, by the server's time, or a break last: its
--   book has ended, so its turn is free at once.
-- Everything else is refused, so what an earlier turn brings late. In a stream that is not there nobody writes. Nor in one
-- that lacks what its writer knows to have been appended, as after a fail-over, or refused, as where a call that was long on
-- its way has begun the turn: it gets a break, and the rest is refused.
-- The hash: `line`, `turn`, `number` (last one appended), `at` (server ms; 0 after a break), `began` (received us of
-- the turn's first entry), `past` (up to PAST_TURNS earlier ones).
--
-- With a name (trades): any line writes. A name that the set has is a repeat; so is what is no newer than the newest
-- name that was forgotten, as nobody can tell any more. That time is the score of the member ''.
-- Which lines receive the stream whole is in the set too: the member ' <line>', scored FAR and the ms since when
-- (received); FAR alone: what was missing before is told. Two kinds of entries, whose names have a blank as no trade's
-- has, change that:
--   lost   the line does not receive it any more; never appended.
--   break  the line receives it again, after it did not since the ms that is its number (0: nobody knows since when). It
--          is appended unless another line has received the stream whole since then, or the stream is empty. The numbers
--          of the ROOM behind it are left free: for the trades that REST may have of the stretch, which are never here.
-- A stream that lacks a trade which a line knows to have been appended, as after a fail-over, gets such a break too, and
-- counts as received whole by that line alone.
--
-- Returns {appended, repeats, refused, then for each key: how many of its entries were refused, and if the last of them
-- was: for how many ms its writer has been silent (ms since 1970 where there is none), else -1}.
-- Cost: two TYPE, one XINFO and one XTRIM per key, one XADD per new entry; with a writer one HMGET and one HSET per key;
-- with names one ZSCORE per key, one ZSCORE and one ZADD per entry, three more commands per break, and up to four per key
-- to forget.
local PAST_TURNS = 32
local FAR = 2 ^ 52
local ROOM = 10000
local LOST = 'break lost'
local call, format, match = redis.call, string.format, string.match
local n = tonumber(ARGV[1])
local k = #KEYS / 2
local silent_ms, names_ms, names_most = tonumber(ARGV[2 + 2 * k]), tonumber(ARGV[3 + 2 * k]), tonumber(ARGV[4 + 2 * k])
local time = call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local last_ms, last_number, refused_of, silent = {}, {}, {}, {}
local helpers, writers, forgotten, written, named, looked = {}, {}, {}, {}, {}, {}

local function is_break(entry)
    for j = 1, entry and #entry[2] or 0, 2 do
        if entry[2][j] == 'kind' then
            return entry[2][j + 1] == 'break'
        end
    end
    return false
end

for i = 1, k do
    last_ms[i], last_number[i], refused_of[i], silent[i] = 0, 0, 0, -1
    local type_of_stream, type_of_other = call('TYPE', KEYS[i]).ok, call('TYPE', KEYS[k + i]).ok
    if type_of_stream == 'stream' then
        local info = call('XINFO', 'STREAM', KEYS[i])
        for j = 1, #info, 2 do
            if info[j] == 'last-generated-id' then
                local ms, number = match(info[j + 1], '^(%d+)-(%d+)$')
                last_ms[i], last_number[i] = tonumber(ms), last_number[i] + tonumber(number)
            elseif info[j] == 'last-entry' and type_of_other == 'zset' and is_break(info[j + 1]) then
                last_number[i] = last_number[i] + ROOM
            end
        end
    elseif type_of_stream ~= 'none' then
        return redis.error_reply('WRONGTYPE ' .. KEYS[i] .. ' is no stream')
    end
    helpers[i] = type_of_other
    if type_of_other == 'hash' then
        local writer = call('HMGET', KEYS[k + i], 'line', 'turn', 'number', 'at', 'began', 'past')
        local number, at, began = tonumber(writer[3] or ''), tonumber(writer[4] or ''), tonumber(writer[5] or '')
        if type_of_stream == 'stream' and writer[1] and writer[2] and number and at and began then
            writers[i] = { line = writer[1], turn = writer[2], number = number, at = at, began = began,
                past = writer[6] or '' }
        end
    elseif type_of_other == 'zset' then
        forgotten[i] = tonumber(call('ZSCORE', KEYS[k + i], '') or '-1')
    elseif type_of_other ~= 'none' then
        return redis.error_reply('WRONGTYPE ' .. KEYS[k + i] .. ' is neither a writer nor names')
    end
end
for at = 5 + 2 * k, 3 + 2 * k + 2 * n, 2 do
    local i = tonumber(match(ARGV[at], '^%d+'))
    local has_name = match(ARGV[at], '^%d+ %d+ %d+ %d+ %S+ %S+ %S+ (.+)$') ~= '-'
    if helpers[i] == (has_name and 'hash' or 'zset') then
        return redis.error_reply('WRONGTYPE ' .. KEYS[k + i] .. ' is not what the entries need')
    end
end

-- How far the server's time is from when a writer wrote, ms: a clock may have been set.
local function silence(writer)
    return math.abs(now - (writer and writer.at or 0))
end

local function begin(i, number, received, line, turn)
    local past, writer = '', writers[i]
    if writer then
        past = writer.line .. ' ' .. writer.turn .. '\n'
        for earlier in string.gmatch(writer.past, '[^\n]+\n') do
            if select(2, string.gsub(past, '\n', '')) < PAST_TURNS then
                past = past .. earlier
            end
        end
    end
    writers[i] = { line = line, turn = turn, number = number, at = now, began = received, past = past }
end

-- Whether an entry without a name is to be appended: 'append', 'repeat' or 'refuse'; 'lost': what was before it is gone.
local function of_writer(i, number, received, line, turn, kind)
    local writer, is_whole = writers[i], kind == 'snapshot' or kind == 'restart'
    if writer and writer.line == line and writer.turn == turn then
        if number <= writer.number then
            return 'repeat'
        end
        local known_turn, known_number = match(ARGV[1 + k + i], '^(%S+) (%d+)$')
        if not is_whole and known_turn == turn and tonumber(known_number) > writer.number then
            return 'lost'
        end
        writer.number = number
        return 'append'
    end
    if not is_whole then
        return 'refuse'
    end
    if writer then
        local known = string.find('\n' .. writer.past, '\n' .. line .. ' ' .. turn .. '\n', 1, true)
        local goes_on = writer.line == line and received > writer.began
        if known or not goes_on and silence(writer) <= silent_ms then
            return 'refuse'
        end
    end
    begin(i, number, received, line, turn)
    return 'append'
end

local function append_break(i, ms, received, line, data)
    last_ms[i], last_number[i] = math.max(ms, last_ms[i]), last_number[i] + 1
    call('XADD', KEYS[i], format('%.0f-%.0f', last_ms[i], last_number[i]), 'data', data, 'received', received, 'line', line,
        'kind', 'break')
end

-- Where the log lacks a trade that a line which receives it whole knows to have been appended, tell so, once for all lines.
local function tell_lost(i, ms, received, line)
    local names, name, known_ms = KEYS[k + i], match(ARGV[1 + k + i], '^(.+) (%d+)$')
    known_ms = tonumber(known_ms)
    if name == '-' or last_number[i] == 0 or known_ms <= (forgotten[i] or -1) or call('ZSCORE', names, name)
        or known_ms <= tonumber(call('ZSCORE', names, LOST) or '-1') or not call('ZSCORE', names, ' ' .. line) then
        return
    end
    append_break(i, ms, received, line, format('{"since":%.0f}', last_ms[i]))
    last_number[i] = last_number[i] + ROOM
    call('ZREM', names, unpack(call('ZRANGEBYSCORE', names, format('%.0f', FAR), '+inf')))
    call('ZADD', names, format('%.0f', FAR), ' ' .. line, format('%.0f', math.max(known_ms, last_ms[i])), LOST)
end

local function of_names(i, ms, name)
    if ms <= (forgotten[i] or -1) or call('ZSCORE', KEYS[k + i], name) then
        return 'repeat'
    end
    call('ZADD', KEYS[k + i], format('%.0f', ms), name)
    named[i] = true
    return 'append'
end

-- Whether another line than this has received a stream whole since an ms; 0: since whenever.
local function is_whole_elsewhere(i, line, since)
    local whole = call('ZRANGEBYSCORE', KEYS[k + i], format('%.0f', FAR), '+inf', 'WITHSCORES')
    for j = 1, #whole, 2 do
        if whole[j] ~= ' ' .. line and (since == 0 or tonumber(whole[j + 1]) - FAR <= since) then
            return true
        end
    end
    return false
end

local function of_break(i, ms, since, received, line, name)
    local mark = FAR + math.floor(received / 1000)
    if call('ZSCORE', KEYS[k + i], name) or tonumber(call('ZSCORE', KEYS[k + i], ' ' .. line) or '') == mark then
        return 'repeat'
    end
    local is_missing = last_number[i] > 0 and not is_whole_elsewhere(i, line, since)
    call('ZADD', KEYS[k + i], format('%.0f', is_missing and FAR or mark), ' ' .. line)
    if not is_missing then
        return 'no entry'
    end
    call('ZADD', KEYS[k + i], format('%.0f', ms), name)
    named[i] = true
    return 'append'
end

local appended, repeats, refused = 0, 0, 0
local at = 5 + 2 * k
for _ = 1, n do
    local index, event_ms, number, received, line, turn, kind, name =
        match(ARGV[at], '^(%d+) (%d+) (%d+) (%d+) (%S+) (%S+) (%S+) (.+)$')
    local i, ms = tonumber(index), tonumber(event_ms)
    local outcome
    if name == '-' then
        outcome = of_writer(i, tonumber(number), tonumber(received), line, turn, kind)
    elseif kind == 'lost' then
        call('ZREM', KEYS[k + i], ' ' .. line)
        outcome = 'no entry'
    elseif kind == 'break' then
        outcome = of_break(i, ms, tonumber(number), tonumber(received), line, name)
    else
        if not looked[i] then
            looked[i] = true
            tell_lost(i, ms, received, line)
        end
        outcome = of_names(i, ms, name)
    end
    silent[i] = -1
    if outcome == 'lost' then
        append_break(i, ms, received, line, '')
        call('DEL', KEYS[k + i])
        writers[i], written[i], outcome = nil, nil, 'refuse'
    end
    if outcome == 'append' then
        ms = math.max(ms, last_ms[i])
        last_ms[i], last_number[i] = ms, last_number[i] + 1
        local id = format('%.0f-%.0f', ms, last_number[i])
        if kind == 'update' then
            call('XADD', KEYS[i], id, 'data', ARGV[at + 1], 'received', received, 'line', line)
        else
            call('XADD', KEYS[i], id, 'data', ARGV[at + 1], 'received', received, 'line', line, 'kind', kind)
        end
        if kind == 'break' and name ~= '-' then
            last_number[i] = last_number[i] + ROOM
        end
        if writers[i] then
            writers[i].at, written[i] = kind == 'break' and 0 or now, true
        end
        appended = appended + 1
    elseif outcome == 'repeat' then
        repeats = repeats + 1
    elseif outcome == 'refuse' then
        refused = refused + 1
        refused_of[i] = refused_of[i] + 1
        silent[i] = silence(writers[i])
    end
    at = at + 2
end

-- Forget the names that are too old or too many, and remember up to when.
local function forget(key, newest_ms)
    local old = call('ZCOUNT', key, '-inf', '(' .. format('%.0f', newest_ms - names_ms))
    local gone = math.max(old, call('ZCARD', key) - names_most)
    if gone <= 0 then
        return
    end
    local last = call('ZRANGE', key, gone - 1, gone - 1, 'WITHSCORES')
    if last[1] ~= '' then
        call('ZREMRANGEBYRANK', key, 0, gone - 1)
        call('ZADD', key, format('%.0f', tonumber(last[2])), '')
    end
end

for i = 1, k do
    if written[i] then
        local writer = writers[i]
        call('HSET', KEYS[k + i], 'line', writer.line, 'turn', writer.turn, 'number', format('%.0f', writer.number),
            'at', format('%.0f', writer.at), 'began', format('%.0f', writer.began), 'past', writer.past)
    elseif named[i] then
        forget(KEYS[k + i], last_ms[i])
    end
    local oldest = last_ms[i] - tonumber(ARGV[1 + i])
    if oldest > 0 then
        call('XTRIM', KEYS[i], 'MINID', '~', format('%.0f', oldest))
    end
end
local reply = { appended, repeats, refused }
for i = 1, k do
    reply[#reply + 1] = refused_of[i]
    reply[#reply + 1] = silent[i]
end
return reply
