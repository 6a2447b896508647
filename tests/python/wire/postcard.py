"""Postcard: values without names or types."""

import struct

from .kinds import (
    FLOATS,
    SIGNED,
    UNSIGNED,
    Bytes,
    demand,
    levels,
    text_of,
    unzigzag,
    varint,
    zigzag,
)


class Postcard:
    @classmethod
    def write(cls, kind, value):
        match kind:
            case "unit":
                return b""
            case "bool" | "u8" | "i8":
                return bytes([value & 0xFF])
            case str() if kind in FLOATS:
                return struct.pack(FLOATS[kind], value)
            case str() if kind in SIGNED:
                return varint(zigzag(value))
            case str() if kind in UNSIGNED:
                return varint(value)
            case "text" | "char":
                return varint(len(value.encode())) + value.encode()
            case "bytes":
                return varint(len(value)) + bytes(value)
            case ("option", inner):
                return b"\0" if value is None else b"\1" + cls.write(inner, value)
            case ("list", inner):
                return varint(len(value)) + cls.write(("tuple", [inner] * len(value)), value)
            case ("tuple", inners):
                return b"".join(cls.write(inner, each) for inner, each in zip(inners, value))
            case ("map", key, inner):
                pairs = [cls.write(key, k) + cls.write(inner, v) for k, v in value.items()]
                return varint(len(pairs)) + b"".join(pairs)
            case ("struct", fields):
                return cls.write(("tuple", list(fields.values())), [value[it] for it in fields])
            case ("enum", variants):
                name, inner = (value, None) if type(value) is str else next(iter(value.items()))
                head = varint(list(variants).index(name))
                return head if inner is None else head + cls.write(variants[name], inner)
        raise AssertionError(kind)

    @classmethod
    def read(cls, kind, data):
        data = Bytes(data)
        value = cls.take(kind, data)
        demand(not data.data)
        demand(levels(kind, value) <= 128)
        return value

    @classmethod
    def take(cls, kind, data):
        match kind:
            case "unit":
                return None
            case "bool":
                return bool(cls.choice(data, 2))
            case "u8" | "i8":
                return data.unpack("<B" if kind == "u8" else "<b")
            case str() if kind in FLOATS:
                return data.unpack(FLOATS[kind])
            case str() if kind in SIGNED:
                return unzigzag(data.varint(SIGNED[kind]))
            case str() if kind in UNSIGNED:
                return data.varint(UNSIGNED[kind])
            case "text" | "char":
                text = text_of(data.take(data.varint(64)))
                demand(kind == "text" or len(text) == 1)
                return text
            case "bytes":
                return list(data.take(data.varint(64)))
            case ("option", inner):
                return cls.take(inner, data) if cls.choice(data, 2) else None
            case ("list", inner):
                return [cls.take(inner, data) for _ in range(cls.count(data))]
            case ("tuple", inners):
                return [cls.take(inner, data) for inner in inners]
            case ("map", key, inner):
                pairs = range(cls.count(data))
                return dict([(cls.take(key, data), cls.take(inner, data)) for _ in pairs])
            case ("struct", fields):
                return {name: cls.take(inner, data) for name, inner in fields.items()}
            case ("enum", variants):
                name = list(variants)[cls.choice(data, len(variants))]
                return name if variants[name] is None else {name: cls.take(variants[name], data)}
        raise AssertionError(kind)

    @staticmethod
    def choice(data, count):
        number = data.varint(32)
        demand(number < count)
        return number

    @staticmethod
    def count(data):
        count = data.varint(64)
        demand(count <= len(data.data))
        return count
