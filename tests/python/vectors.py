"""Checks the vectors of WIRE.md against an implementation of its own, in the folder `wire`: what is
written becomes the bytes, and the bytes are read as it.

    vectors.py FILE

It prints how many lines it has checked, or each that is wrong with its number and the reason, and then
ends with exit code 1.
"""

import json
import re
import sys

sys.dont_write_bytecode = True

from wire.framings import FRAMINGS, Broken, Reading, Unsendable
from wire.kinds import TYPES, Wrong, compact, levels
from wire.named import Json, MessagePack
from wire.plain import Plain
from wire.postcard import Postcard
from wire.protobuf import Protobuf

FORMATS = {
    "Plain": Plain,
    "Json": Json,
    "Postcard": Postcard,
    "MessagePack": MessagePack,
    "Protobuf": Protobuf,
}
KINDS = {
    "error": 0x01,
    "bad-request": 0x02,
    "too-large": 0x03,
    "busy": 0x04,
    "timed-out": 0x05,
    "failed": 0x06,
    "cancelled": 0x07,
    "going-away": 0x40,
    "idle": 0x41,
    "too-many-connections": 0x42,
    "protocol-error": 0x43,
}
ESCAPES = {"n": "\n", "r": "\r", "\\": "\\", '"': '"', "'": "'"}


class Differs(Exception):
    """A line that is not so."""


def blocks(path):
    """Returns the name of each block and its lines with their numbers."""
    found, lines = [], None
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file.read().split("\n"), 1):
            if line.startswith("```vectors "):
                lines = []
                found.append((line.removeprefix("```vectors "), lines))
            elif line == "```":
                lines = None
            elif lines is not None:
                lines.append((number, line))
    return found


def read_bytes(written):
    """Reads pairs of hexadecimal digits, text in quotation marks, and `(bytes)*count`."""
    data, at = b"", 0
    while at < len(written):
        mark = written[at]
        if mark in "\"'":
            at += 1
            while written[at] != mark:
                if written[at] == "\\":
                    at += 1
                    data += ESCAPES[written[at]].encode()
                else:
                    data += written[at].encode()
                at += 1
            at += 1
        elif mark == "(":
            end = written.index(")*", at)
            count = re.match(r"\d+", written[end + 2 :])[0]
            data += read_bytes(written[at + 1 : end]) * int(count)
            at = end + 2 + len(count)
        else:
            data += bytes.fromhex(written[at : at + 2])
            at += 2
        at += written[at : at + 1] == " "
    return data


def maybe_bytes(written):
    return None if written == "nothing" else read_bytes(written)


def agree(what, found, expected):
    if found != expected:
        raise Differs(f"{what}: {found!r}, and not {expected!r}")


def check_framing(framing, limit, given, expected):
    verb, rest = given.split(" ", 1)
    match verb:
        case "send":
            check_send(framing, read_bytes(rest), expected)
        case "reject":
            kind, text = rest.split(" ", 1)
            rejection = framing.reject(KINDS[kind], read_bytes(text).decode())
            agree("it becomes", rejection, maybe_bytes(expected))
        case "announce":
            what, count = rest.split(" ")
            agree("it becomes", framing.announce(what, int(count)), read_bytes(expected))
        case "notice":
            agree("it becomes", framing.notice(*rest.split(" ")), read_bytes(expected))
        case "reply" | "request" if rest not in ["ends"]:
            check_written(lambda: getattr(framing, f"write_{verb}")(read_bytes(rest)), expected)
        case "request":
            agree("it ends with half-close", framing.half_close, expected == "half-close")
        case "server" | "client":
            check_read(framing, verb == "server", limit, rest.removeprefix("reads "), expected)
        case _:
            raise Differs("unknown verb")


def check_written(write, expected):
    try:
        written = write()
    except Unsendable:
        written = None
    cannot = expected.startswith("cannot, ")
    agree("it becomes", written, None if cannot else maybe_bytes(expected))
    return written


def check_send(framing, message, expected):
    written = check_written(lambda: framing.write(message), expected)
    if written is not None:
        found, consumed = framing.read(written, Reading(False, "end", 8 << 20))
        # A message with room for its length is read with the length.
        agree("it is read again as", (found[0], consumed), ("message", len(written)))
        agree("what is read becomes", framing.write(found[1]), written)


def check_read(framing, server, limit, given, expected):
    arrival = ""
    for each in ["end", "filled"]:
        if given.endswith(f" {each}"):
            given, arrival = given.removesuffix(f" {each}"), each
    data, reading = read_bytes(given), Reading(server, arrival, limit)
    for count, part in enumerate(expected.split(" then ")):
        try:
            found = framing.read(data, reading) if data or count == 0 else None
            while found and found[0] == ("nothing",):
                data, reading.first = data[found[1] :], False
                found = framing.read(data, reading) if data else None
        except Broken as broken:
            found = broken
        if part.startswith("id "):
            _, number, part = part.split(" ", 2)
            agree("its id is", reading.id, int(number))
        what, _, rest = part.partition(" ")
        match what:
            case "wait":
                agree("it finds", found, None)
                return
            case "error":
                if not isinstance(found, Broken):
                    raise Differs(f"it finds {found!r} and no error")
                why, answer = rest[1:].rsplit('", answered ', 1)
                name = found.args[0] if found.args else None
                agree("it answers", framing.answer_error(name, why), maybe_bytes(answer))
                return
            case "message" | "item" | "event" | "chunk" | "part":
                part = (what, read_bytes(rest))
            case "control":
                part = ("control", int(rest[:2], 16), read_bytes(rest[3:]))
            case "skip":
                part = ("skip", int(rest))
            case _:
                raise Differs("unknown finding")
        if found is None or isinstance(found, Broken):
            raise Differs(f"it finds {found!r}")
        agree("it finds", found[0], part)
        data, reading.first = data[found[1] :], False
    agree("it leaves", data, b"")


def check_format(form, given, expected):
    first, rest = given.split(" ", 1)
    name, value, written = first, rest, expected
    if first == "reads":
        (name, written), value = rest.split(" ", 1), expected
    # `outcome` is a message of Protocol Buffers, which have schemas of their own.
    kind, data = TYPES.get(name) if form is not Protobuf else name, maybe_bytes(written) or b""
    if first != "reads":
        agree("it becomes", form.write(kind, json.loads(value)), data)
    try:
        found = form.read(kind, data)
        found = compact(levels(kind, found) if name == "nest" else found)
    except Wrong:
        found = "wrong"
    agree("it is read as", found, value)


def check(name, lines, path):
    """Checks a block; returns how many lines are right and how many are wrong."""
    limit, right, wrong = 8 << 20, 0, 0
    if name in FRAMINGS:
        FRAMINGS[name].id = 0
    for number, line in lines:
        if line.startswith("limit "):
            limit = int(line.removeprefix("limit "))
            continue
        if line.startswith("id "):
            FRAMINGS[name].id = int(line.removeprefix("id "))
            continue
        try:
            given, expected = line.split(" = ", 1)
            if name in FORMATS:
                check_format(FORMATS[name], given, expected)
            else:
                check_framing(FRAMINGS[name], limit, given, expected)
            right += 1
        except Exception as error:
            wrong += 1
            kind = "" if isinstance(error, Differs) else f"{type(error).__name__}: "
            print(f"{path}:{number}: {line}: {kind}{error}", file=sys.stderr)
    return right, wrong


def main():
    path = sys.argv[1]
    counts = [check(name, lines, path) for name, lines in blocks(path)]
    print(f"{sum(right for right, _ in counts)} vectors are right")
    if any(wrong for _, wrong in counts):
        sys.exit(1)


if __name__ == "__main__":
    main()
