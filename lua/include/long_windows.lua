-- The windows of 5 m and longer, which may wait: trades of the minute that is open in each of them are summed up in the
-- state as one block, and folded into all five when they are brought up to date. So most calls read, fold, show and write
-- two windows instead of seven.
--
-- They are brought up to date by a call that says so, and by every one that does more than add proven trades to the open
-- minute: the state knows the minute in which they may wait. Bars are never late, nothing is lost with a crash, and what
-- the stats hashes say of a window is true up to its `last_update_time`.
--
-- `long_windows` of the state: that minute, the last id, `|`, and the block, if trades wait.
--
-- Needs: KEYS of apply_trades.lua; `call`, NAMES, LENGTHS, `state`, `last_id`, `windows`; what trade_windows.lua and trade_bars.lua give.
-- Gives: load_windows, load_waiting, load_long, may_wait, are_loaded, put_by, long_text.

local WAITING = '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%.?%d[%d.]*) (%.?%d[%d.]*) (%.?%d[%d.]*) (%.?%d[%d.]*) (%d+) (%d+) (%d+) (%d+) ([^ ]+) ([^ ]+)$'
local long_minute, minute_text, waiting = -1, nil, nil
local are_loaded, puts_by = false, false

-- The windows of the intervals from `from` on; an error where a text is none.
local function load_windows(from, texts)
  for at = 1, #NAMES - from + 1 do
    if texts[at] then
      local w = from_state(texts[at])
      if not w then
        return redis.error_reply('UNREADABLE ' .. NAMES[from + at - 1] .. ' is no window')
      end
      windows[from + at - 1] = w
    end
  end
end

-- What waits, and in which minute more may: as texts, for most calls only add to it. An earlier release leaves the field
-- behind and folds on: it is void then.
local function load_waiting()
  if not state[17] then return nil end
  local minute, id, block = match(state[17], '^(%d+) (%d+)|(.*)$')
  if not id or id + 0 ~= last_id then return nil end
  long_minute, minute_text = minute + 0, minute
  if block == '' then return nil end
  local start, first_agg, last_agg, count, skipped, time, open, high, low, close, volume, quote, buy, maker, first, last =
    match(block, WAITING)
  if not start then return redis.error_reply('UNREADABLE long_windows has no block') end
  waiting = {
    start_text = start, first_agg = first_agg, last_agg = last_agg, count = count + 0, skipped = skipped, time = time,
    open = open, high = high, low = low, close = close, volume = volume, quote = quote, buy = buy, maker = maker,
    first = first, last = last,
  }
end

-- Brings the long windows up to date; an error where they cannot be read.
local function load_long()
  local wrong = load_windows(3, call('HMGET', KEYS[3], unpack(NAMES, 3)))
  if wrong then return wrong end
  local w = waiting
  if w then
    local d = block_of(is_coarse() and '8' or '18', w.start_text, w.first_agg, w.last_agg, w.count, w.skipped, w.time, w.open,
      w.high, w.low, w.close, w.volume, w.quote, w.buy, w.maker, w.first, w.last)
    for i = 3, 7 do fold(i, d.moment - d.moment % LENGTHS[i], d, PROVEN) end
  end
  are_loaded = true
end

-- Whether trades of the 100 ms window that begins at `start` may wait.
local function may_wait(start) return start - start % LENGTHS[2] == long_minute end

local function put_by(d)
  puts_by = true
  if waiting then merge(waiting, d) else waiting = d end
end

-- What the state is to hold of all this, `id` being the text of the last id.
local function long_text(id)
  local d, minute = waiting, windows[2]
  if puts_by then
    return minute_text .. ' ' .. id .. '|' .. d.start_text .. ' ' .. d.first_agg .. ' ' .. d.last_agg .. format(' %d ', d.count) ..
      d.skipped .. ' ' .. d.time .. ' ' .. d.open .. ' ' .. d.high .. ' ' .. d.low .. ' ' .. d.close .. ' ' .. d.volume .. ' ' ..
      d.quote .. ' ' .. d.buy .. ' ' .. d.maker .. ' ' .. d.first .. ' ' .. d.last
  end
  if not are_loaded then return state[17] or '' end
  if not minute or minute.closed == 1 then return '' end
  for i = 3, 7 do
    local w = windows[i]
    if not w or w.closed == 1 or w.start ~= minute.start - minute.start % LENGTHS[i] then return '' end
  end
  return format('%d %d|', minute.start, last_id)
end
