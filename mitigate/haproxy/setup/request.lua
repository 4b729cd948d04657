-- What HAProxy knows of a request that verdicts are about: the fingerprint of the program
-- behind it, and the members of a predicate. Every thread has a copy of its own
-- (lua-load-per-thread).

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
