-- What offpath's rules ask of Lua: the fingerprint of the program behind a request, and
-- which verdict about more than an address applies to it. Every thread has a copy of its
-- own (lua-load-per-thread).

local verdicts = "offpath_verdicts"

-- The header fields that count, less those of client.ignore_headers, which the variable
-- proc.offpath_ignore lists with colons between. (HAProxy 2.6 hands no arguments to a
-- script that is loaded per thread.)
local counted = {
  ["accept"] = true, ["accept-charset"] = true, ["accept-encoding"] = true, ["accept-language"] = true,
  ["sec-ch-ua"] = true, ["sec-ch-ua-mobile"] = true, ["sec-ch-ua-platform"] = true,
  ["sec-fetch-dest"] = true, ["sec-fetch-mode"] = true, ["sec-fetch-site"] = true, ["user-agent"] = true,
}
local learned = false

local function learn(txn)
  if learned then return end
  learned = true
  for name in (txn:get_var("proc.offpath_ignore") or ""):gmatch("[^:]+") do counted[name:lower()] = nil end
end

local function joined(headers, name)
  local values = counted[name] and headers[name]
  if not values then return "" end
  local all = {}
  for i = 0, #values do all[#all + 1] = values[i] end -- they begin at 0
  return table.concat(all, ","):sub(1, 512)
end

local function compact(value)
  return (value:gsub("[ \t]", "")):lower()
end

local function habits(value)
  local letters = ""
  if value:find("%-[a-z]") then letters = letters .. "l" end
  if value:find("=[^0]") or value:find("=$") then letters = letters .. "q" end
  if value:find("[ \t]") then letters = letters .. "s" end
  if value:find("_") then letters = letters .. "u" end
  if value:find("%*") then letters = letters .. "w" end
  return letters
end

local function masked(value)
  value = value:gsub("Android[^()]*%)", "Android)")
  value = value:gsub("[0-9A-Fa-f-]+", function(run) if #run >= 16 then return "#" end end)
  return (value:gsub("[0-9][0-9._]*", "#"))
end

local function hash(txn, text)
  return txn.c:hex(txn.c:sha2(text, 256)):lower()
end

-- The names of the fields that count, of all names of a request.
local function counting(all)
  local names, seen = {}, {}
  for name in all:gmatch("[^,]+") do
    if counted[name] and not seen[name] then
      seen[name] = true
      names[#names + 1] = name
    end
  end
  return table.concat(names, ",")
end

-- The latest thousand fingerprints by what they are made of: masking takes longest, and
-- programs are few.
local remembered, size = {}, 0

local function fingerprint(txn)
  learn(txn)
  local names, headers = txn.f:req_hdr_names(",") or "", txn.http:req_get_headers()
  local encoding, charset = joined(headers, "accept-encoding"), joined(headers, "accept-charset")
  local language, agent = joined(headers, "accept-language"), joined(headers, "user-agent")
  local made_of = table.concat({names, encoding, charset, language, agent}, "\n")
  local result = #made_of <= 2048 and remembered[made_of]
  if result then return result end
  result = hash(txn, table.concat({
    "core 1", counting(names), compact(encoding), compact(charset), habits(language), masked(agent),
  }, "\n")):sub(1, 16)
  if #made_of <= 2048 then
    if size == 1000 then remembered, size = {}, 0 end
    remembered[made_of], size = result, size + 1
  end
  return result
end

core.register_fetches("offpath_fingerprint", fingerprint)

-- The patterns below are linear in what a client chose; those above see 512 octets of a
-- value at most.

-- A path as offpath names it: without empty segments, ;parameters and dot segments, and
-- with letters, digits and -._~ as they are where they are percent-encoded. With more than
-- 16 segments it has no name that a verdict could be about.
local function normal(path)
  path = path:gsub("%%(%x%x)", function(digits)
    local octet = string.char(tonumber(digits, 16))
    if octet:find("^[%w._~-]") then return octet end
  end)
  path = path:gsub(";[^/]*", ""):gsub("//+", "/"):gsub("/%.%f[/\0]", "")
  local kept = {}
  for segment in path:gmatch("[^/]+") do
    if segment == ".." then
      kept[#kept] = nil
    elseif #kept == 16 then
      return nil
    else
      kept[#kept + 1] = segment
    end
  end
  return "/" .. table.concat(kept, "/")
end

-- The authority of a request-target in absolute form, which wins over Host; nil: none.
local function authority(txn)
  local text = (txn.f:url() or ""):match("^%a[%w+.-]*://([^/?#]*)")
  return text ~= "" and text or nil
end

-- The host without user information, port and the dot of the root, in lower case.
local function host(txn)
  local text = authority(txn) or txn.f:req_fhdr("host") or ""
  text = (text:match("^.*@(.*)$") or text):lower()
  if text:sub(1, 1) == "[" then
    text = text:match("^%[[^%]]*%]") or text
  else
    text = text:match("^([^:]*):[^:]*$") or text
  end
  return (text:gsub("%.$", ""))
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

-- The members of a predicate, in the order of its text: the bit in its shape, its name,
-- and how a request has it (nil: not at all).
local members = {
  {1, "address", function(txn) return txn:get_var("txn.offpath_ip") end},
  {2, "network", function(txn) return network64(txn:get_var("txn.offpath_ip")) end},
  {4, "fingerprint", fingerprint},
  {8, "user_agent", function(txn)
    local values = txn.http:req_get_headers()["user-agent"]
    return values and values[0]
  end},
  {16, "endpoint", function(txn, known)
    local path = txn.f:path()
    if not path and authority(txn) then path = "/" end
    path = path and normal(path)
    if not path then return nil end
    if known.domain == nil then known.domain = host(txn) end
    return txn.f:method() .. " " .. known.domain .. path
  end},
  {32, "domain", host},
}

-- All shapes, those with most members first: the most specific verdict wins.
local order = {}
do
  local function size(shape)
    local n = 0
    while shape > 0 do n, shape = n + shape % 2, shape // 2 end
    return n
  end
  for shape = 1, 63 do order[#order + 1] = shape end
  table.sort(order, function(a, b)
    local na, nb = size(a), size(b)
    if na ~= nb then return na > nb end
    return a < b
  end)
end

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

-- The text of a request's members of a shape, of which known are those already asked for;
-- nil if it lacks one.
local function text_of(txn, shape, known)
  local text = {}
  for _, member in ipairs(members) do
    if shape & member[1] ~= 0 then
      local name = member[2]
      if known[name] == nil then known[name] = member[3](txn, known) or false end
      if not known[name] then return nil end
      text[#text + 1] = name .. " " .. known[name] .. "\n"
    end
  end
  return table.concat(text)
end

-- The key of the row that applies to a request: the most specific that is enforced, else
-- the most specific that only watches.
core.register_fetches("offpath_predicate", function(txn)
  local now, known, watched = txn:get_var("txn.offpath_now"), {}, nil
  for _, shape in ipairs(shapes(txn.c:table_gpt0("shapes", verdicts), txn.c:table_gpc1("shapes", verdicts))) do
    local text = text_of(txn, shape, known)
    local key = text and "p:" .. hash(txn, text)
    if key and txn.c:table_gpc0(key, verdicts) > now then
      local action = txn.c:table_gpt0(key, verdicts)
      if action >= 1 and action <= 4 then return key end
      watched = watched or key
    end
  end
  return watched
end)
