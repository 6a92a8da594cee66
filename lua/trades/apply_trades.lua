-- The trades fold of one symbol: apply a batch, accept a hole, follow ids that began anew lower, or close quiet
-- windows. One atomic step each.
--
-- KEYS (all with the same hash tag)
--   1 lease hash, 2 raw trades stream, 3 state hash, 4 latest set,
--   5..11 stats hashes and 12..18 bar streams of 100ms 1m 5m 15m 1h 4h 1d; all but apply, close: 19 gaps stream
-- ARGV
--   1 operation (apply, skip, break, fill, pass, restart, close)   2 fencing number, '' for none   3 consumer group
--   4 retention of the latest set, ms, 0 keeps all   5 its members at most, 0 for any number
--   6 members trimmed by one call at most   7..13 bars kept, 0 keeps all
--   14 1: ids are the venue's, and one that is missing is a missing trade; 0: they are numbers of the log
--   skip:  15 first id   16 last id of the hole that is accepted   17 why and 19 what was filled in, for the gaps stream
--          18 gaps kept there. The same for numbers of the log: break, at which any number of trades may be missing (it
--          counts as one); fill, at which none is any more (recorded, marks nothing); pass, that no trade has (nor that)
--   restart: 15 first of the new ids   16 last of the old ones, at which the fold stands   17 ms of the first entry with
--          new ids   18 gaps kept
--   close: 15 now, ms    16 grace, ms: windows that ended that long before now are closed
--   apply: 15 groups   16 trades already known to be repeated   17 their stream ids
--          18 index of the first member in ARGV   19 index of the first stream id in ARGV
--          20 `ids_since` with which the batch was cut: entries before that ms are of older ids, and repeated
--          21 1: the windows of 5 m and longer may wait (see long_windows.lua); 0: they are brought up to date
--          22.. the groups, then score and member of each market trade, then the stream ids.
--   A group is a row of trades with consecutive ids within one minute: number of
--   runs (0: the group is its own run), members, stream ids, repeated trades after it, decimals of its volumes (8 or
--   18), the block of the whole group, a block for each run. A run is the part of a group within one 100 ms window. A block is one text, separated by
--   blanks: start of its (first) 100 ms window, first id, last id, market trades, other trades, newest trade time,
--   open, high, low, close, volume, quote volume, buy volume, buyer-is-maker trades, `f` of the first and `l` of the
--   last trade. In a group's block the volumes are integers of so many decimals
--   (quote: twice as many), in a run's plain decimals.
--   Other trades come before the first market trade of a group only in a group without market trades.
-- Returns
--   {'FENCED'}            the fencing number is not the lease's; nothing was done
--   {'AGAIN', last id, ids_since}  a group straddles the last applied id, or the batch was cut with another ids_since;
--                         nothing was done: send the trades after it
--   {'NOT_NEXT', last id} skip: the hole does not begin right after the last id; nothing was done
--   apply {'OK', applied, not market, repeated, late, last id, id after the hole or 0, newest trade time, capped}
--   skip, break, fill, pass {'OK', ids passed, last id}
--   restart {'OK', last id}, again if it was done before; {'NOT_THERE', last id} the fold does not stand at the last of
--         the old ids, or the new ones are not lower; nothing was done
--   close {'OK', bars appended, end of the next open window in ms or 0, capped}
--   an error 'UNREADABLE <field> ...' where the state hash holds what this script never wrote; nothing was done
--   Capped are the members that were trimmed though they were not old enough, because the set held too many.
--
-- The open windows live in the state hash (one text each: see from_state); the stats hashes are their readable view.
-- Everything written before the state (members, bars, stats) is a function of the state and the trades, so a call that
-- an error cut short (a key of a wrong type) is simply repeated. A server that is out of memory or read-only refuses
-- the first write, that is the whole call.
--
-- A window that the clock closes is unproven: a trade with the next id may still belong to it. The next trade of a later
-- window, with no id missing before it, is the proof, and the window's proven revision is appended. A call appends one
-- revision of a window at most.
--
-- Ids that begin anew: an id proves nothing against one of another numbering, the place in the log does. `ids_since` is
-- the ms of the first entry with new ids, `ids_after` the newest trade time before them.
--
-- Cost: O(trades log(set)) plus 60 to 100 us of server time a call, 35 less where long windows may wait; a bar adds one
--   command, a window that late trades change a search among the bars after it, and each 100 bars a reading of the 100 oldest.

local LENGTHS = {100, 60000, 300000, 900000, 3600000, 14400000, 86400000}
local NAMES = {'100ms', '1m', '5m', '15m', '1h', '4h', '1d'}
local CHUNK = 4000

local call, format, sub, find, match, tonumber = redis.call, string.format, string.sub, string.find, string.match, tonumber

local windows, opened, touched, revised, bars_added, revisions_added, bars_before = {}, {}, {}, {}, {}, {}, nil

-- What follows is one function: its closures take the locals above from it at once. Closures of the script itself look for
-- each local that they use among all that others use, which took a twentieth of a call.
local function run()

-- include: exact_sums
-- include: trade_windows
-- include: trade_bars

-- The log's numbers have no hole, whatever the venue did not send.
if ARGV[14] == '0' then COMPLETE[PROVEN], REASON[PROVEN] = '0', NOT_PROVABLE end

local state = call('HMGET', KEYS[3], 'last_id', 'last_trade_time', 'applied_count', 'repeated_count',
  'not_market_count', 'missing_count', 'late_count', 'hole_next_id', 'incomplete_next', 'bars_before',
  'capped_count', 'revisions', 'ids_since', 'restarts_count', 'digits', 'breaks_count', 'long_windows', '100ms', '1m')
for i = 1, 16 do
  local text = state[i]
  if text and i ~= 10 and i ~= 12 and i ~= 15 and (not find(text, '^%d+$') or #text > 16) then
    local names = {'last_id', 'last_trade_time', 'applied_count', 'repeated_count', 'not_market_count', 'missing_count',
      'late_count', 'hole_next_id', 'incomplete_next', nil, 'capped_count', nil, 'ids_since', 'restarts_count', nil, 'breaks_count'}
    return redis.error_reply('UNREADABLE ' .. names[i] .. ' is no number')
  end
end
local started = state[1] and true or false
local last_id = (state[1] or -1) + 0
local newest_time = (state[2] or 0) + 0
local hole_next = (state[8] or 0) + 0
local ids_since = (state[13] or 0) + 0
-- What the next market trade's windows lack: 0 nothing, 1 trades before it, 2 their beginning (the fold began).
local incomplete_next = (state[9] or 2) + 0
local MARK = {[0] = PROVEN, MISSING, BEGAN}
bars_before = state[10]
-- Revisions among the bars of each interval, once there is a bar to append.
local revisions
if state[12] and not find(state[12], '^%d+ %d+ %d+ %d+ %d+ %d+ %d+$') then
  return redis.error_reply('UNREADABLE revisions are not seven numbers')
end

-- include: trade_trimming
-- include: long_windows

-- Writes the stats of a window; what the state keeps of it.
local function show(i)
  local w = windows[i]
  local volume, quote, buy, skipped, maker = w.volume, w.quote, w.buy, w.skipped, w.maker
  local count = format('%d', w.count)
  if opened[i] then
    call('HSET', KEYS[4 + i], 'start', format('%d', w.start), 'closed', w.closed, 'revision', format('%d', w.revision),
      'complete', COMPLETE[w.grade], 'reason', REASON[w.grade], 'last_update_time', w.time, 'open_price', w.open, 'high_price', w.high,
      'low_price', w.low, 'close_price', w.close, 'volume', plain_volume(volume), 'quote_volume', plain_quote(quote),
      'buy_volume', plain_volume(buy), 'trades_count', count, 'skipped_count', skipped, 'is_buyer_maker_count', maker,
      'first_trade_id', w.first, 'last_trade_id', w.last, 'first_agg_trade_id', w.first_agg,
      'last_agg_trade_id', w.last_agg)
  elseif touched[i] then
    local more = {}
    if w.range_changed then more = {'high_price', w.high, 'low_price', w.low} end
    if skipped ~= '0' then more[#more + 1], more[#more + 2] = 'skipped_count', skipped end
    call('HSET', KEYS[4 + i], 'last_update_time', w.time, 'close_price', w.close, 'volume', plain_volume(volume),
      'quote_volume', plain_quote(quote), 'buy_volume', plain_volume(buy), 'trades_count', count,
      'is_buyer_maker_count', maker, 'last_trade_id', w.last, 'last_agg_trade_id', w.last_agg, unpack(more))
  end
  local fixed = w.fixed or format('%d %d %d %d %d %d %s %s %s', w.start, w.closed, w.grade, w.revision, w.bar_ms,
    w.bar_sequence, w.open, w.first, w.first_agg)
  return fixed .. '|' .. w.time .. ' ' .. w.high .. ' ' .. w.low .. ' ' .. w.close .. ' ' .. volume .. ' ' .. quote ..
    ' ' .. buy .. ' ' .. count .. ' ' .. skipped .. ' ' .. maker .. ' ' .. w.last .. ' ' .. w.last_agg
end

-- Bars first, then stats, the state after them, trimming last. `id` is the text of the last id.
local function commit(fields, now, id)
  local trimmed, capped = 0, 0
  if append_revised then append_revised() end
  if now > 0 then
    trimmed, capped = surplus(now)
    if capped > 0 then
      fields[#fields + 1] = 'capped_count'
      fields[#fields + 1] = format('%d', (state[11] or 0) + capped)
    end
  end
  for i = 1, 7 do
    if touched[i] or bars_added[i] then
      fields[#fields + 1] = NAMES[i]
      fields[#fields + 1] = show(i)
    end
  end
  local long = long_text(id)
  if long ~= (state[17] or '') then
    fields[#fields + 1] = 'long_windows'
    fields[#fields + 1] = long
  end
  local trims, revised_since = {}, false
  for i = 1, 7 do
    if bars_added[i] then
      revisions = revisions or {match(state[12] or '0 0 0 0 0 0 0', '(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+)')}
      local before = revisions[i] + 0
      revisions[i] = before + (revisions_added[i] or 0)
      if ARGV[6 + i] ~= '0' then trims[i] = trimming(i, ARGV[6 + i] + 0) end
      revised_since = revised_since or revisions[i] ~= before
    end
  end
  if revised_since then
    fields[#fields + 1] = 'revisions'
    fields[#fields + 1] = format('%d %d %d %d %d %d %d', unpack(revisions))
  end
  if #fields > 0 then call('HSET', KEYS[3], unpack(fields)) end
  for i = 1, 7 do
    if trims[i] then call('XTRIM', KEYS[11 + i], unpack(trims[i])) end
  end
  if trimmed > 0 then call('ZREMRANGEBYRANK', KEYS[4], 0, format('%d', trimmed - 1)) end
  return capped
end

local function in_chunks(command, key, before, from, to)
  for at = from, to, CHUNK do
    local till = math.min(at + CHUNK - 1, to)
    if before then
      call(command, key, before, unpack(ARGV, at, till))
    else
      call(command, key, unpack(ARGV, at, till))
    end
  end
end

-- Walks over the groups without writing: which are to be applied? Nil if they cannot be applied as they are.
local function survey()
  local at, last, member, entry = 22, last_id, ARGV[18] + 0, ARGV[19] + ARGV[17]
  local plan = {first = nil, until_group = 0, repeated = ARGV[16] + 0, entry_end = entry - 1, next_id = 0}
  local known = started
  for group = 1, tonumber(ARGV[15]) do
    local d = from_block(ARGV[at + 5], ARGV[at + 4])
    local first, last_of = d.first_agg + 0, d.last_agg + 0
    if known and first > last + 1 then
      plan.next_id = first
      break
    end
    if known and last_of <= last then
      plan.repeated = plan.repeated + d.count + d.skipped
      member = member + 2 * ARGV[at + 1]
    else
      if known and first <= last then return nil end
      if not plan.first then plan.first, plan.at, plan.member = group, at, member end
      plan.until_group = group
      if ARGV[at + 4] ~= '8' then plan.fine = true end
      if d.count == 0 or not may_wait(d.start) then plan.all = true end
      plan[group] = d
      member = member + 2 * ARGV[at + 1]
      plan.member_end = member - 1
      known, last = true, last_of
    end
    plan.repeated = plan.repeated + ARGV[at + 3]
    entry = entry + ARGV[at + 2]
    plan.entry_end = entry - 1
    at = at + 6 + ARGV[at]
  end
  return plan
end

local function apply()
  local plan = ARGV[20] + 0 == ids_since and survey()
  if not plan then return {'AGAIN', last_id, ids_since} end
  local applied, not_market, late, fields = 0, 0, 0, {}
  local id, newest = state[1], state[2] or '0'
  if plan.first then
    local refines = plan.fine and is_coarse()
    local wrong = (ARGV[21] == '0' or plan.all or refines or incomplete_next > 0) and load_long()
    if wrong then return wrong end
    if not bars_before then
      define_rare()
      bars_before = last_bars()
      call('HSET', KEYS[3], 'bars_before', bars_before)
    end
    if refines then
      refine()
      for i = 1, 7 do
        if windows[i] then
          widen(windows[i])
          touched[i] = true
        end
      end
    end
    in_chunks('ZADD', KEYS[4], nil, plan.member, plan.member_end)
    local at = plan.at
    for group = plan.first, plan.until_group do
      local runs, d = ARGV[at] + 0, plan[group]
      if refines then d = from_block(ARGV[at + 5], ARGV[at + 4]) end
      local time, late_count = d.moment, 0
      if d.count == 0 then
        define_rare()
        for i = 1, 7 do fold_not_market(i, time, d.skipped, d.last_agg) end
      else
        local mark = MARK[incomplete_next] or MISSING
        incomplete_next = 0
        if runs > 0 then
          late_count = fold_runs(at + 6, runs, mark)
        elseif fold(1, d.start, d, mark) then
          late_count = d.count
        end
        for i = 2, are_loaded and 7 or 2 do
          if fold(i, time - time % LENGTHS[i], d, mark) then late_count = d.count end
        end
        if not are_loaded then put_by(d) end
        late = late + late_count
        if time > newest_time then newest_time, newest = time, d.time end
      end
      applied, not_market, id = applied + d.count, not_market + d.skipped, d.last_agg
      at = at + 6 + runs
    end
    last_id = id + 0
    fields = {'last_id', id, 'last_trade_time', newest, 'applied_count', format('%d', (state[3] or 0) + applied)}
  end
  local function set(name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = format('%d', value)
  end
  if plan.first then
    if not state[9] or incomplete_next ~= state[9] + 0 then set('incomplete_next', incomplete_next) end
    if not (state[15] or is_coarse()) then set('digits', 18) end
  end
  if plan.repeated > 0 then set('repeated_count', (state[4] or 0) + plan.repeated) end
  if not_market > 0 then set('not_market_count', (state[5] or 0) + not_market) end
  if late > 0 then set('late_count', (state[7] or 0) + late) end
  if plan.first and plan.next_id == 0 then
    if hole_next > 0 then set('hole_next_id', 0) end
  elseif plan.next_id > 0 and plan.next_id ~= hole_next then
    set('hole_next_id', plan.next_id)
  end
  local capped = commit(fields, newest_time, id)
  in_chunks('XACK', KEYS[2], ARGV[3], ARGV[19] + 0, plan.entry_end)
  return {'OK', applied, not_market, plan.repeated, late, last_id, plan.next_id, newest_time, capped}
end

if ARGV[2] ~= '' and call('HGET', KEYS[1], 'token') ~= ARGV[2] then return {'FENCED'} end
if state[15] and state[15] ~= '18' then return redis.error_reply('UNREADABLE digits are not 18') end
if state[15] then refine() end
local unreadable = load_windows(1, {state[18], state[19]}) or load_waiting()
if unreadable then return unreadable end
-- Most calls end here, and need not define what the other operations do.
if ARGV[1] == 'apply' then return apply() end
define_rare()
unreadable = load_long()
if unreadable then return unreadable end

-- An error where a key that is to be written is of another type, before anything is written: what the clock closes and
-- what is given up is no function of the trades, so a call that was cut short would not be repeated as it was.
local function wrong_type()
  for i = 1, 7 do
    for key, good in pairs({[KEYS[4 + i]] = 'hash', [KEYS[11 + i]] = 'stream'}) do
      local kind = call('TYPE', key)
      if type(kind) == 'table' then kind = kind.ok end
      if kind ~= good and kind ~= 'none' then return redis.error_reply('WRONGTYPE ' .. key .. ' is no ' .. good) end
    end
  end
end

-- Of the newest windows trades are missing for good; of a proven one none can be.
local function mark_missing()
  for i = 1, 7 do
    local w = windows[i]
    if w then
      unfold(w)
      if w.closed == 1 and w.grade == UNPROVEN then
        changed(i, w.start).grade = MISSING
      elseif w.closed == 0 and w.grade == PROVEN then
        w.grade, opened[i], touched[i] = MISSING, true, true
      end
    end
  end
end

local function skip()
  local first, last = tonumber(ARGV[15]), tonumber(ARGV[16])
  if not started or first > last_id + 1 then return {'NOT_NEXT', last_id} end
  local missing = last - last_id
  if missing <= 0 then return {'OK', 0, last_id} end
  local operation, fields = ARGV[1], {'last_id', format('%d', last), 'hole_next_id', '0'}
  if operation == 'skip' or operation == 'break' then
    local wrong = wrong_type()
    if wrong then return wrong end
    mark_missing()
    fields[5], fields[6] = 'missing_count', format('%d', tonumber(state[6] or 0) + missing)
    if operation == 'break' then fields[5], fields[6] = 'breaks_count', format('%d', tonumber(state[16] or 0) + 1) end
    fields[7], fields[8] = 'incomplete_next', '1'
  end
  if operation ~= 'pass' then
    call('XADD', KEYS[19], 'MAXLEN', '~', ARGV[18], '*', 'channel', 'aggTrade', 'from', format('%d', last_id + 1),
      'to', format('%d', last), 'reason', ARGV[17], 'repaired', ARGV[19])
  end
  commit(fields, 0)
  return {'OK', missing, last}
end

local function restart()
  local first, old, since = tonumber(ARGV[15]), tonumber(ARGV[16]), tonumber(ARGV[17])
  if started and since == ids_since then return {'OK', last_id} end
  if not started or old ~= last_id or first > last_id then return {'NOT_THERE', last_id} end
  local wrong = wrong_type()
  if wrong then return wrong end
  mark_missing()
  call('XADD', KEYS[19], 'MAXLEN', '~', ARGV[18], '*', 'channel', 'aggTrade', 'from', format('%d', last_id + 1),
    'to', format('%d', first - 1), 'reason', 'ids restarted', 'repaired', 'no')
  commit({'last_id', format('%d', first - 1), 'hole_next_id', '0', 'incomplete_next', '1', 'ids_since', ARGV[17],
    'ids_after', format('%d', newest_time), 'restarts_count', format('%d', tonumber(state[14] or 0) + 1)}, 0)
  return {'OK', first - 1}
end

local function close()
  local now = tonumber(ARGV[15])
  local before, closed, next_end = now - tonumber(ARGV[16]), 0, 0
  for i = 1, 7 do
    local w = windows[i]
    if w and w.closed == 0 then
      local finish = w.start + LENGTHS[i]
      if finish <= before and hole_next == 0 then
        local wrong = closed == 0 and wrong_type()
        if wrong then return wrong end
        unfold(w)
        if w.grade == PROVEN then w.grade = UNPROVEN end
        append_closed(i, w)
        w.closed, opened[i], touched[i] = 1, true, true
        closed = closed + 1
      elseif next_end == 0 or finish < next_end then
        next_end = finish
      end
    end
  end
  local capped = commit({}, now)
  return {'OK', closed, next_end, capped}
end

if ARGV[1] == 'restart' then return restart() end
if ARGV[1] == 'close' then return close() end
return skip()

end

return run()
