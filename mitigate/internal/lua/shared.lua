-- What offpath's scripts for load balancers have in common: which program a request is
-- of, and which members of a predicate it has. Pure functions of text, in what Lua 5.1
-- (LuaJIT) and 5.4 both understand; each script has this before its own part.

-- The header fields that count in a fingerprint, but for those of client.ignore_headers.
local counted = {
  ["accept"] = true, ["accept-charset"] = true, ["accept-encoding"] = true, ["accept-language"] = true,
  ["sec-ch-ua"] = true, ["sec-ch-ua-mobile"] = true, ["sec-ch-ua-platform"] = true,
  ["sec-fetch-dest"] = true, ["sec-fetch-mode"] = true, ["sec-fetch-site"] = true, ["user-agent"] = true,
}

local function ignore(name) counted[name:lower()] = nil end

-- The values of a field as far as they count; values begin at the index first.
local function joined(name, values, first)
  if not counted[name] or not values then return "" end
  return table.concat(values, ",", first):sub(1, 512)
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

-- The fingerprint by the names of a request's fields in lower case, with commas between,
-- and what counts of four values; hash is SHA-256 as text in lower-case hex.
local function fingerprint_of(names, encoding, charset, language, agent, hash)
  local made_of = table.concat({names, encoding, charset, language, agent}, "\n")
  local result = #made_of <= 2048 and remembered[made_of]
  if result then return result end
  result = hash(table.concat({
    "core 1", counting(names), compact(encoding), compact(charset), habits(language), masked(agent),
  }, "\n")):sub(1, 16)
  if #made_of <= 2048 then
    if size == 1000 then remembered, size = {}, 0 end
    remembered[made_of], size = result, size + 1
  end
  return result
end

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
  local kept = {}
  for segment in path:gmatch("[^/]+") do
    local parameter = segment:find(";", 1, true)
    if parameter then segment = segment:sub(1, parameter - 1) end
    if segment == ".." then
      kept[#kept] = nil
    elseif segment ~= "" and segment ~= "." then
      if #kept == 16 then return nil end
      kept[#kept + 1] = segment
    end
  end
  return "/" .. table.concat(kept, "/")
end

-- The authority of a request-target in absolute form, which wins over Host; nil: none.
local function authority(target)
  local text = target:match("^%a[%w+.-]*://([^/?#]*)")
  return text ~= "" and text or nil
end

-- A host without user information, port and the dot of the root, in lower case.
local function host_of(text)
  text = (text:match("^.*@(.*)$") or text):lower()
  if text:sub(1, 1) == "[" then
    text = text:match("^%[[^%]]*%]") or text
  else
    text = text:match("^([^:]*):[^:]*$") or text
  end
  return (text:gsub("%.$", ""))
end

-- The members of a predicate in the order of its text: the bit in its shape, and its name.
local members = {
  {1, "address"}, {2, "network"}, {4, "fingerprint"}, {8, "user_agent"}, {16, "endpoint"}, {32, "domain"},
}

local function has(shape, bit) return shape % (2 * bit) >= bit end

-- All shapes, those with most members first: the most specific verdict wins.
local order = {}
do
  local function count(shape)
    local n = 0
    for _, member in ipairs(members) do
      if has(shape, member[1]) then n = n + 1 end
    end
    return n
  end
  for shape = 1, 63 do order[#order + 1] = shape end
  table.sort(order, function(a, b)
    local na, nb = count(a), count(b)
    if na ~= nb then return na > nb end
    return a < b
  end)
end

-- The text of a request's members of a shape; nil if it lacks one. readers say by name how
-- a load balancer reads a member (nil: the request has none); known are those already read.
local function text_of(readers, request, shape, known)
  local text = {}
  for _, member in ipairs(members) do
    if has(shape, member[1]) then
      local name = member[2]
      if known[name] == nil then known[name] = readers[name](request, known) or false end
      if not known[name] then return nil end
      text[#text + 1] = name .. " " .. known[name] .. "\n"
    end
  end
  return table.concat(text)
end
