-- Compare and append: add these entries if the stream ends where the relay thinks it does, otherwise say where it ends.
-- KEYS[1] stream; ARGV[1] the id it should end with; then id, envelope, attempt of each entry.
-- Returns {1, length} or {0, last id}. One key a call, so Redis Cluster takes it.
local top = '0-0'
local info = redis.pcall('XINFO', 'STREAM', KEYS[1])
if not info.err then
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then top = info[i + 1] end
  end
end
if top ~= ARGV[1] then return {0, top} end
for i = 2, #ARGV, 3 do
  redis.call('XADD', KEYS[1], ARGV[i], 'envelope', ARGV[i + 1], 'attempt', ARGV[i + 2])
end
return {1, redis.call('XLEN', KEYS[1])}
