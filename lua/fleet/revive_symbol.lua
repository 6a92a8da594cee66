-- Let a symbol that was given up begin anew: what is kept of it stays, its folds start with what comes from now on.
--
-- Workers follow the names in their settings before the keeper has spoken, so an owner's status may stand in the place of
-- the one that says so: its folds go on then. Nothing of the symbol expires any more, whatever its status says.
--
-- KEYS[1]          book:{S}:status
-- KEYS[2 .. 1+r]   the symbol's raw streams
-- KEYS[2+r .. 1+r+f]  what the folds keep (book checkpoint, state and windows of the trades): removed
-- KEYS[2+r+f ..]   every other key of the symbol
-- ARGV[1]  r   ARGV[2]  f   ARGV[3 ..]  consumer groups that start at the end of the raw streams
--
-- Returns 1, or 0 for a symbol that was not given up, as far as its status tells: its folds were left alone.
-- Cost: one PERSIST per key, two XGROUP per raw stream and group.
for i = 1, #KEYS do
    redis.call('PERSIST', KEYS[i])
end
local state = redis.pcall('HGET', KEYS[1], 'state')  -- a key of another type says of nobody that it was given up
if state ~= 'delisted' and state ~= 'retired' then
    return 0
end
local r, f = tonumber(ARGV[1]), tonumber(ARGV[2])
redis.call('DEL', KEYS[1])
for i = 2 + r, 1 + r + f do
    redis.call('DEL', KEYS[i])
end
for i = 2, 1 + r do
    for g = 3, #ARGV do
        if redis.call('TYPE', KEYS[i]).ok == 'stream' and redis.call('XGROUP', 'DESTROY', KEYS[i], ARGV[g]) == 1 then
            redis.call('XGROUP', 'CREATE', KEYS[i], ARGV[g], '$')
        end
    end
end
return 1
