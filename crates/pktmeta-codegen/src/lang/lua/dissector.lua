-- Bytes of a value by the high two bits of its tag; without one the next byte says it.
local SIZES = { 2, 4, 8 }

local pktmeta = Proto("pktmeta", "Packet metadata")
local protofields = {}

-- Names of fields begin with a letter: those with _ are not among them.
local function own(kind, name, ...)
  local field = ProtoField[kind]("pktmeta._" .. name, ...)
  table.insert(protofields, field)
  return field
end

local magic = own("string", "magic", "Magic")
local version = own("uint8", "version", "Version", base.DEC, nil, 0xf0)
local flags = own("uint8", "flags", "Flags", base.HEX, nil, 0x0f)
local record_length = own("uint8", "length", "Length")
local unknown = own("bytes", "unknown", "Unknown field")
local odd = own("bytes", "odd", "No value of the field")
local again = own("bytes", "again", "Again, of a field that another stands for")
local void = own("bytes", "void", "Void")
local rest = own("bytes", "rest", "Behind the record")

local experts = {}
for _, case in ipairs({
  { "not_a_record", "These bytes are not a pktmeta record" },
  { "unknown_version", "The version of this record is not known here" },
  { "too_long", "The record is longer than the bytes that hold it" },
  { "overrun", "A field runs past the record's end" },
  { "bad_value", "The value is none of the field's type" },
}) do
  experts[case[1]] =
    ProtoExpert.new("pktmeta._" .. case[1], case[2], expert.group.MALFORMED, expert.severity.ERROR)
end
experts.twice = ProtoExpert.new("pktmeta._twice", "The field is there twice: the first counts",
  expert.group.PROTOCOL, expert.severity.WARN)

-- The digits of a number of any size, its bytes given from the least significant: Lua's own
-- numbers have 53 bits.
local function decimal(bytes)
  local LIMB = 10000000
  local limbs = { 0 }
  for at = #bytes, 1, -1 do
    local carry = bytes[at]
    for i = 1, #limbs do
      local sum = limbs[i] * 256 + carry
      limbs[i] = sum % LIMB
      carry = math.floor(sum / LIMB)
    end
    if carry > 0 then
      table.insert(limbs, carry)
    end
  end
  local text = string.format("%d", limbs[#limbs])
  for i = #limbs - 1, 1, -1 do
    text = text .. string.format("%07d", limbs[i])
  end
  return text
end

local function octets(range)
  local bytes = {}
  for at = 0, range:len() - 1 do
    bytes[at + 1] = range(at, 1):uint()
  end
  return bytes
end

local function signed_decimal(bytes)
  if bytes[#bytes] < 128 then
    return decimal(bytes)
  end
  local carry = 1
  for at = 1, #bytes do
    local sum = 255 - bytes[at] + carry
    bytes[at] = sum % 256
    carry = math.floor(sum / 256)
  end
  return "-" .. decimal(bytes)
end

local function little_endian(tree, field, range)
  return tree:add_le(field.proto, range)
end

local function as_it_stands(tree, field, range)
  return tree:add(field.proto, range)
end

local function names_by_number(field)
  if not field.names then
    return nil
  end
  local names = {}
  for _, entry in ipairs(field.names) do
    names[entry[1]] = entry[2]
  end
  return names
end

local function integer(name)
  return {
    proto = function(field, abbreviation)
      return ProtoField[name](abbreviation, field.name, base.DEC, names_by_number(field), nil,
        field.title)
    end,
    add = little_endian,
  }
end

-- No integer of Wireshark has 128 bits: their digits, as text.
local function wide_integer(digits)
  return {
    proto = function(field, abbreviation)
      return ProtoField.string(abbreviation, field.name, base.NONE, field.title)
    end,
    add = function(tree, field, range)
      return tree:add(field.proto, range, digits(octets(range)))
    end,
  }
end

local function address(name)
  return {
    proto = function(field, abbreviation)
      return ProtoField[name](abbreviation, field.name, field.title)
    end,
    add = as_it_stands,
  }
end

local BYTES = {
  proto = function(field, abbreviation)
    return ProtoField.bytes(abbreviation, field.name, base.NONE, field.title)
  end,
  add = as_it_stands,
}

-- How values of a kind are declared and shown.
local KINDS = {
  flag = {
    proto = function(field, abbreviation)
      return ProtoField.none(abbreviation, field.name, field.title)
    end,
    add = as_it_stands,
  },
  bool = {
    proto = function(field, abbreviation)
      return ProtoField.bool(abbreviation, field.name, base.NONE, nil, nil, field.title)
    end,
    add = as_it_stands,
  },
  uint8 = integer("uint8"),
  uint16 = integer("uint16"),
  uint32 = integer("uint32"),
  uint64 = integer("uint64"),
  uint128 = wide_integer(decimal),
  int8 = integer("int8"),
  int16 = integer("int16"),
  int32 = integer("int32"),
  int64 = integer("int64"),
  int128 = wide_integer(signed_decimal),
  bits = {
    proto = function(field, abbreviation)
      local width = field.size * 8
      field.bits = {}
      for _, entry in ipairs(field.names or {}) do
        -- In its byte: masks of Wireshark's Lua are numbers, which do not have 64 bits.
        local bit = ProtoField.bool(abbreviation .. "." .. entry[2], entry[2], 8, nil,
          2 ^ (entry[1] % 8))
        table.insert(field.bits, { at = math.floor(entry[1] / 8), proto = bit })
        table.insert(protofields, bit)
      end
      return ProtoField["uint" .. width](abbreviation, field.name, base.HEX, nil, nil, field.title)
    end,
    add = function(tree, field, range)
      local item = tree:add_le(field.proto, range)
      for _, bit in ipairs(field.bits) do
        item:add(bit.proto, range(bit.at, 1))
      end
      return item
    end,
  },
  timestamp = {
    proto = function(field, abbreviation)
      return ProtoField.uint64(abbreviation, field.name, base.DEC, nil, nil, field.title)
    end,
    add = function(tree, field, range)
      return tree:add_le(field.proto, range):append_text(" ns")
    end,
  },
  ipv4 = address("ipv4"),
  ipv6 = address("ipv6"),
  mac = address("ether"),
  socket = {
    proto = function(field, abbreviation)
      field.address = ProtoField.ipv6(abbreviation .. ".address", "address")
      field.port = ProtoField.uint16(abbreviation .. ".port", "port")
      table.insert(protofields, field.address)
      table.insert(protofields, field.port)
      return ProtoField.string(abbreviation, field.name, base.NONE, field.title)
    end,
    add = function(tree, field, range)
      local host, port = range(0, 16), range(16, 2)
      local mapped = host(0, 12):bytes():tohex() == "00000000000000000000FFFF"
      local text = mapped and tostring(host(12, 4):ipv4())
        or "[" .. tostring(host:ipv6()) .. "]"
      local item = tree:add(field.proto, range, text .. ":" .. port:uint())
      item:add(field.address, host)
      item:add(field.port, port)
      return item
    end,
  },
  bytes = BYTES,
  variable = BYTES,
}

for number, field in pairs(FIELDS) do
  field.proto = KINDS[field.kind].proto(field, "pktmeta." .. field.name)
  table.insert(protofields, field.proto)
end
pktmeta.fields = protofields
pktmeta.experts = experts

local function fits(field, range)
  local size = range:len()
  if field.kind == "variable" then
    return size <= field.size
  end
  return size == field.size and (field.kind ~= "bool" or range:uint() <= 1)
end

-- Shows a field as readers see it: what they do not see is under no name that filters know.
local function show(tree, entry, stands)
  local tag, range = entry.tag, entry.value
  local number = tag % 64
  local field = FIELDS[number]
  if number == 0 then
    tree:add(void, entry.whole):set_text(string.format("Void, %d bytes", entry.whole:len()))
  elseif not stands then
    local item = tree:add(again, range)
    item:prepend_text(string.format("[%d] ", number))
    item:add_proto_expert_info(experts.twice)
  elseif not field then
    tree:add(unknown, range):prepend_text(string.format("[%d] ", number))
  elseif field.tag == tag and fits(field, range) then
    KINDS[field.kind].add(tree, field, range)
  else
    local said = string.format("%s has %d bytes, not %d", field.name, field.size, range:len())
    if field.tag ~= tag then
      said = string.format("Field %d is %s, whose values have another size", number, field.name)
    elseif range:len() == field.size then
      said = "A bool is 0 or 1"
    end
    local item = tree:add(odd, range)
    item:prepend_text(string.format("[%s] ", field.name))
    item:add_proto_expert_info(experts.bad_value, said)
  end
end

-- The TLVs of a record that lies whole in tvb; or nothing, and where one starts that runs past the end.
local function walk(tvb, length)
  local at, entries = HEADER, {}
  while at < length do
    local tag = tvb(at, 1):uint()
    local start, size = at + 1, SIZES[math.floor(tag / 64)]
    if not size and start < length then
      size = tvb(start, 1):uint()
      start = start + 1
    end
    if not size or start + size > length then
      return nil, at
    end
    table.insert(entries, { tag = tag, value = tvb(start, size), whole = tvb(at, start + size - at) })
    at = start + size
  end
  return entries
end

-- Which TLVs stand for their fields: the first with a field's tag and, if there is none, with its number;
-- of fields that are not known, the first with each tag.
local function standing(entries)
  local first, stands = {}, {}
  local function take(key, entry)
    first[key] = first[key] or entry
  end
  for _, entry in ipairs(entries) do
    local field = FIELDS[entry.tag % 64]
    take(entry.tag, entry)
    if field and field.tag ~= entry.tag then
      take(field.name, entry)
    end
  end
  for _, entry in ipairs(entries) do
    local field = FIELDS[entry.tag % 64]
    local of_field = field and (first[field.tag] or first[field.name])
    stands[entry] = entry == (of_field or first[entry.tag])
  end
  return stands
end

function pktmeta.dissector(tvb, pinfo, tree)
  pinfo.cols.protocol = "PKTMETA"
  local held = tvb:len()
  local item = tree:add(pktmeta, tvb())
  if held < HEADER or tvb(0, 2):string() ~= "PM" then
    item:add_proto_expert_info(experts.not_a_record)
    return held
  end
  item:add(magic, tvb(0, 2))
  local version_item = item:add(version, tvb(2, 1))
  item:add(flags, tvb(2, 1))
  local known = math.floor(tvb(2, 1):uint() / 16) == VERSION
  if not known then
    version_item:add_proto_expert_info(experts.unknown_version)
    return held
  end
  local length = tvb(3, 1):uint()
  local length_item = item:add(record_length, tvb(3, 1))
  if length < HEADER or length > CAPACITY then
    length_item:add_proto_expert_info(experts.too_long,
      string.format("A record has %d to %d bytes", HEADER, CAPACITY))
    return held
  end
  if length > held then
    length_item:add_proto_expert_info(experts.too_long)
    return held
  end
  local entries, torn = walk(tvb, length)
  if not entries then
    item:add_proto_expert_info(experts.overrun,
      string.format("The field at byte %d runs past the record's end", torn))
    return held
  end
  local count, stands = 0, standing(entries)
  for _, entry in ipairs(entries) do
    show(item, entry, stands[entry])
    count = count + (entry.tag % 64 == 0 and 0 or 1)
  end
  local summary = string.format("%d bytes, %d %s", length, count, count == 1 and "field" or "fields")
  item:append_text(": " .. summary)
  item:set_len(length)
  pinfo.cols.info = summary
  -- What the driver reserved and nobody used.
  if length < held then
    tree:add(rest, tvb(length))
  end
  return held
end

-- A capture whose packets are records: link type 147, which is left to its users.
DissectorTable.get("wtap_encap"):add((wtap_encaps or wtap).USER0, pktmeta)
-- And wherever else one stands.
DissectorTable.get("udp.port"):add_for_decode_as(pktmeta)
