"""What a process uses at one moment."""

import os
import pathlib
import time
from dataclasses import dataclass

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Sample:
    # In MiB, as are the bytes requested from the allocator and not freed.
    resident: float
    allocated: float
    descriptors: int
    threads: int
    # In seconds since the start.
    processor: float


async def sample(process):
    """Asks the process what it has allocated, and the system for the rest."""
    process.stdin.write(b"\n")
    allocated = int(await process.stdout.readline())
    at = pathlib.Path("/proc") / str(process.pid)
    status = dict(line.split(":", 1) for line in (at / "status").read_text().splitlines())
    # The name may have spaces, and ends with the last parenthesis.
    fields = (at / "stat").read_text().rpartition(")")[2].split()
    return Sample(
        resident=int(status["VmRSS"].split()[0]) / 1024,
        allocated=allocated / 2**20,
        descriptors=len(os.listdir(at / "fd")),
        threads=int(status["Threads"]),
        processor=(int(fields[11]) + int(fields[12])) / TICKS,
    )


def own_processor():
    return time.process_time()
