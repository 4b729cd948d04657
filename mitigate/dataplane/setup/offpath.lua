-- Which verdict about more than an address applies to a request. Verdicts are lines of this
-- map: code:expiry:limit:id.
local verdicts = Map.new("VERDICTS", Map._str)

-- Those of order that are in force, by the line "shapes" (bits:expiry); the latest answer
-- is kept, since that line seldom changes.
local in_force, last = {}, ""

local function shapes()
  local line = verdicts:lookup("shapes") or ""
  if line ~= last then
    in_force, last = {}, line
    local bits = tonumber(line:match("^(%x+):") or "0", 16)
    for _, shape in ipairs(order) do
      if bits & (1 << shape) ~= 0 then in_force[#in_force + 1] = shape end
    end
  end
  return in_force
end

-- The verdict that applies to a request: the most specific that is enforced, else the most
-- specific that only watches.
core.register_fetches("offpath_predicate", function(txn)
  local now, known, watched = txn:get_var("txn.offpath_now"), {}, nil
  for _, shape in ipairs(shapes()) do
    local text = text_of(readers, txn, shape, known)
    local line = text and verdicts:lookup("p:" .. hash(txn, text)) or ""
    local code, expires = line:match("^(%d+):(%d+):")
    if code and tonumber(expires) > now then
      code = tonumber(code)
      if code >= 1 and code <= 4 or code == 6 then return line end
      watched = watched or line
    end
  end
  return watched
end)
