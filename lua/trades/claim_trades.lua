-- Claim trades that REST has of a stretch which no line received: each is the log's or the claimer's, once for ever.
--
-- KEYS (all with the same hash tag)
--   1 names of the raw trades stream (see log/append_numbered.lua)   2 the claimed trades of the newest such stretch
-- ARGV
--   1 number of the stretch: that of its break in the log   2 ms for which the claim is kept   3 what is kept beside it
--   4.. name, ms and text of each trade, in their order; a text has no line feed
-- Returns the lines kept, joined by line feeds: the number, what is kept beside it, then the texts of those trades whose
-- names the log does not have. A stretch is claimed once: claiming it again gives what was kept, and changes nothing.
-- The number of an older stretch than the one kept gives false.
-- From now on the names are the log's, so a line that brings such a trade later brings a repeat.
-- Cost: one ZSCORE and one ZADD a trade; 10,000 of them take some 20 ms.
local call = redis.call
local kept = call('GET', KEYS[2])
if kept then
    local number = tonumber(string.match(kept, '^(%d+)\n') or '-1')
    if number == tonumber(ARGV[1]) then
        return kept
    elseif number > tonumber(ARGV[1]) then
        return false
    end
end
local lines = { ARGV[1], ARGV[3] }
for at = 4, #ARGV, 3 do
    if not call('ZSCORE', KEYS[1], ARGV[at]) then
        call('ZADD', KEYS[1], ARGV[at + 1], ARGV[at])
        lines[#lines + 1] = ARGV[at + 2]
    end
end
local text = table.concat(lines, '\n')
call('SET', KEYS[2], text, 'PX', ARGV[2])
return text
