-- A trade window: read from the state, from a bar or from a block of trades (see apply_trades.lua), and added to.
--
-- Prices stay text and are compared as doubles, which order decimals of up to 15 significant digits exactly.
--
-- Needs: what exact_sums.lua needs and gives.
-- Gives: BLOCK, the grades, COMPLETE, REASON, NOT_PROVABLE, from_state, unfold, widen, block_of, from_block, begin, from_bar, add_count, merge.

-- What is known of a window's trades, as a digit of the state; 0 and 1 are those that older states hold.
local MISSING, PROVEN, UNPROVEN, BEGAN, LATE = 0, 1, 2, 3, 4
local COMPLETE = {[0] = '0', '1', '0', '0', '0'}
local REASON = {[0] = 'missing', '', 'unproven', 'began', 'late'}
local NOT_PROVABLE = 'not provable'
local GRADE = {[NOT_PROVABLE] = PROVEN, unproven = UNPROVEN, began = BEGAN, late = LATE}

local BLOCK = '^([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+)$'
-- Digits of a sum in three limbs, with room for the next.
local LONGEST = 44
local FIXED = '^[^ ]+ [^ ]+ ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+)$'
local WINDOW = '^((%d+) (%d) [^|]+)|([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) (%d+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+)$'

-- A window is a table of texts (of the sums the digits), but for `start`, `closed` and `count`. Of one read from the
-- state, `fixed` is the part that stays while the window is open; `unfold` takes it apart. Nil of a text that is none.
local function from_state(text)
  local fixed, start, closed, time, high, low, close, volume, quote, buy, count, skipped, maker, last, last_agg =
    match(text, WINDOW)
  return fixed and {
    fixed = fixed, start = start + 0, closed = closed + 0,
    time = time, high = high, low = low, close = close, volume = volume, quote = quote, buy = buy,
    count = count + 0, skipped = skipped, maker = maker, last = last, last_agg = last_agg,
  }
end

local function unfold(w)
  if w.fixed then
    local grade, revision, bar_ms, bar_sequence
    grade, revision, bar_ms, bar_sequence, w.open, w.first, w.first_agg = match(w.fixed, FIXED)
    grade = tonumber(grade)
    w.grade, w.revision = COMPLETE[grade] and grade or MISSING, revision + 0
    w.bar_ms, w.bar_sequence = bar_ms + 0, bar_sequence + 0
    w.fixed = nil
  end
  return w
end

-- Volumes of the coarse scale as those of the fine one.
local function widen(w)
  w.volume, w.quote, w.buy = widen_volume(w.volume), widen_quote(w.quote), widen_volume(w.buy)
end

-- A block by its parts: what is to be added to windows, beside the texts as numbers and, of the coarse scale, limbs.
-- `digits` are the decimals of its volumes, which are integers; nil: they are plain decimals.
local function block_of(digits, start, first_agg, last_agg, count, skipped, time, open, high, low, close, volume, quote,
    buy, maker, first, last)
  if not digits then
    volume, quote, buy = unplain_volume(volume), unplain_quote(quote), unplain_volume(buy)
  elseif digits == '8' and not is_coarse() then
    volume, quote, buy = widen_volume(volume), widen_quote(quote), widen_volume(buy)
  end
  local volume_high, volume_low, quote_high, quote_middle, quote_low, buy_high, buy_low
  if is_coarse() and #quote <= LONGEST then
    volume_high, volume_low = two_limbs(volume)
    quote_high, quote_middle, quote_low = three_limbs(quote)
    if buy ~= '0' then buy_high, buy_low = two_limbs(buy) end
  end
  return {
    start = start + 0, start_text = start, time = time, moment = time + 0, open = open, close = close,
    high = high, low = low, highest = high + 0, lowest = low + 0,
    volume = volume, volume_high = volume_high, volume_low = volume_low,
    quote = quote, quote_high = quote_high, quote_middle = quote_middle, quote_low = quote_low,
    buy = buy, buy_high = buy_high, buy_low = buy_low,
    count = count + 0, skipped = skipped, maker = maker,
    first = first, last = last, first_agg = first_agg, last_agg = last_agg,
  }
end

local function from_block(text, digits) return block_of(digits, match(text, BLOCK)) end

-- A window that begins with a block.
local function begin(d, start, grade)
  return {
    start = start, closed = 0, grade = grade, revision = 0,
    time = d.time, open = d.open, high = d.high, low = d.low, close = d.close,
    volume = d.volume, quote = d.quote, buy = d.buy,
    count = d.count, skipped = d.skipped, maker = d.maker,
    first = d.first, last = d.last, first_agg = d.first_agg, last_agg = d.last_agg,
  }
end

-- A bar read back from its stream: the flat list of its fields and values.
local function from_bar(list)
  local bar = {}
  for at = 1, #list, 2 do bar[list[at]] = list[at + 1] end
  return {
    start = tonumber(bar.start), closed = 1, revision = tonumber(bar.revision),
    grade = bar.complete == '1' and PROVEN or GRADE[bar.reason] or MISSING,
    time = bar.last_update_time,
    open = bar.open_price, high = bar.high_price, low = bar.low_price, close = bar.close_price,
    volume = unplain_volume(bar.volume), quote = unplain_quote(bar.quote_volume), buy = unplain_volume(bar.buy_volume),
    count = tonumber(bar.trades_count), skipped = bar.skipped_count, maker = bar.is_buyer_maker_count,
    first = bar.first_trade_id, last = bar.last_trade_id,
    first_agg = bar.first_agg_trade_id, last_agg = bar.last_agg_trade_id,
  }
end

local function add_count(text, more)
  if more == '0' then return text end
  return format('%d', text + more)
end

-- `d` holds trades with higher ids than all of `w`.
local function merge(w, d)
  if d.high ~= w.high and d.highest > w.high + 0 then w.high, w.range_changed = d.high, true end
  if d.low ~= w.low and d.lowest < w.low + 0 then w.low, w.range_changed = d.low, true end
  if d.time ~= w.time and d.moment > w.time + 0 then w.time = d.time end
  w.close, w.last, w.last_agg = d.close, d.last, d.last_agg
  w.count, w.skipped, w.maker = w.count + d.count, add_count(w.skipped, d.skipped), add_count(w.maker, d.maker)
  if not d.volume_high or #w.quote > LONGEST then
    w.volume, w.quote, w.buy = add_any(w.volume, d.volume), add_any(w.quote, d.quote), add_any(w.buy, d.buy)
    return
  end
  w.volume = add_two(w.volume, d.volume_high, d.volume_low)
  w.quote = add_three(w.quote, d.quote_high, d.quote_middle, d.quote_low)
  if d.buy ~= '0' then w.buy = add_two(w.buy, d.buy_high, d.buy_low) end
end
