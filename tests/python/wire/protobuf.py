"""Protocol Buffers: fields with numbers."""

import struct

from .kinds import Bytes, Wrong, demand, text_of, unzigzag, varint, zigzag

VARINT, FIXED64, COUNTED, FIXED32 = 0, 1, 2, 5

POINT = {1: ("x", "int32", ""), 2: ("y", "sint64", "")}
ORDER = {
    1: ("item", "string", ""),
    2: ("count", "uint32", ""),
    3: ("sizes", "uint32", "repeated"),
    4: ("at", POINT, "optional"),
}
OUTCOME = {1: ("Cents", "uint64", "is"), 16: ("Refused", "string", "is")}
MESSAGES = {"unit": {}, "point": POINT, "order": ORDER, "outcome": OUTCOME}
# What the field of a wrapper message is.
WRAPPED = {
    "bool": "bool",
    "text": "string",
    "bytes": "bytes",
    "u32": "uint32",
    "u64": "uint64",
    "i32": "int32",
    "i64": "int64",
    "f32": "float",
    "f64": "double",
}
DEFAULTS = {"string": "", "bytes": [], "bool": False, "float": 0.0, "double": 0.0}


def wire_type(kind):
    if kind in ["string", "bytes"] or type(kind) is dict:
        return COUNTED
    return {"float": FIXED32, "double": FIXED64}.get(kind, VARINT)


class Protobuf:
    @classmethod
    def write(cls, kind, value):
        if kind in WRAPPED:
            return cls.write_message({1: ("value", WRAPPED[kind], "")}, {"value": value})
        if kind == "outcome":
            return cls.write_message(OUTCOME, value["is"] or {})
        return cls.write_message(MESSAGES[kind], value)

    @classmethod
    def write_message(cls, fields, values):
        out = b""
        for number, (name, kind, label) in sorted(fields.items()):
            value = (values or {}).get(name)
            if label == "repeated" and value:
                packed = b"".join(cls.write_value(kind, each) for each in value)
                out += varint(number << 3 | COUNTED) + varint(len(packed)) + packed
                continue
            is_default = not label and value == DEFAULTS.get(str(kind), 0)
            if value is None or value == [] or is_default:
                continue
            written = cls.write_value(kind, value)
            count = varint(len(written)) if wire_type(kind) == COUNTED else b""
            out += varint(number << 3 | wire_type(kind)) + count + written
        return out

    @classmethod
    def write_value(cls, kind, value):
        match kind:
            case "string":
                return value.encode()
            case "bytes":
                return bytes(value)
            case "float" | "double":
                return struct.pack("<f" if kind == "float" else "<d", value)
            case "sint32" | "sint64":
                return varint(zigzag(value))
            case dict():
                return cls.write_message(kind, value)
        return varint(value & (1 << 64) - 1)

    @classmethod
    def read(cls, kind, data):
        if kind in WRAPPED:
            value = cls.read_message({1: ("value", WRAPPED[kind], "")}, data)
            return value["value"]
        value = cls.read_message(MESSAGES[kind], data)
        if kind == "outcome":
            return {"is": value or None}
        return value or None

    @classmethod
    def read_message(cls, fields, data):
        values = {}
        for name, kind, label in fields.values():
            if label == "repeated":
                values[name] = []
            elif label == "optional":
                values[name] = None
            elif not label:
                values[name] = DEFAULTS.get(kind, 0)
        data = Bytes(data)
        while data.data:
            key = data.varint(32)
            number, wire = key >> 3, key & 7
            demand(number > 0)
            raw = cls.take(data, wire)
            if number not in fields:
                continue
            name, kind, label = fields[number]
            if label == "repeated" and wire == COUNTED and wire_type(kind) != COUNTED:
                packed = Bytes(raw)
                while packed.data:
                    values[name].append(cls.value_of(kind, cls.take(packed, wire_type(kind))))
                continue
            demand(wire == wire_type(kind))
            value = cls.value_of(kind, raw)
            if label == "repeated":
                values[name].append(value)
            elif label == "is":
                values = {name: value}
            else:
                values[name] = value
        return values

    @staticmethod
    def take(data, wire):
        match wire:
            case 0:
                return data.varint(64)
            case 1:
                return data.take(8)
            case 2:
                return data.take(data.varint(64))
            case 5:
                return data.take(4)
        raise Wrong  # the groups of version 2

    @classmethod
    def value_of(cls, kind, raw):
        match kind:
            case "string":
                return text_of(raw)
            case "bytes":
                return list(raw)
            case "bool":
                return raw != 0
            case "float" | "double":
                return struct.unpack("<f" if kind == "float" else "<d", raw)[0]
            case "uint32":
                return raw & 0xFFFFFFFF
            case "sint32" | "sint64":
                return unzigzag(raw)
            case "int32" | "int64":
                bits = int(kind[3:])
                raw &= (1 << bits) - 1
                return raw - (1 << bits) if raw >> bits - 1 else raw
            case dict():
                return cls.read_message(kind, raw)
        return raw
