"""The framings.

Each has `write(message)`, and `cut(data, reading)`, which returns what stands first in all that has
arrived and how many bytes it takes, or nothing where it must wait.
"""

import re
import string
import struct
from dataclasses import dataclass

from . import other_protocols


class Broken(Exception):
    """The end of the connection; its argument is what the peer seems to speak instead."""


class Unsendable(Exception):
    """A message that cannot be sent."""


@dataclass
class Reading:
    server: bool  # whether a server reads, and not a client
    arrival: str  # `end`, `filled`, or nothing
    limit: int
    first: bool = True
    announced: tuple = ("", 0)  # what the next messages are, and how many
    id: int = 0  # of the frame that was read last
    due: bytes = b""  # what must follow a message that was skipped

    @property
    def ended(self):
        return self.arrival == "end"


def message(data, consumed):
    return ("message", data), consumed


def wait(data, reading):
    """Nothing yet; but there will be nothing more behind the end."""
    if data and reading.ended:
        raise Broken
    return None


class Framing:
    has_control = False
    half_close = False
    at_once = False

    def read(self, data, reading):
        """Cuts a frame, unless one end speaks something else."""
        if reading.due and data:
            if data[0] != reading.due[0]:
                raise Broken
            reading.due = reading.due[1:]
            return ("nothing",), 1
        if not reading.first:
            return self.cut(data, reading)
        if not reading.server and not self.has_control and other_protocols.is_answer(data):
            raise Broken
        try:
            found, error = self.cut(data, reading), None
        except Broken as broken:
            found, error = None, broken
            if broken.args:
                raise
        if not reading.server:
            is_short = found and found[1] < 4
            seen = None if is_short else other_protocols.recognise_server(data)
            if seen == "other":
                raise Broken
        elif found and found[0][0] != "skip":
            # A frame is judged by its own bytes; only if they leave it open, those behind it count.
            own = data[: found[1]]
            seen = other_protocols.recognise(own)
            if seen is None or (seen == "maybe" and (self.at_once or not other_protocols.is_telling(own))):
                return found
        if reading.server:
            seen = other_protocols.recognise(data)
            if seen not in [None, "maybe"]:
                raise Broken(seen)
        if seen == "maybe" and not reading.ended:
            return None
        if error:
            raise error
        return found

    def reject(self, code, text):
        if not self.has_control:
            return None
        text = text.encode()[:4095].decode(errors="ignore").encode()
        return struct.pack(">IB", 1 << 31 | 1 + len(text), code) + text

    def answer_error(self, name, why):
        """Returns the last words to a peer that speaks something else, or breaks the framing."""
        return other_protocols.answer(name) or self.reject(0x43, why)


class Counted(Framing):
    """Framings that begin with a length, of so many bytes."""

    def cut_counted(self, data, reading, start, length, tail=b""):
        end = start + length
        if length > reading.limit:
            if length > 4 * reading.limit or (reading.ended and len(data) < end + len(tail)):
                raise Broken
            if data[end : end + len(tail)] == tail:
                return ("skip", length), end + len(tail)
            reading.due = tail
            return ("skip", length), end
        if len(data) < end + len(tail):
            return wait(data, reading)
        if data[end : end + len(tail)] != tail:
            raise Broken
        return message(data[start:end], end + len(tail))


CHUNKS_END = 0x84
ANNOUNCED = {0x81: "item", 0x82: "event", 0x83: "chunk"}
NOTICES = {"credit": 0x86, "cancel": 0x87, "deadline": 0x88}


class LengthPrefixed(Counted):
    has_control = True
    header = 4
    announced = ANNOUNCED

    def write(self, data):
        return struct.pack(">I", len(data)) + data

    def cut(self, data, reading):
        if reading.first:
            self.reject_text(data, reading)
        if len(data) < self.header:
            return wait(data, reading)
        (header,) = struct.unpack(">I", data[:4])
        if header < 1 << 31:
            return self.cut_message(data, reading, header)
        length, start = header - (1 << 31), self.header
        if not 1 <= length <= 4096:
            raise Broken
        if len(data) < start + length:
            return wait(data, reading)
        kind = data[start]
        if reading.server and kind < 0x80:
            raise Broken
        text = data[start + 1 : start + length]
        if kind == CHUNKS_END:
            reading.announced = ("", 0)
        if kind in self.announced and len(text) == 4:
            reading.announced = (self.announced[kind], int.from_bytes(text, "big"))
        return ("control", kind, text), start + length

    def cut_message(self, data, reading, length):
        what, count = reading.announced
        if count > 0 and length > reading.limit:
            raise Broken
        cut = self.cut_counted(data, reading, self.header, length)
        if cut is None or count == 0:
            return cut
        reading.announced = (what, count - 1)
        return (what, cut[0][1]), cut[1]

    def announce(self, what, count):
        kind = next(kind for kind, name in self.announced.items() if what == f"{name}s")
        return b"\x80\0\0\x05" + bytes([kind]) + struct.pack(">I", count)

    def notice(self, what, number=None):
        text = b"" if number is None else struct.pack(">I", int(number))
        return struct.pack(">IB", 1 << 31 | 1 + len(text), NOTICES[what]) + text

    def reject_text(self, data, reading):
        start = data[: min(4, data.find(b"\n") + 1 or 4)]
        is_text = all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start)
        whole = len(start) == 4 or b"\n" in start or reading.ended
        if start and is_text and whole and start[0] >= 32:
            raise Broken(other_protocols.of_text(start) if reading.server else None)


class Multiplexed(LengthPrefixed):
    header = 8
    announced = {**ANNOUNCED, 0x85: "part"}
    id = 0  # of what is written

    def with_id(self, frame, id):
        return frame[:4] + struct.pack(">I", id) + frame[4:]

    def write(self, data):
        return self.with_id(super().write(data), self.id)

    def cut(self, data, reading):
        cut = super().cut(data, reading)
        if cut is not None:
            (reading.id,) = struct.unpack(">I", data[4:8])
            if reading.server and reading.id == 0 and cut[0][0] != "control":
                raise Broken
        return cut

    def reject(self, code, text):
        return self.with_id(super().reject(code, text), 0 if code >= 0x40 else self.id)

    def announce(self, what, count):
        return self.with_id(super().announce(what, count), 0 if what == "events" else self.id)

    def notice(self, what, number=None):
        return self.with_id(super().notice(what, number), self.id)


class LengthField(Counted):
    def __init__(self, width, order="big", offset=0, adjustment=0, skip=0):
        self.field, self.width, self.order = slice(offset, offset + width), width, order
        self.adjustment, self.skip = adjustment, skip

    def write(self, data):
        frame = bytearray(self.skip) + data
        if len(frame) < self.field.stop:
            raise Unsendable
        length = len(frame) - self.field.stop - self.adjustment
        try:
            frame[self.field] = length.to_bytes(self.width, self.order)
        except OverflowError:
            raise Unsendable from None
        return bytes(frame)

    def cut(self, data, reading):
        if len(data) < self.field.stop:
            return wait(data, reading)
        end = int.from_bytes(data[self.field], self.order) + self.adjustment + self.field.stop
        if end < max(self.field.stop, self.skip):
            raise Broken
        return self.cut_counted(data, reading, self.skip, end - self.skip)


class Prefixed(LengthField):
    def __init__(self, width, order="big", whole=False):
        super().__init__(width, order, adjustment=-width if whole else 0, skip=width)


class Varint(Counted):
    def __init__(self, header=0):
        self.header = header

    def number(self, data):
        """Returns the length, and where what it counts begins."""
        number = 0
        width, bits = (4, 28) if self.header else (5, 32)
        for at, byte in enumerate(data[self.header : self.header + width]):
            number += (byte % 128) * 128**at
            if byte < 128 and number < 1 << bits:
                return number, self.header + at + 1
        if len(data) < self.header + width:
            return None
        raise Broken

    def write(self, data):
        start = 0
        if self.header:
            try:
                _, start = self.number(data)
            except (Broken, TypeError):
                raise Unsendable from None
        body, digits = data[start:], b""
        rest = len(body)
        while rest > 127:
            rest, digit = divmod(rest, 128)
            digits += bytes([digit + 128])
        return data[: self.header] + digits + bytes([rest]) + body

    def cut(self, data, reading):
        number = self.number(data)
        if number is None:
            return wait(data, reading)
        length, start = number
        if self.header:
            return self.cut_counted(data, reading, 0, start + length)
        return self.cut_counted(data, reading, start, length)


class Digits(Counted):
    tail = b""

    def __init__(self, end):
        self.end = end

    def write(self, data):
        return b"%d%s%s%s" % (len(data), self.end, data, self.tail)

    def cut(self, data, reading):
        digits = data[: len(data) - len(data.lstrip(string.digits.encode()))]
        behind = data[len(digits) : len(digits) + 1]
        if (behind and (behind != self.end or not digits)) or (digits[:1] == b"0" and digits != b"0"):
            raise Broken
        if digits and int(digits) > 4 * reading.limit:
            raise Broken
        if not behind:
            return wait(data, reading)
        return self.cut_counted(data, reading, len(digits) + 1, int(digits), self.tail)


class Netstrings(Digits):
    tail = b","

    def __init__(self):
        super().__init__(b":")


class Hex4(Counted):
    without_length = [b"0000", b"0001", b"0002"]

    def write(self, data):
        if data in [*self.without_length, b"0004"]:
            return data
        if not 4 < len(data) <= 65520:
            raise Unsendable
        return b"%04x" % len(data) + data[4:]

    def cut(self, data, reading):
        digits = data[:4]
        if len(digits) < 4:
            return wait(data, reading)
        if any(digit not in string.hexdigits.encode() for digit in digits) or digits == b"0003":
            raise Broken
        length = 4 if digits in self.without_length else int(digits, 16)
        if length > 65520:
            raise Broken
        return self.cut_counted(data, reading, 0, length)


class Delimited(Framing):
    def __init__(self, delimiter):
        self.delimiter = delimiter

    def write(self, data):
        if (data + self.delimiter).find(self.delimiter) != len(data):
            raise Unsendable
        return data + self.delimiter

    def cut(self, data, reading):
        end = data.find(self.delimiter)
        if end < 0:
            begun = max(
                count for count in range(len(self.delimiter)) if data.endswith(self.delimiter[:count])
            )
            if len(data) - begun > reading.limit:
                raise Broken
            return wait(data, reading)
        if end > reading.limit:
            raise Broken
        return message(data[:end], end + len(self.delimiter))


def lines_of(text):
    """Returns the lines of a text, each of which ends with LF, CRLF or the text."""
    *ended, last = text.split(b"\n")
    return [line.removesuffix(b"\r") for line in ended] + ([last] if last or not ended else [])


class Lines(Framing):
    end = b"\n"

    def write(self, data):
        if b"\n" in data:
            raise Unsendable
        # A reader takes one carriage return for a part of the end.
        return data + (b"\r\n" if data.endswith(b"\r") else self.end)

    def cut(self, data, reading):
        if reading.server and reading.first and data.startswith(b"\0"):
            raise Broken("lengths")
        line, end, _ = data.partition(b"\n")
        text = line.removesuffix(b"\r")
        if len(text) > reading.limit or (end and not (line + end).endswith(self.end)):
            raise Broken
        return message(text, len(line) + 1) if end else wait(data, reading)


class CrlfLines(Lines):
    end = b"\r\n"


class Blocks(Counted):
    def write(self, data):
        return data + b"\r\n"

    write_reply = write

    def write_request(self, data):
        try:
            found = self.cut(data + b"\r\n", Reading(True, "", 1 << 30))
        except Broken:
            found = None
        if not found or found[1] != len(data) + 2:
            raise Unsendable
        return data + b"\r\n"

    def cut(self, data, reading):
        line, end, _ = data.partition(b"\n")
        text = line.removesuffix(b"\r")
        if len(text) > reading.limit:
            raise Broken
        if not end:
            return wait(data, reading)
        if not re.fullmatch(rb"\+\d+", text):
            return message(text, len(line) + 1)
        return self.cut_counted(data, reading, 0, len(line) + 1 + int(text), b"\r\n")


class ContentLength(Counted):
    def write(self, data):
        return b"Content-Length: %d\r\n\r\n%s" % (len(data), data)

    def cut(self, data, reading):
        end = data.find(b"\r\n\r\n")
        if (end if end >= 0 else len(data) - 3) > 1024:
            raise Broken
        if end < 0:
            return wait(data, reading)
        try:
            headers = [line.split(":", 1) for line in data[:end].decode().split("\r\n")]
            if not all(re.fullmatch("[!-~]+", name) and not re.search("[\r\n]", value) for name, value in headers):
                raise Broken
            [length] = [value.strip(" \t") for name, value in headers if name.lower() == "content-length"]
        except (ValueError, UnicodeDecodeError):
            raise Broken from None
        if not re.fullmatch("[0-9]+", length):
            raise Broken
        return self.cut_counted(data, reading, end + 4, int(length))


class CrlfText(Framing):
    def __init__(self, prompt=b"", dot_end=False, telnet=True):
        self.prompt, self.dot_end, self.telnet = prompt, dot_end, telnet

    def has_telnet(self, data):
        return self.telnet and re.search(rb"(^|\n)\xff(?!\xff)|\r\0", data)

    def write(self, data):
        return self.write_reply(data)

    def write_reply(self, data):
        if self.has_telnet(data):
            raise Unsendable
        lines = lines_of(data)
        if b"\n" in data and self.dot_end:
            lines = [b"." * line.startswith(b".") + line for line in lines] + [b"."]
        return b"".join(line + b"\r\n" for line in lines) + self.prompt

    def write_request(self, data):
        if b"\n" in data or self.has_telnet(data):
            raise Unsendable
        return data + b"\r\n"

    def cut(self, data, reading):
        if reading.server and reading.first and data.startswith(b"\0"):
            raise Broken("lengths")
        if self.telnet and data[:1] == b"\xff" and data[1:2] != b"\xff":
            command = re.match(
                rb"\xff(\xfa([^\xff]|\xff[^\xf0])*\xff\xf0|[\xfb-\xfe].|[^\xfa-\xff])", data, re.DOTALL
            )
            if command:
                return ("nothing",), command.end()
            if len(data) > 1026:
                raise Broken
            return wait(data, reading)
        end = re.search(rb"\r?\n|\r\0" if self.telnet else rb"\r?\n", data)
        if end:
            text, consumed = data[: end.start()], end.end()
        else:
            text, consumed = data.removesuffix(b"\r"), None
        if len(text) > reading.limit:
            raise Broken
        return message(text, consumed) if end else wait(data, reading)


class Text(CrlfText):
    """The first message is a text, and those after it are lines."""

    def cut(self, data, reading):
        if not reading.first:
            return super().cut(data, reading)
        end = (b"\r\n" + data).find(b"\r\n.\r\n")
        if end > reading.limit or self.has_telnet(data[: max(end, 0)]):
            raise Broken
        return message(data[:end], end + 3) if end >= 0 else wait(data, reading)


class CodeLines(Framing):
    def write(self, data):
        text = b"".join(line + b"\r\n" for line in lines_of(data))
        if not self.has_code(text) or self.end(text)[1] != len(text):
            raise Unsendable
        return text

    def cut(self, data, reading):
        if not self.has_code(data):
            raise Broken
        length, consumed = self.end(data)
        if length > reading.limit:
            raise Broken
        return message(data[:length], consumed) if consumed else wait(data, reading)

    def has_code(self, data):
        return re.fullmatch(rb"\d{0,3}|\d{3}([ -].*|\r?\n.*|\r)", data, re.DOTALL)

    def end(self, data):
        """Returns the length of the first reply, with and without its line end."""
        for line in re.finditer(rb"([^\n]*?)\r?\n", data):
            if re.fullmatch(re.escape(data[:3]) + b"( .*)?", line[1], re.DOTALL):
                return line.end(1), line.end()
        return len(data.removesuffix(b"\r")), None


class Fixed(Framing):
    def __init__(self, size):
        self.size = size

    def write(self, data):
        if len(data) != self.size:
            raise Unsendable
        return data

    def cut(self, data, reading):
        if len(data) < self.size:
            return wait(data, reading)
        return message(data[: self.size], self.size)


class UntilEof(Framing):
    half_close = True

    def write(self, data):
        return data

    def cut(self, data, reading):
        if len(data) > reading.limit:
            raise Broken
        return message(data, len(data)) if self.is_whole(data, reading) else None

    def is_whole(self, data, reading):
        return reading.ended and (data or not reading.server)


class Raw(UntilEof):
    half_close = False
    at_once = True

    def is_whole(self, data, reading):
        if reading.server:
            return data and reading.arrival != "filled"
        return reading.ended


class Verbatim(Framing):
    def write_reply(self, data):
        return data or None

    def cut(self, data, reading):
        if data and not reading.limit:
            raise Broken
        return message(data[: reading.limit], min(len(data), reading.limit)) if data else None


class Duplex(Framing):
    def __init__(self, requests, replies):
        self.requests, self.replies = requests, replies
        self.has_control, self.reject = replies.has_control, replies.reject

    def write(self, data):
        return self.replies.write(data)

    def write_request(self, data):
        write = getattr(self.requests, "write_request", self.requests.write)
        return write(data)

    def cut(self, data, reading):
        return (self.requests if reading.server else self.replies).cut(data, reading)


FRAMINGS = {
    "LengthPrefixed": LengthPrefixed(),
    "Multiplexed": Multiplexed(),
    "Lines": Lines(),
    "CrlfLines": CrlfLines(),
    "CrlfText": CrlfText(),
    "CrlfText DOT_END": CrlfText(dot_end=True),
    "CrlfText prompt DOT_END": CrlfText(b"> ", dot_end=True),
    "CrlfText NO_TELNET": CrlfText(telnet=False),
    "CrlfText read_text": Text(),
    "Blocks": Blocks(),
    "CodeLines": CodeLines(),
    "ContentLength": ContentLength(),
    "Delimited ;": Delimited(b";"),
    "Delimited CRLF.CRLF": Delimited(b"\r\n.\r\n"),
    "Fixed 4": Fixed(4),
    "Netstrings": Netstrings(),
    "Prefixed 1": Prefixed(1),
    "Prefixed 2 LITTLE_ENDIAN": Prefixed(2, "little"),
    "Prefixed 2 LITTLE_ENDIAN INCLUDES_HEADER": Prefixed(2, "little", whole=True),
    "Prefixed 3 LITTLE_ENDIAN": Prefixed(3, "little"),
    "Prefixed 4": Prefixed(4),
    "LengthField 2 offset 4": LengthField(2, offset=4),
    "LengthField 3 little-endian adjustment 1": LengthField(3, "little", adjustment=1),
    "LengthField 4 offset 1 adjustment -4": LengthField(4, offset=1, adjustment=-4),
    "LengthField 8 skip 8": LengthField(8, skip=8),
    "LengthField 2 offset 1 adjustment 1 skip 1": LengthField(2, offset=1, adjustment=1, skip=1),
    "Varint": Varint(),
    "Varint 1": Varint(1),
    "Digits SPACE": Digits(b" "),
    "Hex4": Hex4(),
    "UntilEof": UntilEof(),
    "Raw": Raw(),
    "Verbatim": Verbatim(),
    "Duplex CrlfText UntilEof": Duplex(CrlfText(), UntilEof()),
    "Duplex Lines LengthPrefixed": Duplex(Lines(), LengthPrefixed()),
}
