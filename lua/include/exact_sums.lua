-- Sums of any size from numbers that are doubles: the digits of an integer, added to as limbs of 15 decimal digits, which a
-- double holds exactly. A limb may be added to one other without care, so every sum carries at once.
--
-- Needs: `format`, `sub`, `match`, `tonumber` as locals.
-- Gives: two_limbs, three_limbs, add_two, add_three, plain, plain_volume, unplain.

local LIMB = 1000000000000000
local ZEROS = '0000000000000000'

local function two_limbs(digits)
  if #digits <= 15 then return 0, tonumber(digits) end
  return tonumber(sub(digits, 1, -16)), tonumber(sub(digits, -15))
end

local function three_limbs(digits)
  if #digits <= 15 then return 0, 0, tonumber(digits) end
  return tonumber(sub(digits, 1, -31)) or 0, tonumber(sub(digits, -30, -16)), tonumber(sub(digits, -15))
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

-- Digits of an integer number of 10^-places as a plain decimal, and back.
local function plain(digits, places)
  if #digits <= places then digits = sub(ZEROS, 1, places + 1 - #digits) .. digits end
  local fraction = match(sub(digits, -places), '^.*[1-9]')
  if fraction then return sub(digits, 1, -places - 1) .. '.' .. fraction end
  return sub(digits, 1, -places - 1)
end

-- The same for 8 places. A decimal of up to 15 digits survives being a double; `%.15g` writes it without exponent from
-- 0.0001 on.
local function plain_volume(digits)
  local length = #digits
  if length > 4 and length <= 15 then return format('%.15g', tonumber(digits) / 100000000) end
  return plain(digits, 8)
end

local function unplain(text, places)
  local whole, fraction = match(text, '^(%d+)%.?(%d*)$')
  return match(whole .. fraction .. sub(ZEROS, 1, places - #fraction), '^0*(.+)$')
end
