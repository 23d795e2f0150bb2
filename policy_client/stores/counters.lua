-- One call: look at all of its counters, then charge every one of them or none.
--
-- KEYS[i]       the counter of the i-th take
-- ARGV[1]       the time in microseconds since the epoch, or "" for this server's clock
-- ARGV[1 + i]   algorithm, limit, window in microseconds, burst, cost, set, lot: seven little-endian doubles
-- ARGV[2 + #KEYS]  whose the slots are, if there are any
--
-- The sets are decided apart: of 0 and 1 (the candidate's: 2 and 3) the odd ones are enforced and charged all or none,
-- the even ones are in shadow and charged only if that set lets the call pass and they would, too.
--
-- Answers the time, then four numbers per take: 1 if the limit lets the call pass, and what is used now, in the form
-- in which it is kept. A token bucket is kept as whole calls, the part of a further one (of `window` parts) and the
-- moment; a window or period as calls, 0 and its number; a sliding log (a list of moments) is told as calls, 0 and the
-- moment from which on enough has left it; slots (a sorted set of holders by the moment they lapse) as their number, 0
-- and the time. None of that depends on the limit.
--
-- Of a window or period a call may take a whole `lot` at once, or what is left of the limit, but never less than its
-- cost. What it took beyond its cost is told instead of the 0, and is not among the calls that are told.
--
-- Lua has doubles alone, which are exact for integers below 2^53 = 9.007e15. Everything here stays below: a time is
-- 1.8e15, a window at most 2.7e12, a limit at most 1e9. What leaks in a time is limit * time / window, whose product
-- would not; so it is worked out in digits to the base of 1000, no sum above 2 * 1000 * window. Quotients are exact,
-- because the remainder, which fmod gives exactly, is taken off first.

local BUCKET, FIXED, LOG, DAY, WEEK, MONTH, SLOTS = 0, 1, 2, 3, 4, 5, 6
local DAY_LENGTH = 86400000000

local fmod = math.fmod
local now, virtual
if ARGV[1] == "" then
  local time = redis.call("TIME")
  now, virtual = time[1] * 1000000 + time[2], false
else
  now, virtual = tonumber(ARGV[1]), true
end
local holder = ARGV[2 + #KEYS]

local function div(number, by)
  return (number - fmod(number, by)) / by
end

local function text(number)
  return string.format("%.0f", number)
end

-- A key goes a second after it has run out; where time is not this server's, much later.
local function ttl(left)
  return text(math.ceil(left / 1000) + (virtual and 3600000 or 1000))
end

-- A key that was not written now, but has no TTL or a longer one than it needs: the server's clock went back.
local function repair(key, left)
  local expiry = ttl(left)
  local known = redis.call("PTTL", key)
  if known == -1 or known > tonumber(expiry) + 1000 then
    redis.call("PEXPIRE", key, expiry)
  end
end

local function leaked(elapsed, limit, window)
  local calls, part, scale = 0, 0, 1000000000
  while scale >= 1 do
    local rest = fmod(limit, scale)
    local sum = part * 1000 + elapsed * ((limit - rest) / scale)
    part = fmod(sum, window)
    calls = calls * 1000 + (sum - part) / window
    limit, scale = rest, scale / 1000
  end
  return calls, part
end

local function look_bucket(value, limit, window, burst)
  if not value then
    return 0, 0, now
  end
  local calls, part, at = struct.unpack("<ddd", value)
  if calls >= burst then
    calls, part = burst, 0
  end
  if at > now then
    -- The clock went back: time stands still for this counter. By more than a window: the clock was wrong before, and
    -- the counter starts anew.
    if at - now > window then
      return 0, 0, now
    end
    return calls, part, at
  end
  local rest = fmod(now - at, window)
  local gone, gone_part = (now - at - rest) / window * limit, 0
  if gone <= calls then
    local more
    more, gone_part = leaked(rest, limit, window)
    gone = gone + more
  end
  calls, part = calls - gone, part - gone_part
  if part < 0 then
    calls, part = calls - 1, part + window
  end
  if calls < 0 then
    return 0, 0, now
  end
  return calls, part, now
end

-- Months since year 0 of a day since 1970-01-01, and the day on which such a month begins (Howard Hinnant, "chrono
-- -Compatible Low-Level Date Algorithms": eras of 400 years that begin in March).
local function month_of(days)
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  return (yoe + era * 400 + (month <= 2 and 1 or 0)) * 12 + month - 1
end

local function month_start(number)
  local year, month = math.floor(number / 12), fmod(number, 12) + 1
  if month <= 2 then
    year = year - 1
  end
  local era = math.floor(year / 400)
  local yoe = year - era * 400
  local doy = math.floor((153 * (month > 2 and month - 3 or month + 9) + 2) / 5)
  local doe = yoe * 365 + math.floor(yoe / 4) - math.floor(yoe / 100) + doy
  return era * 146097 + doe - 719468
end

-- The number of the window or period of now, and the moment at which number n of them ends.
local function number_of(algorithm, window)
  if algorithm == FIXED then
    return div(now, window)
  end
  local days = div(now, DAY_LENGTH)
  if algorithm == DAY then
    return days
  end
  return algorithm == WEEK and div(days + 3, 7) or month_of(days)
end

local function end_of(algorithm, window, number)
  if algorithm == FIXED then
    return (number + 1) * window
  elseif algorithm == DAY then
    return (number + 1) * DAY_LENGTH
  elseif algorithm == WEEK then
    return ((number + 1) * 7 - 3) * DAY_LENGTH
  end
  return month_start(number + 1) * DAY_LENGTH
end

local function look_window(value, algorithm, window)
  local current = number_of(algorithm, window)
  if value then
    local calls, _, at = struct.unpack("<ddd", value)
    if at == current or at == current + 1 then
      return calls, 0, at
    end
  end
  return 0, 0, current
end

local function look_log(key, limit, window, cost)
  local newest = tonumber(redis.call("LINDEX", key, -1) or 0)
  if newest - now > window then
    redis.call("DEL", key) -- the clock was wrong before
    newest = 0
  end
  local oldest = newest > 0 and tonumber(redis.call("LINDEX", key, 0))
  while oldest and oldest <= now - window do
    redis.call("LPOP", key)
    oldest = tonumber(redis.call("LINDEX", key, 0) or false)
  end
  if not oldest then
    return 0, 0, now + window
  end
  local calls = redis.call("LLEN", key)
  local need = math.min(math.max(1, calls + cost - limit), calls)
  return calls, 0, tonumber(redis.call("LINDEX", key, need - 1)) + window
end

local function look_slots(key, window)
  redis.call("ZREMRANGEBYSCORE", key, "-inf", text(now))
  -- Nobody may hold a slot for longer than an hour: it was taken when the server's clock was ahead. Whoever is alive
  -- renews it.
  for _, name in ipairs(redis.call("ZRANGEBYSCORE", key, "(" .. text(now + 3600000000), "+inf")) do
    redis.call("ZADD", key, text(now + window), name)
  end
  return redis.call("ZCARD", key), 0, now
end

local takes, charge = {}, {true, true}
for index, key in ipairs(KEYS) do
  local algorithm, limit, window, burst, cost, set, lot = struct.unpack("<ddddddd", ARGV[1 + index])
  local value, calls, part, at
  if algorithm == BUCKET then
    value = redis.call("GET", key)
    calls, part, at = look_bucket(value, limit, window, burst)
  elseif algorithm == LOG then
    calls, part, at = look_log(key, limit, window, cost)
  elseif algorithm == SLOTS then
    calls, part, at = look_slots(key, window)
  else
    value = redis.call("GET", key)
    calls, part, at = look_window(value, algorithm, window)
  end
  local ok = calls + cost + (part > 0 and 1 or 0) <= burst
  local beside = set > 1 and 2 or 1
  if fmod(set, 2) == 1 and not ok then
    charge[beside] = false
  end
  takes[index] = {ok, calls, part, at, algorithm, limit, window, cost, beside, lot, value}
end

local function left_of(algorithm, calls, part, at, limit, window)
  if algorithm == BUCKET then
    return at - now + (calls * window + part) / limit
  end
  return end_of(algorithm, window, at) - now
end

local function write(key, calls, part, at, algorithm, limit, window, cost)
  if algorithm == LOG then
    local newest = math.max(now, tonumber(redis.call("LINDEX", key, -1) or 0))
    for _ = 1, cost do
      redis.call("RPUSH", key, text(newest))
    end
    redis.call("PEXPIRE", key, ttl(newest + window - now))
  elseif algorithm == SLOTS then
    redis.call("ZADD", key, text(now + window), holder)
    local last = redis.call("ZRANGE", key, -1, -1, "WITHSCORES")
    redis.call("PEXPIRE", key, ttl(tonumber(last[2]) - now))
  else
    local left = left_of(algorithm, calls, part, at, limit, window)
    redis.call("SET", key, struct.pack("<ddd", calls, part, at), "PX", ttl(left))
  end
end

local function look_after(key, calls, part, at, algorithm, limit, window, value)
  if algorithm == LOG then
    if calls > 0 then
      repair(key, math.max(0, tonumber(redis.call("LINDEX", key, -1)) + window - now))
    end
  elseif algorithm == SLOTS then
    local last = redis.call("ZRANGE", key, -1, -1, "WITHSCORES")
    if last[2] then
      repair(key, tonumber(last[2]) - now)
    end
  elseif value then
    repair(key, left_of(algorithm, calls, part, at, limit, window))
  end
end

local answer = {now}
for index, key in ipairs(KEYS) do
  local ok, calls, part, at, algorithm, limit, window, cost, beside, lot, value = unpack(takes[index], 1, 11)
  if ok and charge[beside] then
    local more = lot > cost and math.min(lot, limit - calls) - cost or 0
    calls = calls + cost
    write(key, calls + more, part, at, algorithm, limit, window, cost)
    part = part + more
  else
    look_after(key, calls, part, at, algorithm, limit, window, value)
  end
  local base = index * 4
  answer[base - 2], answer[base - 1], answer[base], answer[base + 1] = ok and 1 or 0, calls, part, at
end
return answer
