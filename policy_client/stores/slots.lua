-- Slots of one holder: hold them for longer, or give them back.
--
-- KEYS[i]      the slots of the i-th concurrency limit
-- ARGV[1]      the time in microseconds since the epoch, or "" for this server's clock
-- ARGV[2]      whose they are
-- ARGV[3]      "renew" or "release"
-- ARGV[3 + i]  limit and window in microseconds: two little-endian doubles
--
-- Answers 1 if all of them are held. One that lapsed is taken anew if there is room.

local now, virtual
if ARGV[1] == "" then
  local time = redis.call("TIME")
  now, virtual = time[1] * 1000000 + time[2], false
else
  now, virtual = tonumber(ARGV[1]), true
end

local held = 1
for index, key in ipairs(KEYS) do
  if ARGV[3] == "release" then
    redis.call("ZREM", key, ARGV[2])
  else
    local limit, window = struct.unpack("<dd", ARGV[3 + index])
    redis.call("ZREMRANGEBYSCORE", key, "-inf", string.format("%.0f", now))
    if redis.call("ZSCORE", key, ARGV[2]) or redis.call("ZCARD", key) < limit then
      redis.call("ZADD", key, string.format("%.0f", now + window), ARGV[2])
      local last = redis.call("ZRANGE", key, -1, -1, "WITHSCORES")
      local left = math.ceil((tonumber(last[2]) - now) / 1000)
      redis.call("PEXPIRE", key, string.format("%.0f", left + (virtual and 3600000 or 1000)))
    else
      held = 0
    end
  end
end
return held
