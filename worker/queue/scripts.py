"""What Redis does for us in one piece: a few small Lua scripts, each atomic.

Keys (`ns` is the namespace). The first two are dramatiq's own format, which foreign producers write; the rest is ours,
so that nobody's maintenance touches it and ours touches nobody's:

    ns:<queue>                      list    ids that wait
    ns:<queue>.msgs                 hash    id -> body, until the message is done
    ns:<queue>.DQ, .DQ.msgs                 the same for messages that a producer sent with a delay
    ns:bell:<queue>:<kind>          string  a bell is outstanding
    ns:muster:hand:<process>:<queue> list   ids that this process has taken and not finished
    ns:muster:alive                 zset    process -> last heartbeat (milliseconds, the server's clock)
    ns:muster:queues                set     all queues that a process ever took from

Not for Redis Cluster: the keys are made from arguments.
"""

RING = """
local ns, queue, kind, life, slip, body = unpack(ARGV)
if not redis.call('set', ns .. ':bell:' .. queue .. ':' .. kind, slip, 'NX', 'PX', life) then
  return 0
end
redis.call('hset', ns .. ':' .. queue .. '.msgs', slip, body)
redis.call('rpush', ns .. ':' .. queue, slip)
return 1
"""
"""Set the flag and put the bell, both or neither."""

CLEAR = """
local ns, queue, kind = unpack(ARGV)
return redis.call('del', ns .. ':bell:' .. queue .. ':' .. kind)
"""

_PRESENT = """
local now = redis.call('time')
now = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('zadd', ns .. ':muster:alive', now, process)
"""
"""The heartbeat. By the server's clock, so that clocks of machines may differ as they like."""

ENTER = (
    """
local ns, process, queue = unpack(ARGV)
"""
    + _PRESENT
    + """
redis.call('sadd', ns .. ':muster:queues', queue)
return redis.call('lrange', ns .. ':muster:hand:' .. process .. ':' .. queue, 0, -1)
"""
)
"""Begin (again) to take from a queue; returns what the server believes this process has in hand."""

TAKE = """
local ns, process, queue, count, limit, shown, first = unpack(ARGV)
local list = ns .. ':' .. queue
local hand = ns .. ':muster:hand:' .. process .. ':' .. queue
local taken = {}
local function take(id)
  local body = redis.call('hget', list .. '.msgs', id)
  if not body then
    redis.call('lrem', hand, 0, id)
    table.insert(taken, {id, -1, ''})
  elseif #body > tonumber(limit) then
    table.insert(taken, {id, #body, string.sub(body, 1, shown)})
  else
    table.insert(taken, {id, #body, body})
  end
end
if first ~= '' then take(first) end
while #taken < tonumber(count) do
  local id = redis.call('lmove', list, hand, 'LEFT', 'RIGHT')
  if not id then break end
  take(id)
end
return taken
"""
"""Take up to `count` messages into the hand, `first` being there already. An id without a body is let go, with size -1."""

FINISH = """
local ns, process, queue = unpack(ARGV)
for i = 4, #ARGV do
  redis.call('lrem', ns .. ':muster:hand:' .. process .. ':' .. queue, 0, ARGV[i])
  redis.call('hdel', ns .. ':' .. queue .. '.msgs', ARGV[i])
end
"""
"""Delete messages that were dealt with, even if a copy of the id waits again: it is known to be done."""

PUT_BACK = """
local ns, process, queue, push = unpack(ARGV)
for i = 5, #ARGV do
  if redis.call('lrem', ns .. ':muster:hand:' .. process .. ':' .. queue, 0, ARGV[i]) > 0
     and redis.call('hexists', ns .. ':' .. queue .. '.msgs', ARGV[i]) > 0 then
    redis.call(push, ns .. ':' .. queue, ARGV[i])
  end
end
"""
"""Return messages from the hand to the queue: `lpush` to its head, `rpush` to its end."""

BEAT = (
    """
local ns, process, reap, dead_after, forget_after = unpack(ARGV)
"""
    + _PRESENT
    + """
local hands = {}
local reaped = 0
for i = 6, #ARGV do
  redis.call('sadd', ns .. ':muster:queues', ARGV[i])
end
local dead = {}
if reap == '1' then
  dead = redis.call('zrangebyscore', ns .. ':muster:alive', '-inf', now - dead_after)
end
for _, queue in ipairs(redis.call('smembers', ns .. ':muster:queues')) do
  local list = ns .. ':' .. queue
  for _, gone in ipairs(dead) do
    while redis.call('lmove', ns .. ':muster:hand:' .. gone .. ':' .. queue, list, 'RIGHT', 'LEFT') do
      reaped = reaped + 1
    end
  end
  for _ = 1, 1000 do
    local id = redis.call('lpop', list .. '.DQ')
    if not id then break end
    local body = redis.call('hget', list .. '.DQ.msgs', id)
    if body then
      redis.call('hset', list .. '.msgs', id, body)
      redis.call('rpush', list, id)
      redis.call('hdel', list .. '.DQ.msgs', id)
    end
  end
  table.insert(hands, {queue, redis.call('lrange', ns .. ':muster:hand:' .. process .. ':' .. queue, 0, -1)})
end
if reap == '1' then
  redis.call('zremrangebyscore', ns .. ':muster:alive', '-inf', now - forget_after)
end
return {reaped, hands}
"""
)
"""Heartbeat; give back what dead processes had in hand; bring delayed messages over (the ledger does the waiting);
return what the server believes is in this process's hands."""

ENQUEUE = """
local ns, queue, slip, body = unpack(ARGV)
redis.call('hset', ns .. ':' .. queue .. '.msgs', slip, body)
return redis.call('rpush', ns .. ':' .. queue, slip)
"""

LEAVE = """
local ns, process = unpack(ARGV)
return redis.call('zadd', ns .. ':muster:alive', 'XX', 1, process)
"""
"""Be counted among the dead from now on: should a pop of this process still be under way, the others take over what it takes."""

PURGE = """
local ns, queue = unpack(ARGV)
return redis.call('del', ns .. ':' .. queue, ns .. ':' .. queue .. '.msgs')
"""
