-- What Envoy does about verdicts. A filter before this one (offpath_verdicts) has looked
-- up the client's address and left the rows of it and of its networks in the request's
-- metadata, most specific first; here is found which row applies, by this machine's clock.
-- Whatever fails lets the request through.
--
-- Before this stand the lines that offpath writes: mode (0 off, 1 monitor, 2 enforce),
-- rows_text (lines of a predicate's hash and its row) and shapes_text (which shapes there
-- are), and ignore_names.

for name in ignore_names:gmatch("%S+") do ignore(name) end

-- ===== SHA-256 (FIPS 180-4) =====

local bit = require "bit"
local band, bnot, bxor, ror, rshift, tobit = bit.band, bit.bnot, bit.bxor, bit.ror, bit.rshift, bit.tobit

-- The first 32 bits of the fractional parts of roots of the first primes.
local round, initial = {}, {}
do
  local function fraction(x) return tobit(math.floor((x - math.floor(x)) * 2 ^ 32)) end
  local n, candidate = 0, 2
  while n < 64 do
    local prime = true
    for divisor = 2, math.floor(math.sqrt(candidate)) do
      if candidate % divisor == 0 then prime = false end
    end
    if prime then
      n = n + 1
      -- A double has 53 bits: the cube root's are made right by a step of Newton's.
      local root = candidate ^ (1 / 3)
      root = root - (root * root * root - candidate) / (3 * root * root)
      round[n] = fraction(root)
      if n <= 8 then initial[n] = fraction(math.sqrt(candidate)) end
    end
    candidate = candidate + 1
  end
end

local w = {}

local function sha256(text)
  local length = #text
  local padded = text .. "\128" .. ("\0"):rep((55 - length) % 64)
  for shift = 56, 0, -8 do
    padded = padded .. string.char(math.floor(length * 8 / 2 ^ shift) % 256)
  end
  local h1, h2, h3, h4, h5, h6, h7, h8 = unpack(initial)
  for at = 1, #padded, 64 do
    for i = 0, 15 do
      local a, b, c, d = padded:byte(at + 4 * i, at + 4 * i + 3)
      w[i + 1] = tobit(a * 2 ^ 24 + b * 2 ^ 16 + c * 2 ^ 8 + d)
    end
    for i = 17, 64 do
      local x, y = w[i - 15], w[i - 2]
      w[i] = tobit(w[i - 16] + bxor(ror(x, 7), ror(x, 18), rshift(x, 3)) + w[i - 7] + bxor(ror(y, 17), ror(y, 19), rshift(y, 10)))
    end
    local a, b, c, d, e, f, g, h = h1, h2, h3, h4, h5, h6, h7, h8
    for i = 1, 64 do
      local t1 = h + bxor(ror(e, 6), ror(e, 11), ror(e, 25)) + bxor(band(e, f), band(bnot(e), g)) + round[i] + w[i]
      local t2 = bxor(ror(a, 2), ror(a, 13), ror(a, 22)) + bxor(band(a, b), band(a, c), band(b, c))
      h, g, f, e, d, c, b, a = g, f, e, tobit(d + t1), c, b, a, tobit(t1 + t2)
    end
    h1, h2, h3, h4 = tobit(h1 + a), tobit(h2 + b), tobit(h3 + c), tobit(h4 + d)
    h5, h6, h7, h8 = tobit(h5 + e), tobit(h6 + f), tobit(h7 + g), tobit(h8 + h)
  end
  local words = {h1, h2, h3, h4, h5, h6, h7, h8}
  for i = 1, 8 do words[i] = bit.tohex(words[i]) end
  return table.concat(words)
end

-- ===== what a request is =====

local function fingerprint(headers)
  local names = {}
  for name in pairs(headers) do
    if counted[name] then names[#names + 1] = name end
  end
  local function value(name) return joined(name, {headers:get(name)}, 1) end
  return fingerprint_of(table.concat(names, ","),
    value("accept-encoding"), value("accept-charset"), value("accept-language"), value("user-agent"), sha256)
end

-- The address without its port, IPv4-mapped ones as IPv4; nil on a unix socket.
local function address_of(text)
  local address = text:match("^%[([%x:.]+)%]:%d+$") or text:match("^(%d+%.%d+%.%d+%.%d+):%d+$")
  return address and (address:match("^::ffff:(%d+%.%d+%.%d+%.%d+)$") or address)
end

local function host(headers) return host_of(headers:get(":authority") or "") end

local readers = {
  fingerprint = fingerprint,
  user_agent = function(headers) return headers:get("user-agent") end,
  endpoint = function(headers, known)
    local path = normal((headers:get(":path") or ""):match("^[^?#]*"))
    if not path then return nil end
    if known.domain == nil then known.domain = host(headers) end
    return headers:get(":method") .. " " .. known.domain .. path
  end,
  domain = host,
}

-- ===== verdicts =====

-- A row is the action (b block, r rate limit, t tag; in capitals if the verdict only
-- watches), in hex digits the second of expiry (8) and the id (16), and of a rate limit
-- N/SECONDS.
local rows, shapes = {}, {}
for key, row in rows_text:gmatch("(%x+) (%S+)\n") do rows[key] = row end
do
  local there = {}
  for shape in shapes_text:gmatch("%d+") do there[tonumber(shape)] = true end
  for _, shape in ipairs(order) do
    if there[shape] then shapes[#shapes + 1] = shape end
  end
end

local function live(row, now) return tonumber(row:sub(2, 9), 16) > now end
local function firm(row) local action = row:byte() return action == 98 or action == 114 end

-- The row that applies: the first that is enforced of the address's and its networks',
-- longest first, and the predicates', most members first; without one the first that only
-- watches.
local function find(policy, headers, address, now)
  local watched
  for row in policy:gmatch("%w+[%w/]*") do
    if live(row, now) then
      if firm(row) then return row end
      watched = watched or row
    end
  end
  local known = {address = address or false}
  for _, shape in ipairs(shapes) do
    local text = text_of(readers, headers, shape, known)
    local row = text and rows[sha256(text)]
    if row and live(row, now) then
      if firm(row) then return row end
      watched = watched or row
    end
  end
  return watched
end

local function strip(headers)
  local forged
  for name in pairs(headers) do
    if name:find("^x[-_]offpath[-_]") then
      forged = forged or {}
      forged[#forged + 1] = name
    end
  end
  for _, name in ipairs(forged or {}) do headers:remove(name) end
end

-- The id if the request is to be refused.
local function decide(handle)
  local headers = handle:headers()
  strip(headers)
  if mode == 0 then return end
  local info = handle:streamInfo()
  local metadata = info:dynamicMetadata()
  local found = metadata:get("envoy.filters.http.rbac")
  local policy = found and found["offpath_shadow_effective_policy_id"]
  if not policy then return end -- there is no list
  if policy:find("-", 1, true) then return end -- on the allow-list
  local now = os.time()
  local row = find(policy, headers, address_of(info:downstreamRemoteAddress()), now)
  if not row then return end
  local id = row:sub(10, 25)
  metadata:set("offpath", "id", id)
  headers:replace("x-offpath-verdict", id)
  if mode ~= 2 or not firm(row) then return end
  metadata:set("offpath", "firm", true)
  if row:byte() == 98 then return id end
  -- The filter behind this one counts, by the rate, the period and the client's address.
  local rate = row:sub(26)
  local seconds = tonumber(rate:match("/(%d+)$"))
  metadata:set("offpath", "rate", rate)
  metadata:set("offpath", "period", ("%d"):format(math.floor(now / seconds)))
  metadata:set("offpath", "retry", ("%d"):format(seconds - now % seconds))
end

local complained = 0

function envoy_on_request(handle)
  local well, id = pcall(decide, handle)
  if not well then
    if os.time() ~= complained then
      complained = os.time()
      handle:logErr("offpath: request let through: " .. tostring(id))
    end
    return
  end
  if id then handle:respond({[":status"] = "403", ["content-type"] = "text/plain"}, "Forbidden\n") end
end

-- Only refusals carry the marker, whatever a backend sends: what did not come as far as the
-- filter offpath_passed was refused here or by the filter that counts.
function envoy_on_response(handle)
  local metadata, headers = handle:streamInfo():dynamicMetadata(), handle:headers()
  local ours = metadata:get("offpath")
  if ours and ours.firm and not metadata:get("offpath_passed") then
    headers:replace("x-offpath-refused", ours.id)
    if ours.retry then headers:replace("retry-after", ours.retry) end
  else
    headers:remove("x-offpath-refused")
  end
end
