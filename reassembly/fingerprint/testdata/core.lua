-- The canonical string of the core fingerprint in HAProxy 2.6, by the definition in
-- the package documentation: sha2(256) of the sample offpath_core is the fingerprint.

local counted = {
  ["accept"] = true, ["accept-charset"] = true, ["accept-encoding"] = true, ["accept-language"] = true,
  ["sec-ch-ua"] = true, ["sec-ch-ua-mobile"] = true, ["sec-ch-ua-platform"] = true,
  ["sec-fetch-dest"] = true, ["sec-fetch-mode"] = true, ["sec-fetch-site"] = true, ["user-agent"] = true,
}

local function joined(headers, name)
  local values = headers[name]
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

core.register_fetches("offpath_core", function(txn)
  local names, seen = {}, {}
  for name in (txn.f:req_hdr_names(",") or ""):gmatch("[^,]+") do
    if counted[name] and not seen[name] then
      seen[name] = true
      names[#names + 1] = name
    end
  end
  local headers = txn.http:req_get_headers()
  return table.concat({
    "core 1", table.concat(names, ","),
    compact(joined(headers, "accept-encoding")), compact(joined(headers, "accept-charset")),
    habits(joined(headers, "accept-language")), masked(joined(headers, "user-agent")),
  }, "\n")
end)
