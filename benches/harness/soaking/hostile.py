"""Peers that harm a server if it lets them.

Each is a function that takes another one to connect, and a source of random numbers. It returns when the server has ended
the connection, or ends it itself, and raises `Wrong` if the server does what it may not.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from harness.soaking.peers import (
    BUSY,
    FAILED,
    MAX_FRAME_LEN,
    MIB,
    PROTOCOL_ERROR,
    TIMED_OUT,
    TOO_LARGE,
    Peer,
    Wrong,
    control,
    frame,
)

# The beginning of a TLS handshake; the lengths are those of a real one.
CLIENT_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(194)
OTHER_PROTOCOLS = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"*1\r\n$4\r\nPING\r\n",
    b"EHLO a\r\n",
    CLIENT_HELLO,
]
# Kept, because making it would be most of the work. All but the last byte.
ALMOST_ALL = memoryview(frame(b"a" * MAX_FRAME_LEN))[:-1]


async def trickle(connect, rng):
    """Sends a byte of a frame now and then."""
    peer = await connect()
    for byte in frame(b"a" * 1_000):
        await peer.send(bytes([byte]))
        await asyncio.sleep(0.4)
    raise Wrong("a frame took 400 s")


async def silent(connect, rng):
    """Sends nothing, or the half of a header."""
    peer = await connect()
    await peer.send(bytes(rng.choice([0, 2])))
    await peer.rest()


async def reset_at_once(connect, rng):
    for _ in range(20):
        (await connect()).reset()


async def garbage(connect, rng):
    peer = await connect()
    await peer.send(rng.randbytes(rng.randrange(1, 4_096)))
    await peer.rest()


async def other_protocol(connect, rng):
    peer = await connect()
    await peer.send(rng.choice(OTHER_PROTOCOLS))
    await peer.rest()


async def bad_header(connect, rng):
    """Comes from a balancer, with a PROXY header that is cut or wrong."""
    peer = await connect(header=rng.choice([b"", b"PROXY TCP4 198.51", b"PROXY TCP4 a b c d\r\n", b"\r\n\r\n\0"]))
    await peer.rest()


async def almost_all(connect, rng):
    """Keeps the memory of a large message as long as it may."""
    peer = await connect()
    await peer.send(ALMOST_ALL)
    await peer.rest()


async def large_claim(connect, rng):
    """Claims a message that is within the limit, is skipped, or ends the connection."""
    peer = await connect()
    length = rng.choice([MAX_FRAME_LEN, 4 * MAX_FRAME_LEN, 4 * MAX_FRAME_LEN + 1, (1 << 31) - 1])
    await peer.send(length.to_bytes(4, "big") + b"a" * 100)
    await peer.rest()


async def reads_nothing(connect, rng):
    """Asks for large replies, and reads when the server no longer waits for that."""
    peer = await connect(window=4_096)
    await peer.send(frame(b"%d" % MAX_FRAME_LEN) * 2)
    await asyncio.sleep(5)
    if await peer.rest() >= 2 * MAX_FRAME_LEN:
        raise Wrong("replies that were not read for 5 s were kept")


async def reads_slowly(connect, rng):
    """Takes 20 KiB of large replies per second, and the rest when the server no longer waits for that."""
    peer = await connect(window=4_096)
    await peer.send(frame(b"%d" % MAX_FRAME_LEN) * 2)
    for _ in range(60):
        await asyncio.get_running_loop().sock_recv(peer.sock, 2_048)
        await asyncio.sleep(0.1)
    if await peer.rest() >= 2 * MAX_FRAME_LEN - 60 * 2_048:
        raise Wrong("replies that were read too slowly were kept")


async def deep_pipeline(connect, rng):
    peer = await connect()
    count = 1_000
    await peer.send(frame(b"100") * count)
    peer.end_sending()
    await asyncio.sleep(rng.random())
    await peer.rest()


async def half_close(connect, rng):
    """Closes its half at any place of three requests."""
    peer = await connect()
    data = frame(b"1000") + frame(rng.randbytes(100)) + frame(b"hang")
    await peer.send(data[: rng.randrange(len(data) + 1)])
    peer.end_sending()
    await peer.rest()


async def oversized(connect, rng):
    """Sends a message that is skipped, and then one that is answered."""
    peer = await connect()
    await peer.send(frame(bytes(MAX_FRAME_LEN + 1)) + frame(b"7"))
    await expect(peer, TOO_LARGE)
    await answer(peer)


async def control_frames(connect, rng):
    """Sends notices, which are skipped, and then a control frame that only servers send, or an invalid one."""
    peer = await connect()
    notices = b"".join(control(rng.randrange(0x80, 0x100), rng.randbytes(rng.randrange(4_000))) for _ in range(20))
    await peer.send(notices + frame(b"7"))
    await answer(peer)
    await peer.send(rng.choice([control(rng.randrange(0x80)), bytes.fromhex("80000000"), bytes.fromhex("ffffffff")]))
    await expect(peer, PROTOCOL_ERROR)
    await peer.rest()


async def panics(connect, rng):
    """Makes the function panic, and uses the connection again."""
    peer = await connect()
    for _ in range(3):
        await peer.send(frame(b"panic"))
        await expect(peer, FAILED)
    await peer.send(frame(b"7"))
    await answer(peer)
    peer.reset()


async def hangs(connect, rng):
    """Makes the function wait until it is dropped, by its time limit or by a reset."""
    peer = await connect()
    await peer.send(frame(b"hang"))
    if rng.random() < 0.5:
        await asyncio.sleep(rng.random())
        peer.reset()
    else:
        await expect(peer, TIMED_OUT)


async def resets(connect, rng):
    """Resets in the middle of a request, or of a reply."""
    peer = await connect()
    if rng.random() < 0.5:
        await peer.send(frame(bytes(MIB))[: rng.randrange(1, MIB)])
    else:
        await peer.send(frame(b"%d" % MIB) * 2)
        await peer.exactly(rng.randrange(1, 1_000))
    peer.reset()


async def herd(connect, rng):
    """Takes all connections of a server, or all that its address may have, and keeps them for a second."""
    peers = [await connect() for _ in range(100)]
    await asyncio.sleep(1)
    for peer in peers:
        peer.reset()


async def answer(peer):
    """A request is answered, unless the server is too busy or ends the connection."""
    kind, data = await peer.frame()
    if kind is None and data not in [b"7", b"x" * 7]:
        raise Wrong(f"the reply is {data[:100]!r}")


async def expect(peer, expected):
    """A rejection is of this kind, unless the server is too busy or ends the connection."""
    kind, data = await peer.frame()
    is_final = kind is not None and 0x40 <= kind < 0x80
    if kind not in [expected, BUSY] and not is_final:
        raise Wrong(f"kind {kind} with {data[:100]!r}, not {expected:#04x}")


@dataclass(frozen=True)
class Kind:
    """One kind of hostile peers: how long until the next, how many at a time, and at which servers."""

    attack: Callable
    pause: float
    at_once: int
    servers: tuple = ("echo", "wait", "block", "expand")

    @property
    def name(self):
        return self.attack.__name__.replace("_", " ")


KINDS = [
    Kind(trickle, 0.3, 20),
    Kind(silent, 0.3, 20),
    Kind(reset_at_once, 1, 4),
    Kind(garbage, 0.2, 20),
    Kind(other_protocol, 0.1, 20),
    Kind(bad_header, 0.5, 10),
    Kind(almost_all, 0.5, 24),
    Kind(large_claim, 0.3, 20),
    Kind(reads_nothing, 2, 8, ("expand",)),
    Kind(reads_slowly, 1, 8, ("expand",)),
    Kind(deep_pipeline, 1, 4),
    Kind(half_close, 0.2, 20),
    Kind(oversized, 3, 2),
    Kind(control_frames, 0.3, 10),
    Kind(panics, 0.3, 10),
    Kind(hangs, 0.2, 20, ("wait",)),
    Kind(resets, 0.2, 10),
    Kind(herd, 20, 1),
]

# How long a peer may hold its connection. No limit is longer than `max_connection_age` with a tenth of it and
# `drain_timeout`: 16 s. The rest is for a busy machine.
LIMIT = 30
# The clients of the balancer that are hostile. Without one, they come without a PROXY header.
SOURCES = [None, *(f"198.51.100.{number}" for number in range(1, 5))]


@dataclass
class Tally:
    """What became of the peers of one kind."""

    peers: int = 0
    # That the server closed with less than they asked for, or reset.
    cut: int = 0
    longest: float = 0.0


async def one(kind, server, rng, tally):
    """Runs one peer; raises `Wrong` if the server does not end it in time."""
    source = rng.choice(SOURCES)
    peers = []

    async def connect(**options):
        peers.append(await Peer.connect(server, source, **options))
        return peers[-1]

    loop = asyncio.get_running_loop()
    start = loop.time()
    try:
        async with asyncio.timeout(LIMIT) as limit:
            await kind.attack(connect, rng)
    except (EOFError, OSError):
        if limit.expired():
            raise Wrong(f"{kind.name} held its connection to {server.name} for {LIMIT} s") from None
        tally.cut += 1
    except Wrong as wrong:
        raise Wrong(f"{kind.name}, {server.name}: {wrong}") from None
    finally:
        for peer in peers:
            with contextlib.suppress(OSError):
                peer.close()
        tally.peers += 1
        tally.longest = max(tally.longest, loop.time() - start)
