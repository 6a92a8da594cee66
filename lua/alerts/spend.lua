-- Reserve one question to the language model, and the tokens it may cost, within the limits of the hour and of the day.
--
-- KEYS[1]  spending
-- ARGV[1]  hour since 1970      ARGV[2]  questions an hour at most
-- ARGV[3]  day since 1970       ARGV[4]  tokens a day at most
-- ARGV[5]  tokens that the question may cost; negative: gives back what it did not cost, and asks nothing
--
-- Returns 1, or 0 when a limit is reached and nothing was reserved.
-- Cost: one HMGET, one HSET.
local held = redis.call('HMGET', KEYS[1], 'hour', 'questions', 'day', 'tokens')
local questions = held[1] == ARGV[1] and tonumber(held[2]) or 0
local tokens = held[3] == ARGV[3] and tonumber(held[4]) or 0
local cost = tonumber(ARGV[5])
if cost < 0 then
    tokens = math.max(0, tokens + cost)
elseif questions + 1 > tonumber(ARGV[2]) or tokens + cost > tonumber(ARGV[4]) then
    return 0
else
    questions = questions + 1
    tokens = tokens + cost
end
redis.call('HSET', KEYS[1], 'hour', ARGV[1], 'questions', questions, 'day', ARGV[3], 'tokens', tokens)
return 1
