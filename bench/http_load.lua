-- What wrk sends, by the name in BENCH_LOAD, and its results as one line of JSON.
-- Owns no figures. Only "mix" makes its requests while it runs: Lua's time is the load's own.

local load = os.getenv("BENCH_LOAD") or "hello"
local depth = tonumber(os.getenv("BENCH_DEPTH") or "1")

for name, value in string.gmatch(os.getenv("BENCH_HEADERS") or "", "([^\n:]+): ([^\n]+)") do
   wrk.headers[name] = value
end

if load == "close" then
   wrk.headers["Connection"] = "close"
elseif load == "pipeline" then
   local all
   function init(args)
      all = string.rep(wrk.format("GET", "/"), depth)
   end
   function request()
      return all
   end
elseif load == "mix" then
   local all, turn = {}, 0
   function init(args)
      local fields = {
         ["Content-Type"] = "application/json",
         ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
         ["Accept"] = "application/json",
         ["Accept-Language"] = "en-US,en;q=0.5",
         ["Accept-Encoding"] = "gzip, deflate, br, zstd",
         ["Cookie"] = "session=8f14e45fceea167a5a36dedd4bea2543; theme=dark",
         ["Cache-Control"] = "no-cache",
         ["Host"] = wrk.headers["Host"],
      }
      local text = string.rep("x", 950)
      local body = '{"name": "a name", "tags": ["one", "two", "three"], "text": "' .. text .. '"}'
      for number = 1, 10 do
         all[number] = wrk.format("POST", "/items/" .. number, fields, body)
      end
   end
   function request()
      turn = turn % 10 + 1
      return all[turn]
   end
end

function done(summary, latency, requests)
   local e = summary.errors
   io.write(string.format(
      '{"messages": %d, "window_ns": %d, "bytes": %d, "p50_ns": %d, "p99_ns": %d, "p999_ns": %d, ' ..
      '"refused": %d, "disconnects": %d, "mismatches": %d, "missing": %d}\n',
      summary.requests, summary.duration * 1000, summary.bytes, latency:percentile(50) * 1000,
      latency:percentile(99) * 1000, latency:percentile(99.9) * 1000, e.connect, e.read + e.write,
      e.status, e.timeout))
end
