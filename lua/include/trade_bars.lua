-- Trades into the windows of each interval; closed windows, and what changes them later, into the bar streams.
--
-- A closed window that a call changes is held in `revised` until the call ends, so that it gets one revision however
-- many trades are late.
--
-- Needs: KEYS and ARGV of apply_trades.lua; `call`, LENGTHS; `windows`, `opened`, `touched`, `revised`, `bars_added`,
--   `revisions_added` by interval and `bars_before`; what trade_windows.lua needs and gives.
-- Gives: next_bar_id, append, append_closed, fold, fold_runs; after `define_rare` changed, append_revised (nil before:
--   nothing is to be appended), last_bars and fold_not_market too.

local PAGE = 100

-- Defined by `define_rare`.
local append_after, changed, revise, append_revised, last_bars, bar_before, fold_not_market
local define_rare

-- The id of the next bar after window `w`: its window's start, also given as text, or after the last entry when that is
-- not earlier.
local function next_bar_id(w, start, text)
  if start > w.bar_ms then
    w.bar_ms, w.bar_sequence = start, 0
    return text .. '-0'
  end
  w.bar_sequence = w.bar_sequence + 1
  return format('%d-%d', w.bar_ms, w.bar_sequence)
end

-- False if the stream is already there: a call that an error cut short appended the same or, for a batch of another
-- size, other revisions; or somebody else appended an entry with a later id.
local function append(i, id, start, revision, grade, time, open, high, low, close, volume, quote, buy,
    count, skipped, maker, first, last, first_agg, last_agg)
  local reply = redis.pcall('XADD', KEYS[11 + i], id, 'start', start, 'revision', revision,
    'complete', COMPLETE[grade], 'reason', REASON[grade],
    'last_update_time', time, 'open_price', open, 'high_price', high, 'low_price', low, 'close_price', close,
    'volume', volume, 'quote_volume', quote, 'buy_volume', buy, 'trades_count', count, 'skipped_count', skipped,
    'is_buyer_maker_count', maker, 'first_trade_id', first, 'last_trade_id', last,
    'first_agg_trade_id', first_agg, 'last_agg_trade_id', last_agg)
  bars_added[i] = (bars_added[i] or 0) + 1
  if type(reply) == 'table' and reply.err then
    local message = tostring(reply.err)
    if not string.find(message, 'equal or smaller', 1, true) then error(message, 0) end
    return false
  end
  return true
end

local function append_window(i, id, w)
  return append(i, id, format('%d', w.start), format('%d', w.revision), w.grade, w.time, w.open, w.high, w.low, w.close,
    plain_volume(w.volume), plain_quote(w.quote), plain_volume(w.buy), format('%d', w.count), w.skipped, w.maker,
    w.first, w.last, w.first_agg, w.last_agg)
end

-- The bar of a window that is over. What the clock closed in a call cut short may be of another grade.
local function append_closed(i, w)
  local id = next_bar_id(w, w.start, format('%d', w.start))
  if not append_window(i, id, w) then
    define_rare()
    append_after(i, w, id, w, {})
  end
end

-- A trade of a later window, and no id is missing before it: all trades of the newest window are there.
local function prove(i, w)
  if unfold(w).grade == UNPROVEN then
    define_rare()
    changed(i, w.start).grade = PROVEN
  end
end

-- What most calls do not need, and so do not define: each definition costs a call 1,500 instructions.
function define_rare()
  if changed then return end

  -- Whether the entry `id` of interval `i` is this window, by some of its fields.
  local function is_there(i, id, fields)
    local entry = call('XRANGE', KEYS[11 + i], id, id)[1]
    if not entry then return false end
    local held = {}
    for at = 1, #entry[2], 2 do held[entry[2][at]] = entry[2][at + 1] end
    for name, value in pairs(fields) do
      if held[name] ~= value then return false end
    end
    return true
  end

  -- Append a window that could not be appended as `id` once more, after what is there, unless it is there; `at` knows the
  -- last bar.
  function append_after(i, at, id, w, fields)
    fields.start = format('%d', w.start)
    if is_there(i, id, fields) then return end
    local last = call('XREVRANGE', KEYS[11 + i], '+', '-', 'COUNT', 1)[1][1]
    local ms, sequence = match(last, '(%d+)%-(%d+)')
    at.bar_ms, at.bar_sequence = tonumber(ms), tonumber(sequence)
    append_window(i, next_bar_id(at, w.start, fields.start), w)
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
            if list[at + 1] == wanted then
              local good, bar = pcall(from_bar, list)  -- somebody else's entry may lack what a bar has
              if good and bar.count and bar.revision then return bar end
            end
            break
          end
        end
      end
      if #page < PAGE then return nil end
      newest = '(' .. page[#page][1]
    end
  end

  -- The closed window that begins at `start`, to be changed: it is appended once, when the call ends. Nil if there is none.
  function changed(i, start)
    local newest = unfold(windows[i])
    if start == newest.start then opened[i], touched[i] = true, true end
    local list = revised[i]
    if not list then
      list = {}
      revised[i] = list
    end
    local w = list[start]
    if w then return w end
    w = start == newest.start and newest or find_bar(i, start)
    if w then
      w.revision = w.revision + 1
      list[start] = w
    end
    return w
  end

  -- Trades whose window is over.
  function revise(i, start, d, mark)
    local w = changed(i, start)
    if not w then
      revised[i][start] = begin(d, start, LATE)
      return
    end
    merge(w, d)
    if mark ~= PROVEN then w.grade = mark end
  end

  -- The windows that this call changed, after the last bar, in the order of their time.
  function append_revised()
    for i = 1, 7 do
      if revised[i] then
        local starts = {}
        for start in pairs(revised[i]) do starts[#starts + 1] = start end
        table.sort(starts)
        for _, start in ipairs(starts) do
          local newest, w = windows[i], revised[i][start]
          local id = next_bar_id(newest, start, format('%d', start))
          if not append_window(i, id, w) then
            append_after(i, newest, id, w, {revision = format('%d', w.revision), complete = COMPLETE[w.grade],
              reason = REASON[w.grade], trades_count = format('%d', w.count), skipped_count = w.skipped,
              last_agg_trade_id = w.last_agg})
          end
          if w.revision > 0 then revisions_added[i] = (revisions_added[i] or 0) + 1 end
          touched[i] = true
        end
      end
    end
  end

  -- Where the bars of each interval stood when the fold began: the state keeps it, so that a first call that was cut
  -- short does not take its own bars for those of an earlier fold.
  function last_bars()
    local ids = {}
    for i = 1, 7 do
      local page = call('XREVRANGE', KEYS[11 + i], '+', '-', 'COUNT', 1)
      ids[i] = #page > 0 and page[1][1] or '0-0'
    end
    return table.concat(ids, ' ')
  end

  function bar_before(i)
    local at = 0
    for ms, sequence in string.gmatch(bars_before, '(%d+)%-(%d+)') do
      at = at + 1
      if at == i then return tonumber(ms), tonumber(sequence) end
    end
  end

  -- Trades outside the market: they count in the window that they belong to, and end and prove an earlier one.
  function fold_not_market(i, time, skipped, last_agg)
    local w, start = windows[i], time - time % LENGTHS[i]
    if not w then return end
    if start > w.start then
      if w.closed == 1 then
        prove(i, w)
      else
        unfold(w)
        append_closed(i, w)
        w.closed, opened[i], touched[i] = 1, true, true
      end
      return
    end
    if start < w.start or w.closed == 1 then w = changed(i, start) end
    if w then
      w.skipped, w.last_agg = add_count(w.skipped, skipped), last_agg
      touched[i] = true
    end
  end
end

-- Market trades of one window into interval `i`; true if they were late. `mark` is the grade that they give.
local function fold(i, start, d, mark)
  local w = windows[i]
  if w and start == w.start and w.closed == 0 then
    merge(w, d)
    if mark ~= PROVEN then
      unfold(w).grade, opened[i] = mark, true
    end
    touched[i] = true
    return false
  end
  if w and start <= w.start then
    define_rare()
    revise(i, start, d, mark)
    return true
  end
  local bar_ms, bar_sequence
  if w then
    unfold(w)
    if w.closed == 0 then append_closed(i, w) else prove(i, w) end
    bar_ms, bar_sequence = w.bar_ms, w.bar_sequence
  else
    define_rare()
    bar_ms, bar_sequence = bar_before(i)
  end
  w = begin(d, start, mark)
  w.bar_ms, w.bar_sequence = bar_ms, bar_sequence
  windows[i], opened[i], touched[i] = w, true, true
  return false
end

-- The runs of one group, from ARGV[at] on, into the 100 ms windows; how many of their trades were late. A window that
-- the next run ends never becomes a table: its bar is written straight from the parts of the run's block, which are
-- held until it is known what follows.
local function fold_runs(at, runs, mark)
  local runs_of, late = ARGV, 0
  local held, held_mark, start_h, first_agg_h, last_agg_h, count_h, skipped_h, time_h, open_h, high_h, low_h, close_h,
    volume_h, quote_h, buy_h, maker_h, first_h, last_h
  for run = at, at + runs - 1 do
    local start_text, first_agg, last_agg, count, skipped, time, open, high, low, close, volume, quote, buy, maker,
      first, last = match(runs_of[run], BLOCK)
    local start, w = start_text + 0, windows[1]
    if held and (count == '0' or start <= held) then
      fold(1, held, block_of(nil, start_h, first_agg_h, last_agg_h, count_h, skipped_h, time_h, open_h, high_h, low_h,
        close_h, volume_h, quote_h, buy_h, maker_h, first_h, last_h), held_mark)
      held = nil
      w = windows[1]
    end
    if count == '0' then
      define_rare()
      fold_not_market(1, time + 0, skipped, last_agg)
    else
      local is_later = held or w and start > w.start
      if held then
        local id = next_bar_id(w, held, start_h)
        if not append(1, id, start_h, '0', held_mark, time_h, open_h, high_h, low_h, close_h, volume_h, quote_h, buy_h,
            count_h, skipped_h, maker_h, first_h, last_h, first_agg_h, last_agg_h) then
          define_rare()
          append_after(1, w, id, begin(block_of(nil, start_h, first_agg_h, last_agg_h, count_h, skipped_h, time_h, open_h,
            high_h, low_h, close_h, volume_h, quote_h, buy_h, maker_h, first_h, last_h), held, held_mark), {})
        end
      elseif is_later then
        unfold(w)
        if w.closed == 0 then
          append_closed(1, w)
          w.closed = 1
        else
          prove(1, w)
        end
      elseif fold(1, start, block_of(nil, start_text, first_agg, last_agg, count, skipped, time, open, high, low, close,
          volume, quote, buy, maker, first, last), mark) then
        late = late + count
      end
      if is_later then
        held, held_mark, start_h, first_agg_h, last_agg_h, count_h, skipped_h = start, mark, start_text, first_agg,
          last_agg, count, skipped
        time_h, open_h, high_h, low_h, close_h = time, open, high, low, close
        volume_h, quote_h, buy_h, maker_h, first_h, last_h = volume, quote, buy, maker, first, last
      end
      mark = PROVEN
    end
  end
  if held then
    fold(1, held, block_of(nil, start_h, first_agg_h, last_agg_h, count_h, skipped_h, time_h, open_h, high_h, low_h, close_h,
      volume_h, quote_h, buy_h, maker_h, first_h, last_h), held_mark)
  end
  return late
end
