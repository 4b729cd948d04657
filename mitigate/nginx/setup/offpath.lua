-- What nginx does about verdicts: which one concerns a request, and the orders of offpath.
-- init_by_lua loads it with its settings; it returns three functions. Whatever fails in
-- here lets the request through, and is counted.

local settings = ...

local setup = 1 -- raised when this does other things with what offpath writes
local shard_count = 16

local ffi = require "ffi"
local bit = require "bit"
local base = require "resty.core.base"
local C = ffi.C

for _, name in ipairs(settings.ignore) do ignore(name) end

-- Rows of verdicts lie in several dictionaries, so that one can be listed without a stall of
-- the others. In which, a client can't know: by a hash that begins with what was drawn at
-- the start. state holds what there is once; rates and hits may forget what is oldest.
local state, rates, hits = ngx.shared.offpath_state, ngx.shared.offpath_rates, ngx.shared.offpath_hits
local shards = {}
for i = 1, shard_count do
  shards[i] = assert(ngx.shared["offpath_verdicts_" .. (i - 1)], "a lua_shared_dict is missing")
end
assert(state and rates and hits, "a lua_shared_dict is missing")

-- Names of our own, since others may have declared these functions otherwise.
ffi.cdef [[
  int offpath_sha256_init(void *context) __asm__("SHA256_Init");
  int offpath_sha256_update(void *context, const void *text, size_t length) __asm__("SHA256_Update");
  int offpath_sha256_final(unsigned char *digest, void *context) __asm__("SHA256_Final");
  unsigned char *offpath_hex(unsigned char *to, const unsigned char *from, size_t length) __asm__("ngx_hex_dump");
]]
local context, digest, digits = ffi.new("uint64_t[32]"), ffi.new("unsigned char[32]"), ffi.new("unsigned char[64]")

local function hash(text)
  C.offpath_sha256_init(context)
  C.offpath_sha256_update(context, text, #text)
  C.offpath_sha256_final(digest, context)
  C.offpath_hex(digits, digest, 32)
  return ffi.string(digits, 64)
end

-- The start: whoever finds another one knows that what was here is gone. A reload keeps the
-- dictionaries; if it made one of them anew, all begin anew, but for a person's off.
local function begin()
  local start, off = state:get("start"), state:get("off")
  local whole = start ~= nil
  for _, shard in ipairs(shards) do whole = whole and shard:get("start") == start end
  if whole then return end
  local source = assert(io.open("/dev/urandom", "rb"))
  start = hash(source:read(32)):sub(1, 16)
  source:close()
  local all = {state}
  for _, shard in ipairs(shards) do all[#all + 1] = shard end
  for _, dictionary in ipairs(all) do
    dictionary:flush_all()
    dictionary:flush_expired()
    assert(dictionary:safe_set("start", start))
  end
  if off then state:safe_set("off", off) end
end

begin()

local token -- its hash
do
  local file, problem = io.open(settings.token_file, "rb")
  local text = file and file:read(65536)
  if file then file:close() end
  text = text and text:gsub("\r?\n$", "") or ""
  if text ~= "" then
    token = hash(text)
  else
    ngx.log(ngx.ERR, "offpath: no token: ", problem or settings.token_file .. " is empty", "; no orders are taken")
  end
end

-- ===== addresses: 8 or 32 hex digits; IPv4-mapped ones are IPv4 =====

local function hex(octets)
  C.offpath_hex(digits, octets, #octets)
  return ffi.string(digits, 2 * #octets)
end

local function unmapped(address)
  if #address == 32 and address:sub(1, 24) == "00000000000000000000ffff" then return address:sub(25) end
  return address
end

local nibbles = {}
for value = 0, 15 do
  for bits = 1, 3 do
    nibbles[bits .. string.format("%x", value)] = string.format("%x", bit.band(value, bit.bnot(bit.rshift(15, bits))))
  end
end

-- The key of the network of a length that an address is in.
local function network_key(address, bits)
  local whole, rest = math.floor(bits / 4), bits % 4
  local key = (#address == 8 and "4/" or "6/") .. bits .. "/" .. address:sub(1, whole)
  if rest > 0 then key = key .. nibbles[rest .. address:sub(whole + 1, whole + 1)] end
  return key
end

-- A set of networks by their keys.
local function networks(keys)
  local set, lengths = {}, {[8] = {}, [32] = {}}
  for _, key in ipairs(keys) do
    local family, bits = key:match("^([46])/(%d+)/")
    local digits = family == "4" and 8 or 32
    set[key] = true
    lengths[digits][tonumber(bits)] = true
  end
  for digits, list in pairs(lengths) do
    local all = {}
    for bits in pairs(list) do all[#all + 1] = bits end
    lengths[digits] = all
  end
  return {set = set, lengths = lengths}
end

local function covers(of, address)
  for _, bits in ipairs(of.lengths[#address]) do
    if of.set[network_key(address, bits)] then return true end
  end
  return false
end

local function ipv4(text)
  local a, b, c, d = text:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$")
  if not a then return nil end
  local all = ""
  for _, octet in ipairs {a, b, c, d} do
    if #octet > 3 or tonumber(octet) > 255 or #octet > 1 and octet:sub(1, 1) == "0" then return nil end
    all = all .. string.format("%02x", tonumber(octet))
  end
  return all
end

local function ipv6(text)
  text = text:match("^([^%%]*)%%.+$") or text -- without a zone
  local before, after = text:match("^(.-)::(.*)$")
  if after and after:find("::", 1, true) or after == nil and not text:find(":", 1, true) then return nil end
  local function groups(part, last)
    if part == "" then return "" end
    local all = ""
    for group in (part .. ":"):gmatch("([^:]*):") do
      if #all > 32 then return nil end
      if group:find(".", 1, true) then
        local four = last and part:sub(-#group) == group and ipv4(group)
        if not four then return nil end
        all = all .. four
      elseif group:find("^%x%x?%x?%x?$") then
        all = all .. ("0"):rep(4 - #group) .. group:lower()
      else
        return nil
      end
    end
    return all
  end
  local left, right = groups(before or text, not before), groups(after or "", true)
  if not left or not right then return nil end
  if not before then return #left == 32 and left or nil end
  local zeros = 32 - #left - #right
  return zeros >= 4 and left .. ("0"):rep(zeros) .. right or nil
end

-- An element of the client header: an address, IPv6 with or without brackets, with or
-- without a port; nil if it is none that a client can have.
local function element_address(text)
  if #text > 100 then return nil end
  text = text:match('^"(.*)"$') or text
  local host, port = text:match("^%[([^%]]*)%](.*)$")
  if not host then host, port = text:match("^([^:]*)(:[^:]*)$") end
  if host and port ~= "" and not port:find("^:[%w_.-]*$") then return nil end
  host = host or text
  local address = ipv4(host) or ipv6(host)
  if not address then return nil end
  address = unmapped(address)
  if not address:find("[^0]") then return nil end
  if #address == 8 and address:find("^e") or #address == 32 and address:find("^ff") then return nil end
  return address
end

-- ===== header fields, in their order, also of HTTP/2 =====

local get_request = base.get_request
local element, truncated = nil, ffi.new("int[1]")
local readable = pcall(function()
  element = ffi.typeof("ngx_http_lua_ffi_table_elt_t[?]")
  return C.ngx_http_lua_ffi_req_get_headers_count and C.ngx_http_lua_ffi_req_get_headers
end)
local fields, room = nil, 0

-- How many there are; they stand in fields until the request is done with.
local function read_fields()
  if not readable then return 0 end
  local request = get_request()
  local n = C.ngx_http_lua_ffi_req_get_headers_count(request, 0, truncated)
  if n <= 0 then return 0 end
  if n > room then
    room = math.max(n, 64)
    fields = element(room)
  end
  if C.ngx_http_lua_ffi_req_get_headers(request, fields, n, 0) ~= 0 then return 0 end
  return n
end

local function trimmed(text)
  local from, to = 1, #text
  local function blank(at) local c = text:byte(at) return c == 32 or c == 9 end
  while from <= to and blank(from) do from = from + 1 end
  while to >= from and blank(to) do to = to - 1 end
  return text:sub(from, to)
end

-- All values of a field.
local function values(name, n)
  local list, length = {}, #name
  for i = 0, n - 1 do
    local key = fields[i].key
    if key.len == length and ffi.string(key.data, length) == name then
      local value = fields[i].value
      list[#list + 1] = trimmed(ffi.string(value.data, value.len))
    end
  end
  return list
end

-- Takes out the header fields that only offpath may send.
local function strip(n)
  local forged
  for i = 0, n - 1 do
    local key = fields[i].key
    if key.len > 10 and key.data[0] == 120 and ffi.string(key.data, 10):find("^x[-_]offpath[-_]") then
      forged = forged or {}
      forged[#forged + 1] = ffi.string(key.data, key.len)
    end
  end
  for _, name in ipairs(forged or {}) do ngx.req.clear_header(name) end
  if not readable then ngx.req.clear_header("X-Offpath-Verdict") end
end

-- ===== the client =====

local trusted, client_header = networks(settings.trusted), settings.client_header:lower()
local trusts_anybody = #settings.trusted > 0

-- The client as a trusted peer names it: the list is walked from the right past further
-- trusted ones; whoever wrote what is no address is the last thing known.
local function walk(peer, list)
  local client = peer
  for i = #list, 1, -1 do
    local text, last, quoted = list[i], #list[i], false
    for at = #text, 0, -1 do
      local octet = at > 0 and text:byte(at)
      if octet == 34 then
        quoted = not quoted
      elseif at == 0 or octet == 44 and not quoted then
        local part = trimmed(text:sub(at + 1, last))
        last = at - 1
        if part ~= "" then
          local address = element_address(part)
          if not address then return client end
          client = address
          if not covers(trusted, client) then return client end
        end
      end
    end
  end
  return client
end

-- nil for a peer on a unix socket.
local function client_address(n)
  local octets = ngx.var.binary_remote_addr
  if not octets or #octets ~= 4 and #octets ~= 16 then return nil end
  local peer = unmapped(hex(octets))
  if trusts_anybody and covers(trusted, peer) then return walk(peer, values(client_header, n)) end
  return peer
end

-- ===== what a request is =====

local function fingerprint(request)
  if not readable then return nil end
  local names = {}
  for i = 0, request.n - 1 do
    local key = fields[i].key
    if key.len >= 6 and key.len <= 18 then
      local name = ffi.string(key.data, key.len)
      if counted[name] then names[#names + 1] = name end
    end
  end
  local function value(name) return joined(name, values(name, request.n), 1) end
  return fingerprint_of(table.concat(names, ","),
    value("accept-encoding"), value("accept-charset"), value("accept-language"), value("user-agent"), hash)
end

local function host()
  return host_of(authority((ngx.var.request or ""):match("^[^ ]* ([^ ]*)") or "") or ngx.var.http_host or "")
end

local readers = {
  address = function(request) return request.address end,
  network = function(request) return request.address and #request.address == 32 and request.address:sub(1, 16) .. ("0"):rep(16) end,
  fingerprint = fingerprint,
  user_agent = function(request) return readable and values("user-agent", request.n)[1] end,
  endpoint = function(_, known)
    local path = normal((ngx.var.request_uri or ""):match("^[^?#]*"))
    if not path then return nil end
    if known.domain == nil then known.domain = host() end
    return ngx.req.get_method() .. " " .. known.domain .. path
  end,
  domain = host,
}

-- ===== verdicts =====

-- A row is 38 octets, so that a new one takes the place of the old: the action (b block,
-- r rate limit, t tag; in capitals if the verdict only watches), and in hex digits the second
-- of expiry (8), the requests (8) of a period of seconds (5), and the id (16).
local function is_row(text) return #text == 38 and text:find("^[brtBRT]%x+$") ~= nil end
local function is_key(text) return #text == 66 and text:find("^p/%x+$") ~= nil or #text <= 40 and text:find("^[46]/%d+/%x*$") ~= nil end
local function is_firm(row) local action = row:byte() return action == 98 or action == 114 end
local function expiry(row) return tonumber(row:sub(2, 9), 16) end

local function shard_of(start, key) return shards[ngx.md5_bin(start .. key):byte() % shard_count + 1] end

-- What keys there are, so that no request is looked up under others: lengths of networks
-- with the latest expiry among them, longest first, and shapes of predicates in their order.
local used, start, lengths, shapes = nil, nil, {[8] = {}, [32] = {}}, {}

local function learn(text)
  used, lengths, shapes = text, {[8] = {}, [32] = {}}, {}
  start = text:match("^%x+")
  local by_shape = {}
  for kind, number, expires in text:gmatch(" ([46p])/(%d+)=(%d+)") do
    number, expires = tonumber(number), tonumber(expires)
    if kind == "p" then
      by_shape[number] = expires
    else
      local list = lengths[kind == "4" and 8 or 32]
      list[#list + 1] = {bits = number, expires = expires}
    end
  end
  for _, list in pairs(lengths) do table.sort(list, function(a, b) return a.bits > b.bits end) end
  for _, shape in ipairs(order) do
    if by_shape[shape] then shapes[#shapes + 1] = {shape = shape, expires = by_shape[shape]} end
  end
end

local function look(key, now)
  local row = shard_of(start, key):get(key)
  return row and expiry(row) > now and row or nil
end

-- The row that applies: the first that is enforced of the address's, its networks', longest
-- first, and the predicates', most members first; without one the first that only watches.
local function find(address, n, now)
  local watched
  for _, class in ipairs(address and lengths[#address] or {}) do
    local row = class.expires > now and look(network_key(address, class.bits), now)
    if row then
      if is_firm(row) then return row end
      watched = watched or row
    end
  end
  if #shapes == 0 then return watched end
  local request, known = {address = address, n = n}, {}
  for _, class in ipairs(shapes) do
    local text = class.expires > now and text_of(readers, request, class.shape, known)
    local row = text and look("p/" .. hash(text), now)
    if row then
      if is_firm(row) then return row end
      watched = watched or row
    end
  end
  return watched
end

local allow, allow_version = networks {}, 0

local function allowed(address)
  local version = state:get("allow_version") or 0
  if version ~= allow_version then
    local keys = {}
    for key in (state:get("allow") or ""):gmatch("%S+") do keys[#keys + 1] = key end
    allow, allow_version = networks(keys), version
  end
  return covers(allow, address)
end

local function count(dictionary, key, life)
  local total, problem, forcible = dictionary:incr(key, 1, 0, life)
  if forcible or problem then state:incr("evicted", 1, 0) end
  return total
end

-- Whether a client is over the rate of a row: the requests of this period, and of the last
-- one as large a share as is still within a period from now. Those that are refused count.
local function over(row, address)
  local limit, period = tonumber(row:sub(10, 17), 16), tonumber(row:sub(18, 22), 16)
  local now = ngx.now()
  local window = math.floor(now / period)
  local key = row:sub(23) .. (address or "") .. "/"
  local current = count(rates, key .. window, 2 * period)
  if not current then return false end
  local before = rates:get(key .. (window - 1)) or 0
  return current + before * (1 - now / period + window) > limit
end

-- What is to be done with the request: a status, the verdict's id and a period if it is to
-- be refused.
local function decide()
  local n = read_fields()
  strip(n)
  local mode = state:get("mode") -- 1 monitor, 2 enforce; missing: off
  if mode ~= 1 and mode ~= 2 or state:get("off") then return end
  local use = state:get("use")
  if not use then return end
  if use ~= used then learn(use) end

  local address = client_address(n)
  local row = find(address, n, ngx.time())
  if not row or address and allowed(address) then return end
  local action, id, status = row:sub(1, 1), row:sub(23), nil
  if mode == 2 and action == "b" then
    status = 403
  elseif mode == 2 and action == "r" and over(row, address) then
    status = 429
  end
  count(hits, (status and "r" or "p") .. id, 3600)
  if not status then
    ngx.req.set_header("X-Offpath-Verdict", id)
    return
  end
  return status, id, tonumber(row:sub(18, 22), 16)
end

local complained = 0

-- Comes first for each request of a server (server_rewrite_by_lua).
local function request()
  if ngx.req.is_internal() then return end -- it has been here already
  local well, status, id, period = pcall(decide)
  if not well then
    state:incr("errors", 1, 0)
    if ngx.time() ~= complained then
      complained = ngx.time()
      ngx.log(ngx.ERR, "offpath: request let through: ", status)
    end
    return
  end
  if not status then return end
  local text = status == 403 and "Forbidden\n" or "Too Many Requests\n"
  ngx.ctx.offpath_refused = true
  ngx.status = status
  ngx.header["X-Offpath-Refused"] = id
  ngx.header["Content-Type"] = "text/plain"
  ngx.header["Content-Length"] = #text
  if status == 429 then ngx.header["Retry-After"] = period end
  ngx.req.discard_body()
  ngx.print(text)
  return ngx.exit(ngx.HTTP_OK)
end

-- Only refusals carry the marker, whatever a backend sends (header_filter_by_lua).
local function response()
  if ngx.header["X-Offpath-Refused"] and not ngx.ctx.offpath_refused then ngx.header["X-Offpath-Refused"] = nil end
end

-- ===== orders =====

-- What takes long lets requests pass in between.
local function breathe(done)
  if done % 200 == 0 then ngx.sleep(0) end
end

-- Notes what keys there are from now on, in addition to those before or in their place.
local function set_use(start, text, instead)
  local latest = {}
  local function add(words)
    for kind, expires in words:gmatch("([46p]/%d+)=(%d+)") do
      latest[kind] = math.max(latest[kind] or 0, tonumber(expires))
    end
  end
  for word in text:gmatch("%S+") do
    if not word:find("^[46p]/%d+=%d+$") then return false, "malformed" end
  end
  if not instead then add(state:get("use") or "") end
  add(text)
  local words = {}
  for kind, expires in pairs(latest) do
    if expires > ngx.time() then words[#words + 1] = kind .. "=" .. expires end
  end
  table.sort(words)
  table.insert(words, 1, start)
  return state:safe_set("use", table.concat(words, " "))
end

local function apply_line(start, line)
  local key, row = line:match("^%+(%S+) (%S+)$")
  if key and is_key(key) and is_row(row) then
    local life = expiry(row) - ngx.now() + 1
    if life <= 0 then
      shard_of(start, key):delete(key)
      return true
    end
    return shard_of(start, key):safe_set(key, row, life) -- never at another row's cost
  end
  key = line:match("^%-(%S+)$")
  if not key or not is_key(key) then return false, "malformed" end
  shard_of(start, key):delete(key)
  return true
end

local orders = {
  ["GET /v1/status"] = function(say)
    say("start " .. state:get("start"))
    say(("software %s/%s"):format(ngx.config.nginx_version, ngx.config.ngx_lua_version))
    ngx.update_time()
    say(("clock %.3f"):format(ngx.now()))
    say("setup " .. setup)
    say("shards " .. shard_count)
    say("mode " .. (state:get("mode") or 0))
    say("off " .. (state:get("off") or 0))
    say("readable " .. (readable and 1 or 0))
    say("errors " .. (state:get("errors") or 0))
    say("evicted " .. (state:get("evicted") or 0))
  end,
  -- The first line says what keys there are: "~" and more of them, or "=" and all of them.
  ["POST /v1/apply"] = function(say, body)
    local start, number = state:get("start"), 0
    local how, use, rest = body:match("^([~=])([^\n]*)\n(.*)$")
    if not how then return 400 end
    local done, problem = set_use(start, use, how == "=")
    for line in rest:gmatch("[^\n]+") do
      local applied, reason = done, problem
      if applied then applied, reason = apply_line(start, line) end
      if not applied then say(("refused %d %s"):format(number, reason)) end
      number = number + 1
      breathe(number)
    end
    say("read " .. number)
  end,
  ["GET /v1/list"] = function(say)
    local shard = shards[(tonumber(ngx.var.arg_shard) or -1) + 1]
    if not shard then return 404 end
    for i, key in ipairs(shard:get_keys(0)) do
      local row = is_key(key) and shard:get(key)
      if row then say(key .. " " .. row) end
      breathe(i)
    end
  end,
  ["POST /v1/allow"] = function(say, body)
    for word in body:gmatch("%S+") do
      if not is_key(word) or word:find("^p") then return 400 end
    end
    local done, problem = state:safe_set("allow", body)
    if done then state:incr("allow_version", 1, 0) else say("refused 0 " .. problem) end
  end,
  ["POST /v1/mode"] = function(say, body)
    local mode, release = body:match("^([012])(.*)$")
    if not mode or release ~= "" and release ~= " release" then return 400 end
    local done, problem = state:safe_set("mode", tonumber(mode))
    if not done then say("refused 0 " .. problem) end
    if release ~= "" then state:delete("off") end
  end,
  -- For a person at this machine.
  ["POST /v1/off"] = function() state:safe_set("off", 1) end,
  ["POST /v1/release"] = function() state:delete("off") end,
  ["GET /v1/hits"] = function(say)
    for i, key in ipairs(hits:get_keys(0)) do
      local total = hits:get(key)
      if total then say(key .. " " .. total) end
      breathe(i)
    end
  end,
  ["POST /v1/sweep"] = function()
    for _, shard in ipairs(shards) do
      shard:flush_expired()
      ngx.sleep(0)
    end
  end,
}

local function order_handler()
  ngx.header["Content-Type"] = "text/plain"
  local function fail(status, text)
    ngx.status = status
    ngx.print(text .. "\n")
    return ngx.exit(ngx.HTTP_OK)
  end
  if not token then return fail(503, "no token in " .. settings.token_file) end
  local given = (ngx.var.http_authorization or ""):match("^Bearer (.+)$")
  if not given or hash(given) ~= token then return fail(401, "wrong token") end
  local order = orders[ngx.req.get_method() .. " " .. ngx.var.uri]
  if not order then return fail(404, "no such order") end
  local body = ""
  if ngx.req.get_method() == "POST" then
    ngx.req.read_body()
    body = ngx.req.get_body_data() or ""
    if ngx.req.get_body_file() then return fail(413, "the body is too long") end
  end
  local lines = {}
  local status = order(function(line) lines[#lines + 1] = line end, body)
  if status then return fail(status, "the order makes no sense") end
  lines[#lines + 1] = "end\n"
  ngx.print(table.concat(lines, "\n"))
end

return {
  request = request, response = response, orders = order_handler,
  -- For a site's own use, such as in its log.
  fingerprint = function() return fingerprint {n = read_fields()} end,
}
