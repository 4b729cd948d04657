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

-- The key of the row that applies to a request: the most specific that is enforced, else
-- the most specific that only watches.
core.register_fetches("offpath_predicate", function(txn)
  local now, known, watched = txn:get_var("txn.offpath_now"), {}, nil
  for _, shape in ipairs(shapes(txn.c:table_gpt0("shapes", verdicts), txn.c:table_gpc1("shapes", verdicts))) do
    local text = text_of(readers, txn, shape, known)
    local key = text and "p:" .. hash(txn, text)
    if key and txn.c:table_gpc0(key, verdicts) > now then
      local action = txn.c:table_gpt0(key, verdicts)
      if action >= 1 and action <= 4 or action == 6 then return key end
      watched = watched or key
    end
  end
  return watched
end)
