-- Say which file of a stream is about to appear, and later that it is there: only for the owner.
--
-- KEYS[1]  lease hash           KEYS[2]  stream           KEYS[3]  offsets hash of the symbol
-- ARGV[1]  fencing number       ARGV[2]  consumer group   ARGV[3]  the stream's name in the hash
-- ARGV[4]  operation:
--   'prepare'  ARGV[5] the offset the file follows, as stored ('' for none)   ARGV[6] what the file will be
--              the hash gets `<name>:file`; returns the number of entries pending in the group
--   'commit'   ARGV[5] the offset the file follows   ARGV[6] the offset of its last row   ARGV[7 ..] ids of its entries
--              stores the offset, drops `<name>:file`, acknowledges; repeating it is harmless
--   'ack'      ARGV[5 ..] ids of entries that are in the archive already, or lost: only acknowledges
--
-- Returns a number >= 0 (pending, or acknowledged entries), -1 when the fencing number is not the lease's, -2 when
-- the stored offset is another one. In both cases nothing was done.
-- Cost: one XACK per 1000 ids, 0.4 ms each; a caller with more of them sends the rest with 'ack'.
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
    return -1
end
local name, operation = ARGV[3], ARGV[4]
local first = 5
if operation ~= 'ack' then
    local stored = redis.call('HGET', KEYS[3], name) or ''
    if operation == 'prepare' then
        if stored ~= ARGV[5] then
            return -2
        end
        redis.call('HSET', KEYS[3], name .. ':file', ARGV[6])
        return redis.call('XPENDING', KEYS[2], ARGV[2])[1]
    end
    if stored ~= ARGV[5] and stored ~= ARGV[6] then
        return -2
    end
    redis.call('HSET', KEYS[3], name, ARGV[6])
    redis.call('HDEL', KEYS[3], name .. ':file')
    first = 7
end
local done = 0
for at = first, #ARGV, 1000 do
    done = done + redis.call('XACK', KEYS[2], ARGV[2], unpack(ARGV, at, math.min(at + 999, #ARGV)))
end
return done
