"""Text and bytes as they are."""

import ipaddress
import re
from decimal import Decimal

from .kinds import SIGNED, UNSIGNED, demand, integer, text_of


class Plain:
    @staticmethod
    def write(kind, value):
        match kind:
            case "unit":
                return b""
            case "bytes":
                return bytes(value)
            case "bool":
                return b"true" if value else b"false"
            case "f32" | "f64":
                return format(Decimal(repr(value)), "f").removesuffix(".0").encode()
        return str(value).encode()

    @staticmethod
    def read(kind, data):
        if kind == "bytes":
            return list(data)
        text = text_of(data)
        match kind:
            case "unit":
                demand(text == "")
                return None
            case "text":
                return text
            case "char":
                demand(len(text) == 1)
                return text
            case "bool":
                demand(text in ["true", "false"])
                return text == "true"
            case "f32" | "f64":
                demand(re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text))
                return float(text)
            case "address":
                parts = re.fullmatch(r"([0-9.]+|\[[0-9a-f:.]+\]):([0-9]{1,5})", text)
                demand(parts and int(parts[2]) < 1 << 16)
                ipaddress.ip_address(parts[1].strip("[]"))
                return text
        demand(re.fullmatch(r"\+?[0-9]+" if kind in UNSIGNED else "[+-]?[0-9]+", text))
        return integer(kind, int(text))
