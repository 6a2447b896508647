"""What idle connections cost a server: memory, processor, and time for a request beside them."""

import contextlib
import pathlib
import re
import time
from statistics import median

from harness.idle import ask
from harness.programs import RELEASE, result, serving
from harness.talking import talking

# Descriptors that a process needs beside its connections.
RESERVED = 100
LOAD_LIMIT = 60
MESSAGE = b"x" * 64
REQUEST = len(MESSAGE).to_bytes(4, "big") + MESSAGE


def measure(systems, sizes, rounds, cores, seconds, descriptors, tell):
    """Returns for each size and system the medians of what the rounds measured."""
    found = {}
    for number in range(rounds):
        for size in sizes:
            for system in systems[number % len(systems) :] + systems[: number % len(systems)]:
                done = once(system, size, cores, seconds, descriptors)
                found.setdefault((size, system.name), []).append(done)
            tell(f"idle connections: {size:,}, round {number + 1} of {rounds}")
    return [
        {"connections": size, "system": name}
        | {what: middle([done[what] for done in all_done]) for what in all_done[0]}
        for (size, name), all_done in found.items()
    ]


def middle(values):
    return None if None in values else median(values)


def once(system, size, cores, seconds, descriptors):
    """Holds idle connections to as many servers as the descriptor limit makes necessary."""
    server_core, client_core = cores
    shares = split(size, descriptors - RESERVED)
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(started(system, server_core)) for _ in shares]
        for address, _, _ in servers:
            exchange(address)
        before = memory(servers)
        holders = [
            stack.enter_context(talking([*client_core, RELEASE / "hold", address, share]))
            for (address, _, _), share in zip(servers, shares, strict=True)
        ]
        idle = memory(servers)
        # The first server stands for all of them.
        address, pid, _ = servers[0]
        start, cpu = time.monotonic(), processor(pid)
        time.sleep(seconds)
        quiet = (processor(pid) - cpu) / (time.monotonic() - start)
        cpu = processor(pid)
        load = [RELEASE / "load", address, "1x1", "--seconds", seconds, "--latency", "yes"]
        done = result([*client_core, *load], LOAD_LIMIT)
        used = processor(pid) - cpu - quiet * done["seconds"]
        cold = holders[0].ask()
        for holder in holders[1:]:
            holder.ask()
        after = memory(servers)

    def each(what, now):
        return None if before[what] is None else (now[what] - before[what]) / size

    return {
        "servers": len(shares),
        "resident": each("resident", idle),
        "resident after a request": each("resident", after),
        "asked of the allocator": each("held", idle),
        "kernel": each("kernel", idle),
        "idle share of a core": quiet,
        "requests per second": done["requests"] / done["seconds"],
        "processor per request": 1e6 * used / done["requests"],
        "p50": done["p50"],
        "p99": done["p99"],
        "p999": done["p999"],
        "longest": done["longest"],
        "first request": 1e6 * cold["seconds"] / cold["connections"],
    }


def split(size, most):
    """Returns shares that differ by one at most, none of which is more than `most`."""
    count = -(-size // most)
    return [size // count + (number < size % count) for number in range(count)]


@contextlib.contextmanager
def started(system, pinned):
    """Yields the address, the process, and what to ask for the bytes on its heap, if it can."""
    if system.tells_bytes:
        with talking([*pinned, *system.command]) as server:
            yield server.first["address"], server.process.pid, server
    else:
        with serving([*pinned, *system.command]) as (address, process):
            yield address, process.pid, None


def exchange(address):
    host, port = address.rsplit(":", 1)
    with contextlib.ExitStack() as stack:
        ask(stack, (host, int(port)), REQUEST, len(REQUEST))


def memory(servers):
    """Returns bytes: resident, and on the heaps of all servers, and in the kernel's slabs."""
    time.sleep(0.5)
    held = [server.ask()["bytes"] for _, _, server in servers if server]
    return {
        "resident": sum(kilobytes(f"/proc/{pid}/status", "VmRSS") for _, pid, _ in servers),
        "held": sum(held) if held else None,
        "kernel": kilobytes("/proc/meminfo", "Slab"),
    }


def kilobytes(path, what):
    text = pathlib.Path(path).read_text()
    return int(re.search(rf"^{what}:\s+(\d+) kB", text, re.MULTILINE)[1]) * 1024


def processor(pid):
    """Returns for how many seconds all threads of a process were running."""
    threads = pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9
