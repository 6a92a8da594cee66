-- Take, renew or give back the ownership of one symbol in one role.
--
-- KEYS[1]  lease hash (owner, token), expiring
-- KEYS[2]  fence integer: the last fencing number given out
-- ARGV[1]  "take" (also renews), "renew" or "release"
-- ARGV[2]  worker name
-- ARGV[3]  lease length, ms
-- ARGV[4]  the fencing number held ("" for none)
--
-- Returns the fencing number held after the call, or 0 when another worker owns the symbol.
-- Cost: 2 to 4 commands, constant.
local action, worker, length, held = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local owner = redis.call('HMGET', KEYS[1], 'owner', 'token')
if owner[1] then
    if owner[1] ~= worker or (held ~= '' and owner[2] ~= held) then
        return 0
    end
    if action == 'release' then
        redis.call('DEL', KEYS[1])
        return 0
    end
    redis.call('PEXPIRE', KEYS[1], length)
    return tonumber(owner[2])
end
if action ~= 'take' then
    return 0
end
local token = redis.call('INCR', KEYS[2])
redis.call('HSET', KEYS[1], 'owner', worker, 'token', string.format('%d', token))
redis.call('PEXPIRE', KEYS[1], length)
return token
