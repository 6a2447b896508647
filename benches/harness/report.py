"""What was measured as data, and as text."""

import datetime
import os
import platform
import textwrap
from statistics import median

from harness import fairness
from harness.stats import interval, ratios

# Where the generator wants more than this of a core, it may be what is measured.
SATURATED = 0.95
# Where it waits longer than this for its core, others use the machine.
DISTURBED = 0.05


def summary(tables, memory, fair, left_out, rounds, seconds, threads):
    """Returns all that is printed."""
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.system()} {platform.release()}, {os.cpu_count()} cores",
        "load average at the end": os.getloadavg()[0],
        "rounds": rounds,
        "seconds": seconds,
        "threads": threads,
        "tables": {
            name: {
                "works": works,
                "yardstick": yardstick,
                "cells": list(cells(works, measured, yardstick)),
            }
            for name, (works, measured, yardstick) in tables.items()
        },
        "idle memory": memory,
        "fairness": fair,
        "left out": left_out,
    }


def cells(works, measured, yardstick):
    names = list(dict.fromkeys(name for _, name in measured))
    for work in works:
        speeds = {
            name: [done["requests"] / done["seconds"] for done in measured[work, name]]
            for name in names
            if (work, name) in measured
        }
        base = speeds.get(yardstick)
        for name, values in speeds.items():
            cell = {
                "work": work,
                "system": name,
                "per second": median(values),
                "generator cpu": median(done["cpu"] for done in measured[work, name]),
                "generator waited": median(done["waited"] for done in measured[work, name]),
            }
            if base and len(base) == len(values):
                compared = ratios(values, base)
                low, high = interval(compared)
                cell |= {"ratio": median(compared), "low": low, "high": high}
            yield cell


def text(found):
    """Returns the tables as text."""
    threads = "current-thread" if found["threads"] == 1 else f"{found['threads']} threads"
    load = found["load average at the end"]
    lines = [f"{found['date']}, {found['machine']}, load {load:.1f}"]
    if found["tables"]:
        lines.append(f"{found['rounds']} rounds of {found['seconds']} s, {threads}")
    for name, table in found["tables"].items():
        head = f"{name}: requests per second as ratio to {table['yardstick']} [95 % interval]"
        lines += ["", f"{head}; * the client was busy to {SATURATED:.0%} and more"]
        lines += grid(table, ratio)
        lines += ["", f"{name}: requests per second"]
        lines += grid(table, lambda cell: f"{cell['per second']:,.0f}")
        lines += ["", f"{name}: CPU use of the generator or client; at 100 % it is the limit"]
        lines += grid(table, lambda cell: f"{cell['generator cpu']:.0%}")
    cells = [cell for table in found["tables"].values() for cell in table["cells"]]
    waited = median([cell["generator waited"] for cell in cells] or [0])
    if waited > DISTURBED:
        lines += ["", f"NOT QUIET: clients waited for their core {waited:.0%} of the time"]
    if memory := found["idle memory"]:
        count = memory["connections"]
        lines += ["", f"bytes for each of {count:,} idle connections (resident set)"]
        for name, each in memory["systems"].items():
            before, after = each["before"], each["after"]
            lines.append(f"{name:<16}{before:>9,.0f}, after a request{after:>9,.0f}")
    if fair := found["fairness"]:
        lines += ["", *fairness.text(fair)]
    lines += ["", *(f"left out: {line}" for line in found["left out"])]
    return "\n".join(lines)


def ratio(cell):
    if "ratio" not in cell:
        return "?"
    mark = "*" if cell["generator cpu"] + cell["generator waited"] > SATURATED else ""
    return f"{cell['ratio']:.2f} [{cell['low']:.2f}–{cell['high']:.2f}]{mark}"


def heads(works):
    """Returns the lines of the heads of the columns, which end in the same line."""
    wrapped = [textwrap.wrap(work, 16) for work in works]
    height = max(map(len, wrapped))
    return zip(*([""] * (height - len(lines)) + lines for lines in wrapped))


def grid(table, shown):
    by_place = {(cell["work"], cell["system"]): shown(cell) for cell in table["cells"]}
    found = {name for _, name in by_place}
    names = sorted(found, key=lambda name: (name != table["yardstick"], name))
    width = max(16, *(len(name) + 2 for name in names))
    for line in heads(table["works"]):
        yield (" " * width + "".join(f"{words:>18}" for words in line)).rstrip()
    for name in names:
        row = "".join(f"{by_place.get((work, name), '–'):>18}" for work in table["works"])
        yield f"{name:<{width}}{row}"
