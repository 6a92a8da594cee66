-- Sums of any size from numbers that are doubles: the digits of an integer, added to as limbs of 15 decimal digits, which a
-- double holds exactly. A limb may be added to one other without care, so every sum carries at once.
--
-- Volumes have 8 decimals and quote volumes 16, until `refine` says 18 and 36.
--
-- Digits become a number by `+ 0`: `tonumber` reads its text twice, and is a call.
--
-- Needs: `format`, `sub`, `match`, `tonumber` as locals.
-- Gives: two_limbs, three_limbs, add_two, add_three, add_any, is_coarse, refine, widen_volume, widen_quote, plain_volume,
--   plain_quote, unplain_volume, unplain_quote.

local LIMB = 1000000000000000
local ZEROS = string.rep('0', 36)
local volume_places, quote_places = 8, 16

local function two_limbs(digits)
  if #digits <= 15 then return 0, digits + 0 end
  return sub(digits, 1, -16) + 0, sub(digits, -15) + 0
end

local function three_limbs(digits)
  if #digits <= 15 then return 0, 0, digits + 0 end
  return tonumber(sub(digits, 1, -31)) or 0, sub(digits, -30, -16) + 0, sub(digits, -15) + 0
end

-- Digits plus two limbs, and plus three, as digits.
local function add_two(digits, high, low)
  local sum_high, sum = two_limbs(digits)
  sum_high, sum = sum_high + high, sum + low
  if sum >= LIMB then sum_high, sum = sum_high + 1, sum - LIMB end
  if sum_high == 0 then return format('%d', sum) end
  return format('%d%015d', sum_high, sum)
end

local function add_three(digits, high, middle, low)
  local sum_high, sum_middle, sum = three_limbs(digits)
  sum_high, sum_middle, sum = sum_high + high, sum_middle + middle, sum + low
  if sum >= LIMB then sum_middle, sum = sum_middle + 1, sum - LIMB end
  if sum_middle >= LIMB then sum_high, sum_middle = sum_high + 1, sum_middle - LIMB end
  if sum_high > 0 then return format('%d%015d%015d', sum_high, sum_middle, sum) end
  if sum_middle > 0 then return format('%d%015d', sum_middle, sum) end
  return format('%d', sum)
end

-- Digits plus digits, of any length.
local function add_any(one, other)
  if #one < #other then one, other = other, one end
  local sum, carry, from = '', 0, #one
  while from > 0 do
    local behind = #one - from
    local limb = tonumber(sub(one, math.max(from - 14, 1), from)) + carry
    if behind < #other then
      limb = limb + tonumber(sub(other, math.max(#other - behind - 14, 1), #other - behind))
    end
    carry, from = 0, from - 15
    if limb >= LIMB then carry, limb = 1, limb - LIMB end
    sum = format(from > 0 and '%015d' or '%d', limb) .. sum
  end
  if carry == 0 then return sum end
  return '1' .. sub(ZEROS, 1, #one - #sum) .. sum
end

local function is_coarse() return volume_places == 8 end

local function refine() volume_places, quote_places = 18, 36 end

-- Digits of the coarse scale as those of the fine one.
local function widen_volume(digits) return digits == '0' and digits or digits .. sub(ZEROS, 1, 10) end

local function widen_quote(digits) return digits == '0' and digits or digits .. sub(ZEROS, 1, 20) end

-- Digits of an integer number of 10^-places as a plain decimal, and back.
local function plain(digits, places)
  if #digits <= places then digits = sub(ZEROS, 1, places + 1 - #digits) .. digits end
  local fraction = match(digits, '^.*[1-9]', -places)
  if fraction then return sub(digits, 1, -places - 1) .. '.' .. fraction end
  return sub(digits, 1, -places - 1)
end

-- An error where it has more decimals: it is of a fold that was finer.
local function unplain(text, places)
  local whole, fraction = match(text, '^(%d+)%.?(%d*)$')
  if #fraction > places then error('too many decimals', 0) end
  return match(whole .. fraction .. sub(ZEROS, 1, places - #fraction), '^0*(.+)$')
end

local function plain_volume(digits) return plain(digits, volume_places) end

local function plain_quote(digits) return plain(digits, quote_places) end

local function unplain_volume(text) return unplain(text, volume_places) end

local function unplain_quote(text) return unplain(text, quote_places) end
