"""Formats in which values say what they are: JSON and MessagePack."""

import json
import struct

from .kinds import INTEGERS, Bytes, Wrong, compact, demand, integer, levels, text_of


class Named:
    """A format in which values say what they are, so that they can be read before the type is known.

    Maps are lists of pairs until then.
    """

    @classmethod
    def shape(cls, kind, value):
        """Makes the value that a type wants of what was read."""
        match kind:
            case str() if kind in INTEGERS:
                return integer(kind, cls.unpack_integer(kind, value))
            case "unit":
                demand(value is None)
                return value
            case "bool":
                demand(type(value) is bool)
                return value
            case "text" | "char":
                demand(type(value) is str and (kind == "text" or len(value) == 1))
                return value
            case "f32" | "f64":
                demand(type(value) in [int, float])
                return float(value)
            case "bytes":
                demand(type(value) in [bytes, list])
                return [integer("u8", each) for each in value]
            case ("option", inner):
                return None if value is None else cls.shape(inner, value)
            case ("list", inner):
                demand(type(value) is list)
                return [cls.shape(inner, each) for each in value]
            case ("tuple", inners):
                demand(type(value) is list and len(value) == len(inners))
                return [cls.shape(inner, each) for inner, each in zip(inners, value)]
            case ("map", key, inner):
                demand(type(value) is Map)
                return {cls.shape(key, k): cls.shape(inner, v) for k, v in value.pairs}
            case ("struct", fields):
                if type(value) is list:
                    return dict(zip(fields, cls.shape(("tuple", list(fields.values())), value)))
                demand(type(value) is Map)
                known = [(name, each) for name, each in value.pairs if name in fields]
                demand(len(known) == len(dict(known)))
                found = dict(known)
                for name, inner in fields.items():
                    demand(name in found or inner[0] == "option")
                return {name: cls.shape(inner, found.get(name)) for name, inner in fields.items()}
            case ("enum", variants):
                if type(value) is str:
                    demand(value in variants and variants[value] is None)
                    return value
                demand(type(value) is Map and len(value.pairs) == 1)
                name, inner = value.pairs[0]
                demand(variants.get(name) is not None)
                return {name: cls.shape(variants[name], inner)}
        raise AssertionError(kind)

    @staticmethod
    def unpack_integer(kind, value):
        return value


class Map:
    def __init__(self, pairs):
        self.pairs = pairs


class Json(Named):
    @staticmethod
    def write(kind, value):
        return compact(value).encode()

    @classmethod
    def read(cls, kind, data):
        try:
            value = json.loads(text_of(data), object_pairs_hook=Map, parse_constant=cls.reject)
        except json.JSONDecodeError:
            raise Wrong from None
        value = cls.shape(kind, value)
        try:
            compact(value).encode()
        except UnicodeEncodeError:  # half of a pair of surrogates
            raise Wrong from None
        return value

    @staticmethod
    def reject(_):
        raise Wrong


class MessagePack(Named):
    # Each with its format byte, in the order in which they are tried.
    UNSIGNED = [(0xCC, ">B", 8), (0xCD, ">H", 16), (0xCE, ">I", 32), (0xCF, ">Q", 64)]
    SIGNED = [(0xD0, ">b", 8), (0xD1, ">h", 16), (0xD2, ">i", 32), (0xD3, ">q", 64)]
    NUMBERS = {code: form for code, form, _ in UNSIGNED + SIGNED} | {0xCA: ">f", 0xCB: ">d"}
    COUNTS = [">B", ">H", ">I"]

    @classmethod
    def write(cls, kind, value):
        match kind:
            case "i128" | "u128":
                return b"\xc4\x10" + value.to_bytes(16, "big", signed=kind == "i128")
            case str() if kind in INTEGERS:
                return cls.write_integer(value)
            case "unit":
                return b"\xc0"
            case "bool":
                return b"\xc3" if value else b"\xc2"
            case "f32":
                return struct.pack(">Bf", 0xCA, value)
            case "f64":
                return struct.pack(">Bd", 0xCB, value)
            case "text" | "char":
                return cls.head(len(value.encode()), 0xA0, 32, 0xD9) + value.encode()
            case "bytes":
                return cls.head(len(value), 0, 0, 0xC4) + bytes(value) if value else b"\x90"
            case ("option", inner):
                return b"\xc0" if value is None else cls.write(inner, value)
            case ("list", inner):
                return cls.write(("tuple", [inner] * len(value)), value)
            case ("tuple", inners):
                parts = [cls.write(inner, each) for inner, each in zip(inners, value)]
                return cls.head(len(parts), 0x90, 16, 0xDC, 1) + b"".join(parts)
            case ("map", key, inner):
                parts = [cls.write(key, k) + cls.write(inner, v) for k, v in value.items()]
                return cls.head(len(parts), 0x80, 16, 0xDE, 1) + b"".join(parts)
            case ("struct", fields):
                parts = [
                    cls.write("text", name) + cls.write(inner, value[name])
                    for name, inner in fields.items()
                ]
                return cls.head(len(parts), 0x80, 16, 0xDE, 1) + b"".join(parts)
            case ("enum", variants):
                if type(value) is str:
                    return cls.write("text", value)
                name, inner = next(iter(value.items()))
                return b"\x81" + cls.write("text", name) + cls.write(variants[name], inner)
        raise AssertionError(kind)

    @classmethod
    def write_integer(cls, value):
        if -32 <= value < 128:
            return bytes([value & 0xFF])
        for code, form, bits in cls.UNSIGNED if value >= 0 else cls.SIGNED:
            if -(1 << bits - 1) <= value < 1 << bits:
                return bytes([code]) + struct.pack(form, value)
        raise AssertionError(value)

    @classmethod
    def head(cls, count, short, shorts, code, smallest=0):
        """Writes a count: within the first byte if it is below `shorts`, or behind a code."""
        if count < shorts:
            return bytes([short + count])
        for number, form in enumerate(cls.COUNTS[smallest:]):
            if count < 1 << 8 * struct.calcsize(form):
                return bytes([code + number]) + struct.pack(form, count)
        raise AssertionError(count)

    @classmethod
    def read(cls, kind, data):
        data = Bytes(data)
        value = cls.take(data)
        demand(not data.data)
        value = cls.shape(kind, value)
        demand(levels(kind, value) <= 128)
        return value

    @classmethod
    def take(cls, data):
        code = data.byte()
        if code < 0x80 or code >= 0xE0:
            return code if code < 0x80 else code - 256
        if code < 0x90:
            return cls.take_map(data, code & 0xF)
        if code < 0xA0:
            return cls.take_list(data, code & 0xF)
        if code < 0xC0:
            return text_of(data.take(code & 0x1F))
        if code in [0xC0, 0xC2, 0xC3]:
            return {0xC0: None, 0xC2: False, 0xC3: True}[code]
        if code in cls.NUMBERS:
            return data.unpack(cls.NUMBERS[code])
        for first, forms, take in [
            (0xC4, cls.COUNTS, Bytes.take),
            (0xD9, cls.COUNTS, lambda data, count: text_of(data.take(count))),
            (0xDC, cls.COUNTS[1:], cls.take_list),
            (0xDE, cls.COUNTS[1:], cls.take_map),
        ]:
            if 0 <= code - first < len(forms):
                return take(data, data.unpack(forms[code - first]))
        raise Wrong  # an extension, or 0xc1, which is never used

    @classmethod
    def take_list(cls, data, count):
        demand(count <= len(data.data))
        return [cls.take(data) for _ in range(count)]

    @classmethod
    def take_map(cls, data, count):
        demand(count <= len(data.data))
        return Map([(cls.take(data), cls.take(data)) for _ in range(count)])

    @staticmethod
    def unpack_integer(kind, value):
        if kind in ["i128", "u128"] and type(value) is bytes and len(value) == 16:
            return int.from_bytes(value, "big", signed=kind == "i128")
        return value
