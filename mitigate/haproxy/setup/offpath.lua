-- What offpath's rules ask of Lua: the fingerprint of the program behind a request, and
-- which verdict about more than an address applies to it. Every thread has a copy of its
-- own (lua-load-per-thread).

local verdicts = "offpath_verdicts"

-- client.ignore_headers comes in the variable proc.offpath_ignore, with colons between.
-- (HAProxy 2.6 hands no arguments to a script that is loaded per thread.)
local learned = false

local function learn(txn)
  if learned then return end
  learned = true
  for name in (txn:get_var("proc.offpath_ignore") or ""):gmatch("[^:]+") do ignore(name) end
end

local function hash(txn, text)
  return txn.c:hex(txn.c:sha2(text, 256)):lower()
end

local function fingerprint(txn)
  learn(txn)
  local headers = txn.http:req_get_headers()
  local function value(name) return joined(name, headers[name], 0) end -- they begin at 0
  return fingerprint_of(txn.f:req_hdr_names(",") or "",
    value("accept-encoding"), value("accept-charset"), value("accept-language"), value("user-agent"),
    function(text) return hash(txn, text) end)
end

core.register_fetches("offpath_fingerprint", fingerprint)

local function host(txn)
  return host_of(authority(txn.f:url() or "") or txn.f:req_fhdr("host") or "")
end

-- The first 64 bits of an IPv6 address as HAProxy writes it, as the text of a network.
local function network64(address)
  if not address or not address:find(":", 1, true) then return nil end
  local function groups(text)
    local list = {}
    for group in text:gmatch("[^:]+") do
      list[#list + 1] = group
      if group:find(".", 1, true) then list[#list + 1] = "" end -- 192.0.2.1 is two
    end
    return list
  end
  local left, right = address:match("^(.-)::(.*)$")
  local head, tail = groups(left or address), groups(right or "")
  local zeros = 8 - #head - #tail
  local first = {}
  for i = 1, 4 do
    first[i] = head[i] or i > #head + zeros and tail[i - #head - zeros] or "0"
  end
  while first[#first] == "0" do first[#first] = nil end
  return table.concat(first, ":") .. "::"
end

local readers = {
  address = function(txn) return txn:get_var("txn.offpath_ip") end,
  network = function(txn) return network64(txn:get_var("txn.offpath_ip")) end,
  fingerprint = fingerprint,
  user_agent = function(txn)
    local values = txn.http:req_get_headers()["user-agent"]
    return values and values[0]
  end,
  endpoint = function(txn, known)
    local path = txn.f:path()
    if not path and authority(txn.f:url() or "") then path = "/" end
    path = path and normal(path)
    if not path then return nil end
    if known.domain == nil then known.domain = host(txn) end
    return txn.f:method() .. " " .. known.domain .. path
  end,
  domain = host,
}

-- Those of order that are in force, by the two words of the row "shapes"; the latest
-- answer is kept, since that row seldom changes.
local in_force, last_low, last_high = {}, 0, 0

local function shapes(low, high)
  if low ~= last_low or high ~= last_high then
    in_force, last_low, last_high = {}, low, high
    for _, shape in ipairs(order) do
      local word, bit = low, shape
      if shape >= 32 then word, bit = high, shape - 32 end
      if word & (1 << bit) ~= 0 then in_force[#in_force + 1] = shape end
    end
  end
  return in_force
end

-- The key of the row that applies to a request: the most specific that is enforced, else
-- the most specific that only watches.
core.register_fetches("offpath_predicate", function(txn)
  local now, known, watched = txn:get_var("txn.offpath_now"), {}, nil
  for _, shape in ipairs(shapes(txn.c:table_gpt0("shapes", verdicts), txn.c:table_gpc1("shapes", verdicts))) do
    local text = text_of(readers, txn, shape, known)
    local key = text and "p:" .. hash(txn, text)
    if key and txn.c:table_gpc0(key, verdicts) > now then
      local action = txn.c:table_gpt0(key, verdicts)
      if action >= 1 and action <= 4 then return key end
      watched = watched or key
    end
  end
  return watched
end)
