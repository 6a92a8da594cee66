-- Trades into the windows of each interval; closed windows, and late trades' revisions, into the bar streams.
--
-- Needs: KEYS and ARGV of apply_trades.lua; `call`, LENGTHS; `windows`, `opened`, `touched`, `bars_added` by interval and
--   `bars_before`; what trade_windows.lua needs and gives.
-- Gives: next_bar_id, append, append_window, last_bars, fold, fold_not_market, fold_runs.

local PAGE = 100

-- The id of the next bar of interval `i`: its window's start, or after the last entry when that is not earlier.
local function next_bar_id(w, start)
  if start > w.bar_ms then
    w.bar_ms, w.bar_sequence = start, 0
  else
    w.bar_sequence = w.bar_sequence + 1
  end
  return format('%d-%d', w.bar_ms, w.bar_sequence)
end

local function append(i, id, start, revision, complete, time, open, high, low, close, volume, quote, buy,
    count, skipped, maker, first, last, first_agg, last_agg)
  local reply = redis.pcall('XADD', KEYS[11 + i], id, 'start', start, 'revision', revision, 'complete', complete,
    'last_update_time', time, 'open_price', open, 'high_price', high, 'low_price', low, 'close_price', close,
    'volume', volume, 'quote_volume', quote, 'buy_volume', buy, 'trades_count', count, 'skipped_count', skipped,
    'is_buyer_maker_count', maker, 'first_trade_id', first, 'last_trade_id', last,
    'first_agg_trade_id', first_agg, 'last_agg_trade_id', last_agg)
  -- A bar that a call cut short by an error already appended is there with the same content.
  if type(reply) == 'table' and reply.err then
    local message = tostring(reply.err)
    if not string.find(message, 'equal or smaller', 1, true) then error(message, 0) end
  end
  bars_added[i] = (bars_added[i] or 0) + 1
end

local function append_window(i, id, w)
  append(i, id, format('%d', w.start), format('%d', w.revision), w.complete, w.time, w.open, w.high, w.low, w.close,
    plain_volume(w.volume), plain(w.quote, 16), plain_volume(w.buy), format('%d', w.count), w.skipped, w.maker,
    w.first, w.last, w.first_agg, w.last_agg)
end

-- The newest version of a closed window. Entries after the last committed one are of a call cut short: not ours yet.
local function find_bar(i, start)
  local w = windows[i]
  if start > w.bar_ms then return nil end
  local newest, oldest = format('%d-%d', w.bar_ms, w.bar_sequence), format('%d-0', start)
  local wanted = format('%d', start)
  while true do
    local page = call('XREVRANGE', KEYS[11 + i], newest, oldest, 'COUNT', PAGE)
    for _, entry in ipairs(page) do
      local list = entry[2]
      for at = 1, #list, 2 do
        if list[at] == 'start' then
          if list[at + 1] == wanted then return from_bar(list) end
          break
        end
      end
    end
    if #page < PAGE then return nil end
    newest = '(' .. page[#page][1]
  end
end

-- A trade whose window is over: the window's newest version with the trade in it goes after the last bar.
local function revise(i, start, d, complete)
  local newest = unfold(windows[i])
  local w
  if start == newest.start then
    w = newest
    opened[i], touched[i] = true, true
  else
    w = find_bar(i, start)
  end
  if w then
    merge(w, d)
    w.revision = w.revision + 1
    if complete == 0 then w.complete = 0 end
  else
    w = begin(d, start, 0)
  end
  append_window(i, next_bar_id(newest, start), w)
end

-- Where the bars of each interval stood when the fold began: the state keeps it, so that a first call that was cut
-- short does not take its own bars for those of an earlier fold.
local function last_bars()
  local ids = {}
  for i = 1, 7 do
    local page = call('XREVRANGE', KEYS[11 + i], '+', '-', 'COUNT', 1)
    ids[i] = #page > 0 and page[1][1] or '0-0'
  end
  return table.concat(ids, ' ')
end

local function bar_before(i)
  local at = 0
  for ms, sequence in string.gmatch(bars_before, '(%d+)%-(%d+)') do
    at = at + 1
    if at == i then return tonumber(ms), tonumber(sequence) end
  end
end

-- Market trades of one window into interval `i`; true if they were late.
local function fold(i, start, d, complete)
  local w = windows[i]
  if w and start == w.start and w.closed == 0 then
    merge(w, d)
    if complete == 0 then
      unfold(w).complete, opened[i] = 0, true
    end
    touched[i] = true
    return false
  end
  if w and start <= w.start then
    revise(i, start, d, complete)
    return true
  end
  local bar_ms, bar_sequence
  if w then
    unfold(w)
    if w.closed == 0 then append_window(i, next_bar_id(w, w.start), w) end
    bar_ms, bar_sequence = w.bar_ms, w.bar_sequence
  else
    bar_ms, bar_sequence = bar_before(i)
  end
  w = begin(d, start, complete)
  w.bar_ms, w.bar_sequence = bar_ms, bar_sequence
  windows[i], opened[i], touched[i] = w, true, true
  return false
end

local function fold_not_market(i, time, skipped, last_agg)
  local w = windows[i]
  if w and w.closed == 0 and w.start == time - time % LENGTHS[i] then
    w.skipped, w.last_agg = add_count(w.skipped, skipped), last_agg
    touched[i] = true
  end
end

-- The runs of one group, from ARGV[at] on, into the 100 ms windows. A window that the next run ends never becomes a
-- table: its bar is written straight from the block.
local function fold_runs(at, runs, complete)
  local held, held_complete, held_start
  for run = at, at + runs - 1 do
    local text = ARGV[run]
    local start_text, count = match(text, '^(%d+) %d+ %d+ (%d+)')
    local start, w = tonumber(start_text), windows[1]
    if held and (count == '0' or start <= held_start) then
      fold(1, held_start, from_block(held, true), held_complete)
      held = nil
      w = windows[1]
    end
    if count == '0' then
      local last_agg, skipped, time = match(text, '^%d+ %d+ (%d+) %d+ (%d+) (%d+)')
      fold_not_market(1, tonumber(time), skipped, last_agg)
    else
      if held then
        local _, first_agg, last_agg, trades, skipped, time, open, high, low, close, volume, quote, buy, maker,
          first, last = match(held, BLOCK)
        append(1, next_bar_id(w, held_start), format('%d', held_start), '0', held_complete, time, open, high, low,
          close, volume, quote, buy, trades, skipped, maker, first, last, first_agg, last_agg)
        held, held_start, held_complete = text, start, complete
      elseif w and start > w.start then
        unfold(w)
        if w.closed == 0 then
          append_window(1, next_bar_id(w, w.start), w)
          w.closed = 1
        end
        held, held_start, held_complete = text, start, complete
      else
        fold(1, start, from_block(text, true), complete)
      end
      complete = 1
    end
  end
  if held then fold(1, held_start, from_block(held, true), held_complete) end
end
