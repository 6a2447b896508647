"""Runs the servers of `soak` with honest callers and hostile peers, and keeps what happened."""

import asyncio
import contextlib
import copy
import json
import os
import random
import signal
from collections import Counter

from harness.programs import RELEASE, START_LIMIT, STOP_LIMIT, Failed
from harness.soaking import hostile, honest
from harness.soaking.peers import Pace, Server, Wrong, now
from harness.soaking.watch import own_processor, sample

# How long the honest callers go on alone, and for how many seconds at the end of it the servers are at rest. It is
# longer than a hostile connection lives (see `hostile.LIMIT`), and than tokio keeps an idle thread.
REST, RESTING = 25, 5
# How long there is load again before the servers are stopped.
AGAIN = 3
# glibc would keep the memory of large buffers, and how much of it depends on chance (see the documentation of
# `tcs::server`).
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "131072"}


async def run(seconds, seed, fault, log_path):
    """Returns everything that was seen, as `verdict` takes it."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *[RELEASE / "soak", *([fault] if fault else [])],
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        env=os.environ | MALLOC,
    )
    try:
        log = Log(process.stderr, log_path)
        reading = asyncio.create_task(log.read())
        line = await asyncio.wait_for(process.stdout.readline(), START_LIMIT)
        servers = {name: Server(name, *ports) for name, ports in json.loads(line).items()}
        load = Load(process, servers, seed)
        found = await load.run(seconds)
        await reading
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    return found | {"seconds": seconds, "seed": seed, "log": log.found()}


class Load:
    """The peers of the servers, and what they meet."""

    def __init__(self, process, servers, seed):
        self.process, self.servers = process, servers
        self.rng = random.Random(seed)
        self.pace = Pace()
        self.attacks = asyncio.Event()
        self.honest = {name: honest.Tally() for name in honest.KINDS}
        self.hostile = {kind.name: hostile.Tally() for kind in hostile.KINDS}
        self.is_stopping = False
        self.wrong = []
        self.samples, self.shares = [], []

    async def run(self, seconds):
        await self.warm_up()
        start = await sample(self.process)
        callers = [
            (name, server)
            for server in self.servers.values()
            for name, (_, count) in honest.KINDS.items()
            for _ in range(count)
        ]
        tasks = [self.watch(), *(self.attack(kind) for kind in hostile.KINDS)]
        tasks += [self.call(name, server, number) for number, (name, server) in enumerate(callers)]
        watching, *others = tasks = [asyncio.create_task(task) for task in tasks]

        self.attacks.set()
        await pause(tasks, seconds)
        loaded = list(self.samples)
        self.attacks.clear()
        await pause(tasks, REST)
        rest = self.samples[-RESTING:]
        # The servers are stopped under load. From then on, callers are told so, and then find no server.
        self.attacks.set()
        await pause(others, AGAIN)
        watching.cancel()
        self.is_stopping = True
        tallies = copy.deepcopy({"honest": self.honest, "hostile": self.hostile})
        stop = await self.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return tallies | stop | {
            "start": start,
            "loaded": loaded,
            "rest": rest,
            "callers": len(callers),
            "share": sum(self.shares) / len(self.shares),
            "wrong": self.wrong,
        }

    async def warm_up(self):
        """Calls each server, which then has opened what it keeps open."""
        for server in self.servers.values():
            caller = honest.Caller(server, None, self.rng, honest.Tally())
            await self.guard(caller.call([1]))
            caller.close()
        await asyncio.sleep(1)

    async def watch(self):
        """Takes a sample each second, and adapts the pace."""
        before, since, own = await sample(self.process), now(), own_processor()
        while True:
            await asyncio.sleep(1)
            found, at, mine = await sample(self.process), now(), own_processor()
            share = (found.processor - before.processor + mine - own) / (at - since)
            self.samples.append(found)
            self.shares.append(share)
            self.pace.adapt(share)
            before, since, own = found, at, mine

    async def attack(self, kind):
        """Starts hostile peers of one kind, at their pace."""
        slots = asyncio.Semaphore(kind.at_once)
        async with asyncio.TaskGroup() as group:
            while True:
                await self.pace.pause(kind.pause * self.rng.uniform(0.5, 1.5))
                await self.attacks.wait()
                await slots.acquire()
                server = self.servers[self.rng.choice(kind.servers)]
                peer = hostile.one(kind, server, self.rng, self.hostile[kind.name])
                group.create_task(self.guard(peer)).add_done_callback(lambda _: slots.release())

    async def call(self, name, server, number):
        """Is an honest caller; every other one is the client of a balancer, and has an address of its own."""
        work, _ = honest.KINDS[name]
        source = f"203.0.113.{number}" if number % 2 else None
        while True:
            caller = honest.Caller(server, source, self.rng, self.honest[name])
            await self.guard(work(caller, self.pace))
            caller.close()

    async def guard(self, peer):
        """Keeps what is wrong, unless the servers stop, when nobody needs to be served."""
        try:
            await peer
        except Wrong as wrong:
            if not self.is_stopping:
                self.wrong.append(str(wrong))

    async def stop(self):
        """Stops the servers with a signal, and returns how that ends."""
        since = now()
        self.process.send_signal(signal.SIGTERM)
        try:
            output = await asyncio.wait_for(self.process.stdout.read(), STOP_LIMIT)
            status = await asyncio.wait_for(self.process.wait(), STOP_LIMIT)
        except TimeoutError:
            self.process.kill()
            return {"drain": now() - since, "status": None, "reports": {}}
        # Before the reports, there may be an answer to `watch`.
        reports = json.loads(output.splitlines()[-1]) if status == 0 else {}
        return {"drain": now() - since, "status": status, "reports": reports}


class Log:
    """Counts the lines of the servers' log."""

    def __init__(self, stream, path):
        self.stream, self.path = stream, path
        self.seconds, self.levels = Counter(), Counter()

    async def read(self):
        with open(self.path or os.devnull, "wb") as file:
            async for line in self.stream:
                file.write(line)
                self.seconds[int(now())] += 1
                self.levels.update(word.decode() for word in line.split()[1:2])

    def found(self):
        return {
            "lines": self.seconds.total(),
            "most in one second": max(self.seconds.values(), default=0),
            "levels": dict(self.levels),
        }


async def pause(tasks, seconds):
    """Waits, unless a task ends, which is an error of this program."""
    done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        raise Failed(f"a task has ended: {task}") from task.exception()
