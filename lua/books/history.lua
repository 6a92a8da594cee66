-- Write blocks of a book's history, each in place of what was there for its minute, only for the owner; trim.
--
-- KEYS[1]  lease hash           KEYS[2]  history:{S} sorted set     KEYS[3]  history:{S}:index sorted set
-- ARGV[1]  fencing number       ARGV[2]  blocks with a lower score are trimmed
-- ARGV[3]  ms until both keys expire when nothing more is written
-- then 3 per block:  score (start, ms), block, summary
--
-- Returns the number of blocks written, or -1 when the fencing number is not the lease's (nothing was done).
-- Cost: 4 commands per block, 4 more per call, each O(log n).
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
    return -1
end
local written = 0
for at = 4, #ARGV, 3 do
    local score = ARGV[at]
    for i = 2, 3 do
        redis.call('ZREMRANGEBYSCORE', KEYS[i], score, score)
        redis.call('ZADD', KEYS[i], score, ARGV[at + i - 1])
    end
    written = written + 1
end
for i = 2, 3 do
    redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', '(' .. ARGV[2])
    redis.call('PEXPIRE', KEYS[i], ARGV[3])
end
return written
