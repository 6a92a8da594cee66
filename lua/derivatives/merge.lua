-- Append what was newly said of some derivatives: each figure is replaced by one that is as new or newer.
--
-- KEYS     the streams derivatives:{S} (on a cluster: of one slot)
-- ARGV[1]  retention in ms (entries older than this before the new one are trimmed)
-- ARGV[2]  number of figures n
-- then n times 4:  key index from 1, name, value, time in ms
--
-- An entry has all that is known: <name> and <name>_at of each figure, of those of the entry before it too. Its id is
-- <ms>-<count>: the newest time of its figures, or the ms of the entry before it if that is later. What changes nothing is
-- not appended, so a call may be repeated, and two callers may say the same.
--
-- Returns {appended, then the indexes of the keys that are no streams: nothing was done to them}.
-- Cost: one XREVRANGE and one XTRIM per key, one XADD per key that changes.
local retention, n = tonumber(ARGV[1]), tonumber(ARGV[2])
local told, order = {}, {}
for i = 3, 2 + 4 * n, 4 do
    local index = tonumber(ARGV[i])
    if not told[index] then
        told[index] = {}
        order[#order + 1] = index
    end
    table.insert(told[index], { name = ARGV[i + 1], value = ARGV[i + 2], at = tonumber(ARGV[i + 3]) })
end

-- What the newest entry has, its id, and the names in their order.
local function newest(key)
    local found = redis.pcall('XREVRANGE', key, '+', '-', 'COUNT', 1)
    if found.err then
        return nil
    end
    local known, names, ms, count = {}, {}, 0, -1
    if found[1] then
        local fields = found[1][2]
        local last_ms, last_count = string.match(found[1][1], '^(%d+)-(%d+)$')
        ms, count = tonumber(last_ms), tonumber(last_count)
        local values = {}
        for i = 1, #fields, 2 do
            values[fields[i]] = fields[i + 1]
        end
        for i = 1, #fields, 2 do
            local at = tonumber(values[fields[i] .. '_at'] or '')
            if at then
                known[fields[i]] = { value = fields[i + 1], at = at }
                names[#names + 1] = fields[i]
            end
        end
    end
    return known, names, ms, count
end

local reply = { 0 }
for _, index in ipairs(order) do
    local key = KEYS[index]
    local known, names, ms, count = newest(key)
    if known == nil then
        reply[#reply + 1] = index
    else
        local changed = false
        for _, figure in ipairs(told[index]) do
            local before = known[figure.name]
            if before == nil then
                names[#names + 1] = figure.name
            end
            if before == nil or figure.at > before.at or (figure.at == before.at and figure.value ~= before.value) then
                known[figure.name] = { value = figure.value, at = figure.at }
                changed = true
            end
        end
        if changed then
            local last_ms, entry = ms, {}
            for _, name in ipairs(names) do
                local figure = known[name]
                ms = math.max(ms, figure.at)
                for _, text in ipairs({ name, figure.value, name .. '_at', string.format('%.0f', figure.at) }) do
                    entry[#entry + 1] = text
                end
            end
            local id = string.format('%.0f-%.0f', ms, ms == last_ms and count + 1 or 0)
            redis.call('XADD', key, id, unpack(entry))
            redis.call('XTRIM', key, 'MINID', '~', string.format('%.0f', math.max(0, ms - retention)))
            reply[1] = reply[1] + 1
        end
    end
end
return reply
