"""Callers that keep to the protocol, and check each reply."""

import asyncio
from array import array
from collections import Counter
from dataclasses import dataclass, field

from harness.soaking.peers import (
    BUSY,
    GOING_AWAY,
    IDLE,
    MAX_FRAME_LEN,
    TOO_MANY,
    Peer,
    Wrong,
    frame,
    now,
)

# How often a call is sent again, if the server said that it was not executed, and after which pause.
TRIES, PAUSE = 100, 0.05
# How many calls there are for each whose time is kept. The longest of all is known in any case.
SHARE = 4
# The rejections after which WIRE.md lets a client send a request again.
FINAL = {GOING_AWAY: "going away", IDLE: "idle", TOO_MANY: "too many connections"}


@dataclass
class Tally:
    """What the calls of one kind came to."""

    calls: int = 0
    bytes: int = 0
    longest: float = 0.0
    times: array = field(default_factory=lambda: array("d"))
    # How often calls were sent again, by the reason.
    again: Counter = field(default_factory=Counter)

    def add(self, size, seconds):
        self.calls += 1
        self.bytes += size
        self.longest = max(self.longest, seconds)
        if self.calls % SHARE == 1:
            self.times.append(seconds)


class Caller:
    """Calls over one connection after the other, each of which it keeps while the server does."""

    def __init__(self, server, source, rng, tally):
        self.server, self.source, self.rng, self.tally = server, source, rng, tally
        self.peer = None

    async def call(self, sizes):
        """Sends requests of these sizes at once, and returns when each has its reply."""
        calls = [self.request(size) for size in sizes]
        start = now()
        for _ in range(TRIES):
            calls = await self.attempt(calls)
            if not calls:
                break
            await asyncio.sleep(PAUSE)
        else:
            raise Wrong(f"{self.server.name}: no reply after {TRIES} rejections")
        for size in sizes:
            self.tally.add(size, now() - start)

    def request(self, size):
        """Returns a request with the reply that it must have."""
        if self.server.name == "expand":
            return str(size).encode(), b"x" * size
        # Random, and cheap for large sizes.
        part = self.rng.randbytes(min(size, 4096))
        data = (part * (size // 4096 + 1))[:size]
        return data, data

    async def attempt(self, calls):
        """Returns the calls that were not executed, as the server says."""
        is_kept = self.peer is not None
        again = []
        received = 0
        try:
            if not self.peer:
                self.peer = await Peer.connect(self.server, self.source)
            sending = asyncio.ensure_future(self.peer.send(b"".join(frame(request) for request, _ in calls)))
            try:
                for request, expected in calls:
                    kind, data = await self.peer.frame()
                    if kind in FINAL:
                        self.tally.again[FINAL[kind]] += 1
                        self.close()
                        return again + calls[received:]
                    if kind == BUSY:
                        self.tally.again["busy"] += 1
                        again.append((request, expected))
                    elif kind is not None:
                        raise Wrong(f"{self.server.name}: kind {kind:#04x}, {data[:100]!r}")
                    elif data != expected:
                        start, length = data[:20], len(data)
                        raise Wrong(f"{self.server.name}: {length} bytes, {start!r}, for {len(expected)}")
                    received += 1
                # The server takes the rest of a request that it has rejected before its end.
                await sending
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
        except (EOFError, OSError) as error:
            self.close()
            if received or isinstance(error, TimeoutError):
                raise Wrong(f"{self.server.name}: {error!r} after {received} of {len(calls)}") from error
            # A connection that waits for a request may close as the next one is sent (decision 006). A server that
            # is full closes new ones without a message, if they begin with a handshake or if there are many.
            self.tally.again["a close as it was sent" if is_kept else "a close by a full server"] += 1
            return calls
        return again

    def close(self):
        if self.peer:
            self.peer.close()
        self.peer = None


async def small(caller, pace):
    """Calls again and again, sometimes several times at once, and sometimes after a long pause."""
    while True:
        count = caller.rng.choice([1] * 9 + [16])
        await caller.call([caller.rng.randrange(2_000) for _ in range(count)])
        is_long = caller.rng.random() < 0.002
        await pace.pause(6 if is_long else 0.08)


async def large(caller, pace):
    while True:
        await caller.call([caller.rng.randrange(64 * 1024, MAX_FRAME_LEN)])
        await pace.pause(2)


async def new(caller, pace):
    """Closes the connection after a few calls."""
    while True:
        for _ in range(caller.rng.randrange(1, 4)):
            await caller.call([caller.rng.randrange(2_000)])
        caller.close()
        await pace.pause(0.2)


# What callers there are for each server, and how many.
KINDS = {"small": (small, 3), "large": (large, 1), "new": (new, 1)}
