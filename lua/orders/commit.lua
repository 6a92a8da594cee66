-- Store a checkpoint of single orders and acknowledge what it contains, in one step and only for the owner.
--
-- KEYS[1]  lease hash           KEYS[2]  raw:{S}:orders stream
-- KEYS[3]  orders:{S}:checkpoint string
-- ARGV[1]  fencing number       ARGV[2]  consumer group
-- ARGV[3]  checkpoint
-- ARGV[4 ..]  stream ids to acknowledge
--
-- Returns the number of entries acknowledged, or -1 when the fencing number is not the lease's.
-- Cost: one XACK per 1000 ids.
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
    return -1
end
redis.call('SET', KEYS[3], ARGV[3])
local done = 0
for first = 4, #ARGV, 1000 do
    local last = math.min(first + 999, #ARGV)
    done = done + redis.call('XACK', KEYS[2], ARGV[2], unpack(ARGV, first, last))
end
return done
