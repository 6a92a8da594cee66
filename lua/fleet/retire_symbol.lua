-- Set an expiry on everything a symbol has, once nobody owns it: it was delisted, or is no more chosen.
--
-- KEYS[1..4]  the symbol's lease hashes (books, trades, archive, orders)
-- KEYS[5]     book:{S}:status
-- KEYS[6..]   every other key of the symbol
-- ARGV[1]  state for the status ('delisted' or 'retired')   ARGV[2]  reason   ARGV[3]  now, ms
-- ARGV[4]  how long the keys are kept, ms
--
-- Returns 1, or 0 while somebody owns the symbol: then nothing was done. Repeating it only sets the expiry anew.
-- Cost: one EXISTS per lease, one PEXPIRE per key.
for i = 1, 4 do
    if redis.call('EXISTS', KEYS[i]) == 1 then
        return 0
    end
end
redis.pcall('HSET', KEYS[5], 'state', ARGV[1], 'reason', ARGV[2], 'updated', ARGV[3])  -- rubbish there expires too
for i = 5, #KEYS do
    redis.call('PEXPIRE', KEYS[i], ARGV[4])
end
return 1
