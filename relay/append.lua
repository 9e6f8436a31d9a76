-- Compare and append: add these entries if the stream ends where the relay thinks it does, otherwise say where it ends.
-- KEYS[1] stream; ARGV[1] the id it should end with; ARGV[2] the attempt number of them all; then id, envelope of each.
-- Returns {1, length} or {0, last id}. One key a call, so Redis Cluster takes it.
local top = '0-0'
local info = redis.pcall('XINFO', 'STREAM', KEYS[1])
if not info.err then
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then top = info[i + 1] end
  end
end
if top ~= ARGV[1] then return {0, top} end
local call, stream, argv, attempt = redis.call, KEYS[1], ARGV, ARGV[2]
for i = 3, #argv, 2 do
  call('XADD', stream, argv[i], 'envelope', argv[i + 1], 'attempt', attempt)
end
return {1, call('XLEN', stream)}
