"""A connection to a server of `soak`, and the frames on it."""

import asyncio
import contextlib
import socket
import struct
import time
from dataclasses import dataclass

MIB = 1 << 20
# What the servers have by default.
MAX_FRAME_LEN = 8 * MIB

# The kinds of control frames in WIRE.md. Those of the second line are final.
TOO_LARGE, BUSY, TIMED_OUT, FAILED = 0x03, 0x04, 0x05, 0x06
GOING_AWAY, IDLE, TOO_MANY, PROTOCOL_ERROR = 0x40, 0x41, 0x42, 0x43


class Wrong(Exception):
    """Something that no server may do; the text says what."""


@dataclass(frozen=True)
class Server:
    """One of the servers, with its port, and the one for connections that begin with a PROXY header."""

    name: str
    port: int
    proxied: int


class Peer:
    """Sends and receives nothing unless it is told to."""

    def __init__(self, sock):
        self.sock = sock
        self.received = bytearray()
        self.exchanges = 0

    @classmethod
    async def connect(cls, server, source=None, window=None, header=None):
        """Connects as the client `source` of a balancer, with a PROXY header or what is sent instead, or directly."""
        sock = socket.socket()
        sock.setblocking(False)
        peer = cls(sock)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if window:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
            if source and header is None:
                header = f"PROXY TCP4 {source} 192.0.2.1 40000 7000\r\n".encode()
            port = server.port if header is None else server.proxied
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
            if header:
                await peer.send(header)
        except BaseException:
            sock.close()
            raise
        return peer

    async def send(self, data):
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    def end_sending(self):
        self.sock.shutdown(socket.SHUT_WR)

    async def some(self):
        """Receives what there is, and nothing when the server has closed."""
        return await asyncio.get_running_loop().sock_recv(self.sock, 256 * 1024)

    async def exactly(self, count):
        while len(self.received) < count:
            data = await self.some()
            if not data:
                raise EOFError(f"{len(self.received)} of {count} bytes")
            self.received += data
        data = bytes(self.received[:count])
        del self.received[:count]
        return data

    async def frame(self):
        """Receives the kind of a frame, which is `None` for a message, and what is in it."""
        (header,) = struct.unpack(">I", await self.exactly(4))
        if header < 1 << 31:
            return None, await self.exactly(header)
        data = await self.exactly(header - (1 << 31))
        return data[0], data[1:]

    async def rest(self):
        """Counts what comes until the server closes."""
        count = len(self.received)
        while data := await self.some():
            count += len(data)
        return count

    def close(self):
        self.sock.close()

    def reset(self):
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def frame(message):
    return struct.pack(">I", len(message)) + message


def control(kind, text=b""):
    return struct.pack(">IB", 1 << 31 | 1 + len(text), kind) + text


class Pace:
    """Makes all pauses longer while this process and the servers use more than their share of a core."""

    # Of one core.
    MOST = 0.3

    def __init__(self):
        self.factor = 1.0

    async def pause(self, seconds):
        await asyncio.sleep(seconds * self.factor)

    def adapt(self, share):
        self.factor = min(10.0, max(1.0, self.factor * (share / self.MOST) ** 0.5))


def now():
    return time.monotonic()
