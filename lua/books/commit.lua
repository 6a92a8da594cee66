-- Store a checkpoint and acknowledge what it contains, in one step and only for the owner.
--
-- KEYS[1]  lease hash           KEYS[2]  raw stream
-- KEYS[3]  checkpoint string
-- ARGV[1]  fencing number       ARGV[2]  consumer group
-- ARGV[3]  checkpoint ("" keeps the stored one)
-- ARGV[4]  what the owner has read without its group: "<entries> <id of the last>", or ""; see include/take_entries.lua
-- ARGV[5]  the id up to which all is in the checkpoint, or ""
-- ARGV[6 ..]  stream ids to acknowledge
--
-- What is pending besides up to ARGV[5] was given to an earlier owner that read on while it lost its lease: it is acknowledged
-- too, a hundred a call.
--
-- Returns the number of entries acknowledged, or -1 when the fencing number is not the lease's; 1 when the group gave out
-- other entries than the owner had read, else 0; and how many of those besides were acknowledged.
-- Cost: one XACK per 1000 ids, 2 commands with entries read, 1 where all up to an id is in the checkpoint.
-- include: take_entries
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
    return { -1, 0, 0 }
end
if ARGV[3] ~= '' then
    redis.call('SET', KEYS[3], ARGV[3])
end
local elsewhere = take_entries(KEYS[2], ARGV[4]) and 0 or 1
local done = 0
for first = 6, #ARGV, 1000 do
    local last = math.min(first + 999, #ARGV)
    done = done + redis.call('XACK', KEYS[2], ARGV[2], unpack(ARGV, first, last))
end
local strays = ARGV[5] ~= '' and redis.pcall('XPENDING', KEYS[2], ARGV[2], '-', ARGV[5], 100)
local besides = strays and not strays.err and #strays or 0
for i = 1, besides do
    redis.call('XACK', KEYS[2], ARGV[2], strays[i][1])
end
return { done, elsewhere, besides }
