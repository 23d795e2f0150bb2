-- One call: look at all of its counters, then charge every one of them or none.
--
-- KEYS[i]       the counter of the i-th take
-- ARGV[1]       the time in microseconds since the epoch, or "" for this server's clock
-- ARGV[1 + i]   limit, window in microseconds, burst, 1 if a fixed window, 1 if enforced: five little-endian doubles
--
-- Answers the time, then four numbers per take: 1 if the limit lets the call pass, and what is used now, in the form
-- in which it is kept. A token bucket is kept as whole calls, the part of a further one (of `window` parts) and the
-- moment; a fixed window as calls, 0 and the number of the window. Neither depends on the limit.
--
-- Lua has doubles alone, which are exact for integers below 2^53 = 9.007e15. Everything here stays below: a time is
-- 1.8e15, a window at most 2.7e12, a limit at most 1e9. What leaks in a time is limit * time / window, whose product
-- would not; so it is worked out in digits to the base of 1000, no sum above 2 * 1000 * window. Quotients are exact,
-- because the remainder, which fmod gives exactly, is taken off first.

local fmod = math.fmod
local now, virtual
if ARGV[1] == "" then
  local time = redis.call("TIME")
  now, virtual = time[1] * 1000000 + time[2], false
else
  now, virtual = tonumber(ARGV[1]), true
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

local function look_window(value, window)
  local current = (now - fmod(now, window)) / window
  if value then
    local calls, _, at = struct.unpack("<ddd", value)
    if at == current or at == current + 1 then
      return calls, 0, at
    end
  end
  return 0, 0, current
end

local takes, charge = {}, true
for index, key in ipairs(KEYS) do
  local limit, window, burst, fixed, enforced = struct.unpack("<ddddd", ARGV[1 + index])
  local value, calls, part, at = redis.call("GET", key)
  if fixed == 1 then
    calls, part, at = look_window(value, window)
  else
    calls, part, at = look_bucket(value, limit, window, burst)
  end
  local ok = calls + (part > 0 and 2 or 1) <= burst
  if enforced == 1 and not ok then
    charge = false
  end
  takes[index] = {ok, calls, part, at, limit, window, fixed}
end

local answer = {now}
for index, key in ipairs(KEYS) do
  local ok, calls, part, at, limit, window, fixed = unpack(takes[index])
  if ok and charge then
    calls = calls + 1
    -- The key goes a second after it has run out; where time is not this server's, much later.
    local left = fixed == 1 and (at + 1) * window - now or at - now + (calls * window + part) / limit
    local expiry = math.ceil(left / 1000) + (virtual and 3600000 or 1000)
    redis.call("SET", key, struct.pack("<ddd", calls, part, at), "PX", string.format("%.0f", expiry))
  end
  local base = index * 4
  answer[base - 2], answer[base - 1], answer[base], answer[base + 1] = ok and 1 or 0, calls, part, at
end
return answer
