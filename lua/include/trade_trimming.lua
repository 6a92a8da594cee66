-- What is to go of the latest set and of the bar streams when a call of apply_trades.lua ends.
--
-- Needs: KEYS and ARGV of apply_trades.lua; `call`, `format`; `revisions` by interval, which `trimming` counts down.
-- Gives: surplus, trimming.

local TRIMMED = 100

-- How many members are to be trimmed, and how many of them only because the set holds too many.
local function surplus(now)
  local most, retention, old, over = ARGV[5] + 0, ARGV[4] + 0, 0, 0
  local at_most = ARGV[6] + 0
  if retention > 0 and now > retention then
    old = math.min(call('ZCOUNT', KEYS[4], '-inf', format('(%d', now - retention)), at_most)
  end
  if most > 0 then over = math.min(call('ZCARD', KEYS[4]) - most, at_most) end
  return math.max(old, over), math.max(over - old, 0)
end

-- The oldest bars go by hundreds, as many as leave `kept` windows however many revisions stand among them: how to trim,
-- or nil. They are read only where revisions are to be counted among them.
local function trimming(i, kept)
  local stays
  local length = call('XLEN', KEYS[11 + i])
  local over = length - kept - revisions[i]
  if over < TRIMMED then return nil end
  if revisions[i] == 0 then return {'MAXLEN', format('%d', length - over + over % TRIMMED)} end
  while over >= TRIMMED do
    local page = call('XRANGE', KEYS[11 + i], stays or '-', '+', 'COUNT', TRIMMED + 1)
    if #page <= TRIMMED then break end
    for at = 1, TRIMMED do
      local fields = page[at][2]
      if fields[3] == 'revision' and fields[4] ~= '0' then revisions[i] = math.max(revisions[i] - 1, 0) end
    end
    stays, over = page[TRIMMED + 1][1], over - TRIMMED
  end
  return stays and {'MINID', stays}
end
