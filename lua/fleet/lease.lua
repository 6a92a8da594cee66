-- Take, renew or give back the ownership of symbols in one role.
--
-- KEYS[2i-1]  lease hash of the i-th symbol (owner, token), expiring
-- KEYS[2i]    its fence integer: the last fencing number given out
-- ARGV[1]     "take" (also renews), "renew" or "release"
-- ARGV[2]     worker name
-- ARGV[3]     lease length, ms
-- ARGV[3+i]   the fencing number held of the i-th symbol ("" for none)
--
-- A lease that has run out is renewed all the same while nobody has taken the symbol since, which its fence tells: what
-- a worker that was late holds in memory is then what the symbol stands at.
--
-- A lease is no lease where its key has another type, or a number that is none, and is removed; one that would never run
-- out, or only after many times its length, is cut to its length: nobody would own the symbol otherwise. A fence that is
-- no integer is made anew.
--
-- Fencing numbers are the server's time in us, or follow the last one: a server that lost its data, or the end of it, gives
-- none out that an earlier owner still holds, and would renew.
--
-- Returns for each symbol the fencing number held after the call, or 0 when another worker owns it; where something was
-- replaced, {that number, "lease" or "fence"}.
-- Cost: 2 to 6 commands a symbol.
local LARGEST = 9007199254740991
local action, worker, length = ARGV[1], ARGV[2], ARGV[3]

local function own(lease, token)
    redis.call('HSET', lease, 'owner', worker, 'token', string.format('%d', token))
    redis.call('PEXPIRE', lease, length)
end

local function next_token(fence)
    local now = redis.call('TIME')
    local us = now[1] * 1000000 + now[2]
    local token = redis.pcall('INCR', fence)
    local bad = nil
    if type(token) ~= 'number' or token < 1 or token >= LARGEST then
        token, bad = 0, 'fence'
    end
    if token < us then
        token = us
        redis.call('SET', fence, string.format('%d', us))
    end
    return token, bad
end

local function one(lease, fence, held)
    local replaced = nil
    local owner = redis.pcall('HMGET', lease, 'owner', 'token')
    if owner.err or (owner[1] and not tonumber(owner[2] or '')) then
        redis.call('DEL', lease)
        owner, replaced = {}, 'lease'
    end
    if owner[1] then
        if owner[1] ~= worker or (held ~= '' and owner[2] ~= held) then
            local left = redis.call('PTTL', lease)
            if left < 0 or left > 20 * tonumber(length) then
                redis.call('PEXPIRE', lease, length)
                replaced = 'lease'
            end
            return 0, replaced
        end
        if action == 'release' then
            redis.call('DEL', lease)
            return 0
        end
        redis.call('PEXPIRE', lease, length)
        return tonumber(owner[2])
    end
    if action == 'take' then
        local token, bad = next_token(fence)
        own(lease, token)
        return token, bad or replaced
    end
    if action == 'renew' and held ~= '' then
        local last = redis.pcall('GET', fence)
        if last == held then
            own(lease, tonumber(held))
            return tonumber(held), replaced
        end
    end
    return 0, replaced
end

local replies = {}
for i = 1, #KEYS / 2 do
    local token, replaced = one(KEYS[2 * i - 1], KEYS[2 * i], ARGV[3 + i])
    if replaced then
        replies[i] = { token, replaced }
    else
        replies[i] = token
    end
end
return replies
