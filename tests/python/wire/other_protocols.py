"""Peers that speak something else, by their first bytes."""

import re
import struct

METHODS = [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH"]
STARTS = {
    b"PRI * HTTP/2.0\r\n": "HTTP",
    b"SSH-2.0-": "SSH",
    b"SSH-1.": "SSH",
    b"PROXY TCP4 ": "PROXY",
    b"PROXY TCP6 ": "PROXY",
    b"PROXY UNKNOWN": "PROXY",
    b"\r\n\r\n\0\r\nQUIT\n": "PROXY",
}
NUMBER = rb"[1-9][0-9]{0,7}"
VERSION = [b"H", b"T", b"T", b"P", b"/", b"1", rb"\."]
# Each prefix of a regular expression is one too, so they are lists of parts.
PATTERNS = {
    "HTTP": [rb"(" + b"|".join(METHODS) + rb")", rb" ", rb"[^\0- \x7f]+", rb" ", *VERSION],
    "Redis": [rb"\*", NUMBER, rb"\r", rb"\n", rb"\$", NUMBER, rb"\r", rb"\n"],
}
ANSWERS = {
    "HTTP": b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 31\r\n"
    b"Connection: close\r\n\r\nThis port does not speak HTTP.\n",
    "TLS": bytes([21, 3, 3, 0, 2, 2, 10]),
    "SSH": b"This port does not speak SSH.\r\n",
    "Redis": b"-ERR this port does not speak the protocol of Redis\r\n",
    "text": b"This port expects length-prefixed frames; to use it with nc, serve it with "
    b"`framing = Lines`.\n",
    "lengths": b"\x80\0\0\x37\x43this port expects lines of text: use `framing = Lines`",
}


def recognise(data):
    """Returns what the first bytes of a client are, `maybe` if more of them can tell, or nothing."""
    for start, name in STARTS.items():
        if data.startswith(start):
            return name
    for name, parts in PATTERNS.items():
        if re.match(b"".join(parts), data):
            return name
    if (found := tls(data)) != "maybe" and found:
        return found
    beginnings = [b"".join(parts[:end]) for parts in PATTERNS.values() for end in range(len(parts))]
    can_become = (
        any(start.startswith(data) for start in [*STARTS, *METHODS])
        or any(re.fullmatch(beginning, data) for beginning in beginnings)
        or found == "maybe"
    )
    return "maybe" if can_become else None


def is_telling(data):
    """Returns whether bytes that can become another protocol are enough to wait for more."""
    return len(data) >= 4 or (len(data) >= 2 and (data[0] < 32 or data[0] == 127))


def of_text(start):
    """Returns what four bytes of text are the start of."""
    known = {method[:4]: "HTTP" for method in [each + b" " for each in METHODS]}
    known |= {each[:4]: name for each, name in STARTS.items()}
    parts = PATTERNS["Redis"]
    if any(re.fullmatch(b"".join(parts[:end]), start) for end in range(1, len(parts))):
        return "Redis"
    return known.get(start, "text")


def tls(data):
    """A handshake record with a client hello, of which the lengths agree."""
    allowed = [[22], [3], range(5), None, None, [1], [0], None, None, [3], range(5)]
    start = data[:11]
    if not all(values is None or byte in values for byte, values in zip(start, allowed)):
        return None
    if len(start) >= 9:
        record, hello = struct.unpack(">H", start[3:5])[0], struct.unpack(">H", start[7:9])[0]
        if record != hello + 4 or record > 1 << 14:
            return None
    return "TLS" if len(start) == 11 else "maybe"


def answer(name):
    """Returns what such a peer is told; nothing if the framing tells it."""
    return ANSWERS.get(name)


def recognise_server(data):
    """Returns `other` if the first bytes of a server are of another protocol, `maybe` if more of them can tell."""
    digits = b"0123456789"
    status = [*(bytes([byte]) for byte in b"HTTP/1."), b"01", b" ", b"12345", digits, digits, range(10, 33)]
    alert = [[21], [3], range(5), [0], [2], [1, 2], range(256)]
    versions = [[bytes([byte]) for byte in start] for start in [b"SSH-2.0-", b"SSH-1."]]
    allowed = [each for each in [status, alert, *versions] if all(map(lambda byte, of: byte in of, data, each))]
    if any(len(data) >= len(each) for each in allowed):
        return "other"
    return "maybe" if allowed else None


def is_answer(data):
    """Returns whether a server says that its client speaks something else."""
    return any(data.startswith(answer) for name, answer in ANSWERS.items() if name != "TLS")
