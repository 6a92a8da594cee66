-- Store what became of alerts, tell it, and note how far streams were looked at: in one step, and only for the owner.
--
-- KEYS[1]  lease hash           KEYS[2]  stream of what became of alerts
-- KEYS[3]  open alerts          KEYS[4]  comments on them
-- KEYS[5]  places               KEYS[6]  what the next owner must know besides
-- ARGV[1]  fencing number       ARGV[2]  entries kept, about, in the stream
-- ARGV[3]  n: how many changes   ARGV[4]  m: how much is to be known besides
-- ARGV[5 ..]  of each change: what, the field of the open alerts, the alert's id, the record
-- ARGV[5+4n ..]  of each that is to be known besides: its field, the record; empty: nothing any more
-- ARGV[5+4n+2m ..]  places: name, id; empty: none any more
--
-- What: fired opens an alert, unless the field has one; anything else is of the open alert with that id alone. So the
-- same call again, after a lost reply, changes nothing, and tells nothing but what was said of an alert that stays open
-- (unsilenced, steady, grown, commented). The value of an open alert is its id, a line feed and the record.
--
-- Returns how many changes were made, or -1 when the fencing number is not the lease's.
-- Cost: at most one HGET, one HSET or HDEL and one XADD a change; one HSET or HDEL for all else.
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
    return -1
end
local made = 0
local besides = 5 + 4 * tonumber(ARGV[3])
local places = besides + 2 * tonumber(ARGV[4])
for at = 5, besides - 1, 4 do
    local what, field, id, record = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
    local held = redis.call('HGET', KEYS[3], field)
    local same = held and string.sub(held, 1, #id + 1) == id .. '\n'
    if same and what ~= 'fired' or not held and what == 'fired' then
        if what == 'resolved' then
            redis.call('HDEL', KEYS[3], field)
            redis.call('HDEL', KEYS[4], field)
        elseif what == 'commented' then
            redis.call('HSET', KEYS[4], field, record)
        else
            redis.call('HSET', KEYS[3], field, id .. '\n' .. record)
        end
        if what ~= 'updated' then
            redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', 'event', what, 'alert', id, 'data', record)
        end
        made = made + 1
    end
end
for at = besides, places - 1, 2 do
    if ARGV[at + 1] == '' then
        redis.call('HDEL', KEYS[6], ARGV[at])
    else
        redis.call('HSET', KEYS[6], ARGV[at], ARGV[at + 1])
    end
end
for at = places, #ARGV, 2 do
    if ARGV[at + 1] == '' then
        redis.call('HDEL', KEYS[5], ARGV[at])
    else
        redis.call('HSET', KEYS[5], ARGV[at], ARGV[at + 1])
    end
end
return made
