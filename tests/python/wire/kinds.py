"""The types of the vectors, and what the formats share."""

import json
import struct


class Wrong(Exception):
    """Bytes that are no message of the type."""


SIGNED = {f"i{bits}": bits for bits in [8, 16, 32, 64, 128]}
UNSIGNED = {f"u{bits}": bits for bits in [8, 16, 32, 64, 128]}
INTEGERS = [*SIGNED, *UNSIGNED]
FLOATS = {"f32": "<f", "f64": "<d"}
SIMPLE = ["unit", "bool", "char", "text", "bytes", *INTEGERS, *FLOATS, "address"]
POINT = ("struct", {"x": "i32", "y": "i64"})
NUMBERS = ("list", "u32")
MAYBE = ("option", "u32")
TYPES = {
    **{name: name for name in SIMPLE},
    "numbers": NUMBERS,
    "maybe": MAYBE,
    "pair": ("tuple", ["u8", "text"]),
    "ages": ("map", "text", "u8"),
    "point": POINT,
    "order": (
        "struct",
        {"item": "text", "count": "u32", "sizes": NUMBERS, "at": ("option", POINT)},
    ),
    "kind": (
        "enum",
        {
            "Unit": None,
            "One": "u8",
            "Two": ("tuple", ["u8", "text"]),
            "Named": ("struct", {"a": "u8", "b": MAYBE}),
        },
    ),
    "result": ("enum", {"Ok": "u32", "Err": "text"}),
    "request": (
        "enum",
        {
            "log_in": ("struct", {"name": "text"}),
            "withdraw": ("struct", {"cents": "u64", "note": ("option", "text")}),
            "balance": ("struct", {}),
        },
    ),
    "reply": (
        "enum",
        {
            "log_in": "unit",
            "withdraw": ("enum", {"Ok": "u64", "Err": "text"}),
            "balance": "u64",
        },
    ),
}
NEST = {"End": None}
TYPES["nest"] = ("enum", NEST)
NEST["In"] = TYPES["nest"]
NEST["Two"] = ("tuple", ["u8", TYPES["nest"]])


def demand(truth):
    if not truth:
        raise Wrong


def text_of(data):
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Wrong from None


def integer(kind, value):
    demand(type(value) is int)
    if kind in SIGNED:
        demand(-(1 << SIGNED[kind] - 1) <= value < 1 << SIGNED[kind] - 1)
    else:
        demand(0 <= value < 1 << UNSIGNED[kind])
    return value


def levels(kind, value):
    """Returns how many levels deep a value nests."""
    parts = []
    match kind:
        case str():
            return 0
        case ("option", _) if value is None:
            return 0
        case ("option", inner):
            parts = [(inner, value)]
        case ("list", inner):
            parts = [(inner, each) for each in value]
        case ("tuple", inners):
            parts = list(zip(inners, value))
        case ("map", key, inner):
            parts = [(inner, each) for each in value.values()]
        case ("struct", fields):
            parts = [(inner, value[name]) for name, inner in fields.items()]
        case ("enum", variants) if type(value) is dict:
            parts = [(variants[name], each) for name, each in value.items()]
    return 1 + max((levels(*part) for part in parts), default=0)


def compact(value):
    """Writes a value as the vectors have it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


class Bytes:
    """Bytes from which values are taken one after the other."""

    def __init__(self, data):
        self.data = data

    def take(self, count):
        demand(count <= len(self.data))
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    def byte(self):
        return self.take(1)[0]

    def unpack(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def varint(self, most):
        """Takes groups of 7 bits, the lowest first; as many bytes as `most` bits need at most."""
        value = 0
        for shift in range(0, max(most, 28), 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                demand(value < 1 << most)
                return value
        raise Wrong


def varint(value):
    head = []
    while value >= 0x80:
        head.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*head, value])


def zigzag(value):
    return 2 * value if value >= 0 else -2 * value - 1


def unzigzag(value):
    return value >> 1 if value % 2 == 0 else -(value >> 1) - 1
