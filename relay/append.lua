-- Compare and append: add these entries if the stream ends where the relay thinks it does, otherwise say where it ends.
-- KEYS[1] stream; ARGV[1] the id it should end with; ARGV[2] the attempt number of them all; ARGV[3] what every id
-- begins with; ARGV[4] a line an entry: the rest of its id, a space, its envelope (JSON, so no line break is in it).
-- One argument for all of them, since Redis spends more on an argument than Lua on finding the next line. Ids are never
-- numbers here: Lua's end at 2^53. Returns {1, length} or {0, last id}. One key a call, so Redis Cluster takes it.
local top = '0-0'
local info = redis.pcall('XINFO', 'STREAM', KEYS[1])
if not info.err then
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then top = info[i + 1] end
  end
end
if top ~= ARGV[1] then return {0, top} end
local call, find, sub = redis.call, string.find, string.sub
local stream, attempt, begin, lines = KEYS[1], ARGV[2], ARGV[3], ARGV[4]
local at, length = 1, #lines
while at <= length do
  local space = find(lines, ' ', at, true)
  local stop = find(lines, '\n', space, true)
  call('XADD', stream, begin .. sub(lines, at, space - 1), 'envelope', sub(lines, space + 1, stop - 1), 'attempt', attempt)
  at = stop + 1
end
return {1, call('XLEN', stream)}
