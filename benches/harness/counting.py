"""Counts what a server or a client does for a request: the difference of a short run and a long
one."""

import pathlib
import re
import subprocess
import tempfile
import time

from harness.programs import RELEASE, Failed, result, serving
from harness.talking import talking

RUN_LIMIT = 120

# The work of the generator for each shape, and the requests of the two runs.
SHAPES = {
    "1 in flight": ("1x1", 1_000, 4_000),
    "64 deep": ("1x64", 6_400, 25_600),
    "64 connections": ("64x1", 6_400, 25_600),
    "connect, request, close": ("connect-1", 200, 800),
}

# Those on one connection, and how many requests are in flight.
DEPTHS = {"1 in flight": 1, "64 deep": 64}

# The same for the calls of many tasks that share a connection.
CALL_SHAPES = {
    "64 in flight": ("1x64", 64, 100, 400),
    "512 in flight": ("1x512", 512, 100, 400),
}

# How long the two runs with a peer are: its client is bounded by time.
PEER_SECONDS = (1, 4)

# What the library's servers run with under callgrind, which slows time down some 50 times: the default
# of 100 µs would end a poll after a few requests.
LONG_BUDGET = ["env", "POLL_BUDGET_US=20000"]


# How often each of the two runs is counted where chance adds something. The least of the counts has the least of it.
# Now and then, making a certificate or shaking hands costs a server 560,000 instructions more. With JSON, a list grows
# as it is read, and what `realloc` needs for that, up to 500 for each request, differs from run to run.
COUNTS = 4


def instructions(name, shape, wire="framed"):
    """Returns the instructions in user space for each request."""

    def count(requests, out):
        drive([*LONG_BUDGET, *callgrind(out)], name, shape, requests, wire)
        return instructions_in(out)

    def total(requests, scratch):
        counts = COUNTS if wire == "tls" or name.endswith("json") else 1
        return min(count(requests, scratch / str(run)) for run in range(counts))

    return difference(total, shape)


def peer_instructions(programs, name, client, shape):
    """Does the same for a peer of these programs, which its own client asks."""
    work, _, _ = SHAPES[shape]
    totals, requests = [], []
    for seconds in PEER_SECONDS:
        with tempfile.TemporaryDirectory() as scratch:
            out = pathlib.Path(scratch) / "callgrind"
            with serving([*callgrind(out), programs / "peer", name]) as (address, _):
                command = [programs / "peer-client", client, address, work, "--seconds", seconds]
                requests.append(result(command, RUN_LIMIT)["requests"])
            totals.append(instructions_in(out))
    return (totals[1] - totals[0]) / (requests[1] - requests[0])


def call_instructions(client, shape):
    """Returns the instructions in user space for each call of a client, under a server that is not
    counted."""
    work, depth, *rounds = CALL_SHAPES[shape]
    totals, calls = [], []
    for number in rounds:
        with tempfile.TemporaryDirectory() as scratch:
            out = pathlib.Path(scratch) / "callgrind"
            with serving([RELEASE / "server", "l1b"]) as (address, _):
                command = [*callgrind(out), RELEASE / "client", client, address, work]
                bounds = ["--requests", number * depth, "--seconds", RUN_LIMIT]
                calls.append(result(command + bounds, RUN_LIMIT + 10)["requests"])
            totals.append(instructions_in(out))
    return (totals[1] - totals[0]) / (calls[1] - calls[0])


def call_allocations(client, shape):
    """Returns the allocations for each call of a client; its server has none."""
    _, depth, *_ = CALL_SHAPES[shape]
    return result([RELEASE / "allocations", "calls", client, depth], RUN_LIMIT)["allocations"]


def callgrind(out):
    return ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--quiet"]


def instructions_in(out):
    found = re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.MULTILINE)
    return int(found[1])


def system_calls(name, shape, wire="framed"):
    """Returns the system calls for each request; on several connections, without `epoll_wait`."""

    def total(requests, scratch):
        out = scratch / "strace"
        # With -D the server is the process that is started and ended, and strace its companion.
        drive(["strace", "-D", "-f", "-c", "-o", out], name, shape, requests, wire)
        made = calls(wait_for_total(out))
        return made["total"] - (0 if shape in DEPTHS else made.get("epoll_wait", 0))

    return difference(total, shape)


def allocations(name, shape):
    """Returns the allocations for each request, counted by the allocator of the process."""
    command = [RELEASE / "allocations", "requests", name, DEPTHS[shape]]
    return result(command + form(name), RUN_LIMIT)["allocations"]


def idle_bytes(name, connections, state, wire="framed"):
    """Returns the bytes on the heap for a connection that is "idle", or "idle after a request"."""

    def held():
        # The sweep of a server, or whatever else it does later, has a moment first.
        time.sleep(0.5)
        return server.ask()["bytes"]

    with talking([RELEASE / "allocations", "serve", name]) as server:
        hold = [RELEASE / "hold", server.first["address"]]
        # What is made once is made by the first connection, whatever it is.
        with talking([*hold, 1, wire]):
            pass
        start = held()
        with talking([*hold, connections, wire]) as holder:
            if state != "idle":
                holder.ask()
            return (held() - start) / connections


def difference(total, shape):
    _, short, long = SHAPES[shape]
    with tempfile.TemporaryDirectory() as scratch:
        few = total(short, pathlib.Path(scratch))
    with tempfile.TemporaryDirectory() as scratch:
        many = total(long, pathlib.Path(scratch))
    return (many - few) / (long - short)


def drive(prefix, name, shape, requests, wire="framed"):
    work, _, _ = SHAPES[shape]
    with serving([*prefix, RELEASE / "server", name]) as (address, _):
        bounds = ["--requests", requests, "--seconds", RUN_LIMIT]
        load = [RELEASE / "load", address, work, "--wire", wire, *bounds]
        done = result(load + ["--message", *(form(name) or ["letters"])], RUN_LIMIT + 10)
    if done["requests"] < requests:
        raise Failed(f"{name} did not answer {requests} requests in {RUN_LIMIT} s")


def form(name):
    """Returns the form of the typed message, for the systems that speak one."""
    system, _, rest = name.partition("-")
    if system in ["enum", "operations"]:
        return [f"operation-{rest}"]
    return [name for name in rest.split("-") if name in ["typed", "json", "postcard"]]


def wait_for_total(out):
    deadline = time.monotonic() + RUN_LIMIT
    while time.monotonic() < deadline:
        text = out.read_text() if out.exists() else ""
        if text.rstrip().endswith("total"):
            return text
        time.sleep(0.05)
    raise Failed("strace printed no summary; may it trace here?")


def calls(summary):
    """Reads the rows `% time, seconds, usecs/call, calls, errors or nothing, name`."""
    rows = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$", summary, re.MULTILINE)
    return {name: int(count) for count, name in rows}


def missing():
    """Says what is needed and not there."""
    tools = {"valgrind": ["valgrind", "--version"], "strace": ["strace", "-V"]}
    return [name for name, command in tools.items() if not runs(command)]


def runs(command):
    try:
        return subprocess.run(command, capture_output=True, timeout=RUN_LIMIT).returncode == 0
    except OSError:
        return False
