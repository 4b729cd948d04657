-- Which verdict about more than an address applies to a request, by the rows of this table.
local verdicts = "offpath_verdicts"

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

-- Whether a row is enforced or watches; nil: it has expired, or there is none.
local function row(txn, key, now)
  if txn.c:table_gpc0(key, verdicts) <= now then return nil end
  local action = txn.c:table_gpt0(key, verdicts)
  return action >= 1 and action <= 4 or action == 6
end

local carriers = {"x-auth-token", "x-session-id", "x-access-token", "x-session-token", "x-subject-token"}
local bearer = {bearer = true, token = true, jwt = true}

-- Calls look with the tokens that a request presents in its head, until that returns true:
-- of the sensor's carriers those that a load balancer sees, and every cookie, as what is
-- compared is the token. Of cookies so many that a request of nothing else costs little.
local max_cookies = 128

local function each_token(txn, look)
  local headers = txn.http:req_get_headers()
  local authorization = headers["authorization"]
  if authorization then
    local scheme, rest = authorization[0]:match("^([^ ]*) (.*)$")
    if scheme and bearer[scheme:lower()] and look((rest:match("^[ \t]*(.*)$"))) then return end
  end
  for _, name in ipairs(carriers) do
    local values = headers[name]
    if values and look(values[0]) then return end
  end
  local cookies = headers["cookie"]
  local at, left = 0, max_cookies
  while cookies and cookies[at] do
    for pair in cookies[at]:gmatch("[^;]+") do
      if left == 0 then return end
      left = left - 1
      local value = pair:match("=(.*)$") or pair
      value = value:match("^[ \t]*(.*)$")
      local last = #value
      while last > 0 and (value:byte(last) == 32 or value:byte(last) == 9) do last = last - 1 end
      value = value:sub(1, last)
      if #value >= 2 and value:byte(1) == 34 and value:byte(#value) == 34 then value = value:sub(2, -2) end
      if #value >= 8 and look(value) then return end
    end
    at = at + 1
  end
end

-- The key of the row about a session that a request presents, and whether it is enforced.
local function session(txn, now)
  local watched, firm
  each_token(txn, function(token)
    if token == "" then return false end
    local key = "s:" .. txn.c:hex(txn.c:hmac(token, "sha256", session_key)):lower():sub(1, 16)
    local enforced = row(txn, key, now)
    if enforced then
      firm = key
    elseif enforced == false then
      watched = watched or key
    end
    return enforced
  end)
  return firm or watched, firm ~= nil
end

-- The key of the row that applies to a request: the session's or the most specific that
-- is enforced, else the first of them that only watches.
core.register_fetches("offpath_predicate", function(txn)
  local now, known, watched = txn:get_var("txn.offpath_now"), {}, nil
  local low, high = txn.c:table_gpt0("shapes", verdicts), txn.c:table_gpc1("shapes", verdicts)
  if low % 2 == 1 and session_key ~= "" then -- there are verdicts about sessions
    local key, enforced = session(txn, now)
    if enforced then return key end
    watched = key
  end
  for _, shape in ipairs(shapes(low, high)) do
    local text = text_of(readers, txn, shape, known)
    local key = text and "p:" .. hash(txn, text)
    local enforced = key and row(txn, key, now)
    if enforced then return key end
    watched = watched or enforced == false and key or nil
  end
  return watched
end)
