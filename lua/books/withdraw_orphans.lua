-- Remove the books that have no owner from LIVE_ORDERBOOK: nobody keeps them true.
--
-- KEYS[1]  LIVE_ORDERBOOK hash; then the lease hash of each book
-- ARGV     the symbol of each book
--
-- Returns the positions (1-based) of the books removed. Cost: one EXISTS per book.
local removed = {}
for i = 1, #ARGV do
    if redis.call('EXISTS', KEYS[i + 1]) == 0 then
        redis.call('HDEL', KEYS[1], ARGV[i])
        removed[#removed + 1] = i
    end
end
return removed
