-- Take, renew or give back the ownership of one symbol in one role.
--
-- KEYS[1]  lease hash (owner, token), expiring
-- KEYS[2]  fence integer: the last fencing number given out
-- ARGV[1]  "take" (also renews), "renew" or "release"
-- ARGV[2]  worker name
-- ARGV[3]  lease length, ms
-- ARGV[4]  the fencing number held ("" for none)
--
-- A lease is no lease where its key has another type, or a number that is none, and is removed; one that would never run
-- out, or only after many times its length, is cut to its length: nobody would own the symbol otherwise. A fence that is
-- no integer goes on from the server's time in us, which is beyond any count.
--
-- Returns the fencing number held after the call, or 0 when another worker owns the symbol; where something was replaced,
-- {that number, "lease" or "fence"}.
-- Cost: 2 to 5 commands, constant.
local LARGEST = 9007199254740991
local action, worker, length, held = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local replaced = nil

local function answer(token)
    if replaced then
        return { token, replaced }
    end
    return token
end

local owner = redis.pcall('HMGET', KEYS[1], 'owner', 'token')
if owner.err or (owner[1] and not tonumber(owner[2] or '')) then
    redis.call('DEL', KEYS[1])
    owner, replaced = {}, 'lease'
end
if owner[1] then
    if owner[1] ~= worker or (held ~= '' and owner[2] ~= held) then
        local left = redis.call('PTTL', KEYS[1])
        if left < 0 or left > 20 * tonumber(length) then
            redis.call('PEXPIRE', KEYS[1], length)
            replaced = 'lease'
        end
        return answer(0)
    end
    if action == 'release' then
        redis.call('DEL', KEYS[1])
        return 0
    end
    redis.call('PEXPIRE', KEYS[1], length)
    return tonumber(owner[2])
end
if action ~= 'take' then
    return answer(0)
end
local token = redis.pcall('INCR', KEYS[2])
if type(token) ~= 'number' or token < 1 or token >= LARGEST then
    local now = redis.call('TIME')
    token, replaced = now[1] * 1000000 + now[2], 'fence'
    redis.call('SET', KEYS[2], string.format('%d', token))
end
redis.call('HSET', KEYS[1], 'owner', worker, 'token', string.format('%d', token))
redis.call('PEXPIRE', KEYS[1], length)
return answer(token)
