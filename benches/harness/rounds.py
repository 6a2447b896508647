"""Interleaved rounds, on cores of their own where there are two."""

import contextlib
import os
import random
import shutil
import sys

from harness.programs import Failed


def cores(threads, leave_out):
    """Returns the commands that pin a server and a client."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2 or not shutil.which("taskset"):
        leave_out("pinning: it needs two cores and taskset")
        return [], []
    client = ["taskset", "-c", str(cores[-1])]
    # More threads have more cores: all of them, as the generator takes its own from time to time.
    return ([] if threads > 1 else ["taskset", "-c", str(cores[0])]), client


def measure(systems, works, rounds, pinned, ask, left_out):
    """Returns for each work and system what each round measured; a system that fails drops out."""
    measured = {}
    failed = set()
    with contextlib.ExitStack() as stack:
        addresses = {}
        for system in systems:
            address, _ = stack.enter_context(system.serving(pinned))
            addresses[system.name] = address
        for number in range(rounds):
            for work in works:
                order = list(systems)
                random.Random(number).shuffle(order)
                for system in order:
                    if (work, system.name) in failed or work in system.without:
                        continue
                    try:
                        done = ask(system, addresses[system.name], work)
                    except Failed as failure:
                        failed.add((work, system.name))
                        measured.pop((work, system.name), None)
                        left_out.append(f"{system.name}, {work}: {failure}")
                        continue
                    measured.setdefault((work, system.name), []).append(done)
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
    return measured
