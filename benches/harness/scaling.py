"""What `scale` measures, and how it is shown."""

import datetime
import os
import platform
from dataclasses import dataclass
from statistics import median

from harness.curves import Panel
from harness.programs import RELEASE
from harness.report import DISTURBED, SATURATED
from harness.stats import interval, ratios
from harness.systems import YARDSTICK, System, go_program

IDLE = [10, 100, 1_000, 10_000, 100_000]
FOURS = [1, 4, 16, 64, 256, 1_024]
SIZES = [16 << 2 * power for power in range(11)]
CONNECTIONS, DEPTH, FRAMES = "connections", "requests in flight", "bytes in a message"


@dataclass(frozen=True)
class Scaled:
    """A system in the forms that the parts ask for."""

    name: str
    # The server of the idle connections.
    command: tuple
    # Whether that says how many bytes it holds.
    tells_bytes: bool
    # The program and its first arguments, to which a kind of slowness is added.
    program: tuple
    kinds: tuple

    def plain(self):
        if self.tells_bytes:
            return System(self.name, (RELEASE / "server", self.name))
        return System(self.name, self.command)

    def slow(self, kind, threads):
        if kind not in self.kinds:
            return None
        if self.tells_bytes:
            return System(self.name, (*self.program, f"{self.name}-{kind}", 0, threads))
        return System(self.name, (*self.program, kind))


def systems(with_peers, leave_out):
    kinds = ("sleep", "work", "blocking")
    found = [
        Scaled(name, (RELEASE / "allocations", "serve", name), True, (RELEASE / "server",), kinds)
        for name in [YARDSTICK, "tcs"]
    ]
    if with_peers and (go := go_program(leave_out)):
        found.append(Scaled("go", (go,), False, (go,), ("sleep", "work")))
    return found


def curves():
    """Returns the part, the title, and the works with what each of them stands for."""
    return [
        ("throughput", CONNECTIONS, {f"{count}x1": count for count in FOURS}),
        ("throughput", DEPTH, {f"1x{count}": count for count in FOURS}),
        ("sizes", FRAMES, {f"1x1x{size}": size for size in SIZES}),
    ]


def slow(cores):
    """Returns the title, the kind, and the threads of the runtime."""
    return [
        ("1 ms of sleep, async", "sleep", 1),
        (f"1 ms of processor, {cores} threads", "work", cores),
        (f"1 ms of processor, blocking, {cores} threads", "blocking", cores),
    ]


def machine():
    return {
        "date": datetime.date.today().isoformat(),
        "system": f"{platform.system()} {platform.release()}, {os.cpu_count()} cores",
        "load average at the start": os.getloadavg()[0],
    }


def points(works, measured):
    """Returns medians for each work and system, and ratios to the yardstick."""
    found = []
    for work, at in works.items():
        base = speeds(measured.get((work, YARDSTICK), []))
        for name in dict.fromkeys(name for _, name in measured):
            done = measured.get((work, name))
            if not done:
                continue
            point = {"at": at, "system": name, "per second": median(speeds(done))}
            for what in ["cpu", "waited", "p50", "p99", "p999", "longest"]:
                if what in done[0]:
                    point[what] = median(each[what] for each in done)
            if len(base) == len(done):
                compared = ratios(speeds(done), base)
                low, high = interval(compared)
                point |= {"ratio": median(compared), "low": low, "high": high}
            found.append(point)
    return found


def speeds(done):
    return [each["requests"] / each["seconds"] for each in done]


def panels(found):
    result = []
    for _, title, works in curves():
        if title not in found:
            continue
        per = [
            (point["at"], point["system"], point["per second"]) for point in found[title]
        ]
        what = "requests per second"
        if title == FRAMES:
            what = "megabytes per second, each way"
            per = [(at, name, speed * at / 1e6) for at, name, speed in per]
        shown = list(works.values())[:: 2 if title == FRAMES else 1]
        ticks = {at: amount(at, title == FRAMES) for at in shown}
        result.append(Panel(what, title, lines(per), ticks))
    for what, title in [
        ("resident", "resident bytes for each idle connection"),
        ("idle share of a core", "percent of a core while all are idle"),
        ("p50", "median of a request beside them, µs"),
        ("p999", "99.9 % of the requests, µs"),
    ]:
        if "idle" in found:
            factor = 100 if what.startswith("idle") else 1
            per = [
                (cell["connections"], cell["system"], factor * cell[what])
                for cell in found["idle"]
            ]
            ticks = {at: amount(at) for at, _, _ in per}
            result.append(Panel(title, "idle connections", lines(per), ticks))
    return result


def lines(per):
    names = dict.fromkeys(name for _, name, _ in per)
    return {name: [(x, y) for x, other, y in per if other == name] for name in names}


def amount(value, binary=False):
    if binary:
        for unit, size in [("Mi", 1 << 20), ("Ki", 1 << 10)]:
            if value >= size:
                return f"{value // size} {unit}"
        return str(value)
    return f"{value // 1_000} k" if value >= 10_000 else f"{value:,}"


def text(found):
    """Returns the tables as text."""
    machine = found["machine"]
    load = machine["load average at the start"]
    rows = [f"{machine['date']}, {machine['system']}, load {load:.1f} at the start"]
    if cells := found.get("idle"):
        rows += ["", *idle_table(cells, found["descriptors"])]
    for title, points in found.items():
        if isinstance(points, list) and title not in ["idle", "left out"]:
            rows += ["", *table(title, points)]
    # Where all cores are the server's, the generator must wait; elsewhere others use the machine.
    waited = [point["waited"] for _, title, _ in curves() for point in found.get(title, [])]
    if waited and median(waited) > DISTURBED:
        share = f"{median(waited):.0%}"
        rows += ["", f"NOT QUIET: the generator waited for its core {share} of the time"]
    rows += ["", *(f"left out: {line}" for line in found["left out"])]
    return "\n".join(rows)


def idle_table(cells, descriptors):
    yield "idle connections: bytes for each; what they cost; a request beside them, in µs"
    head = ["", "resident", "allocator", "after one", "kernel", "core", "ns/conn/s"]
    head += ["p50", "p99", "p99.9", "longest", "cpu", "first"]
    yield f"{'':<16}" + "".join(f"{name:>11}" for name in head[1:])
    for cell in cells:
        count = cell["connections"]
        # What the first server holds is what its processor time is for.
        mine = count / cell["servers"]
        held = cell["asked of the allocator"]
        row = [
            f"{cell['resident']:,.0f}",
            "–" if held is None else f"{held:,.0f}",
            f"{cell['resident after a request']:,.0f}",
            f"{cell['kernel']:,.0f}" if count >= 1_000 else "–",
            f"{cell['idle share of a core']:.3%}",
            f"{1e9 * cell['idle share of a core'] / mine:,.0f}",
            *(f"{cell[what]:,.1f}" for what in ["p50", "p99", "p999", "longest"]),
            f"{cell['processor per request']:,.2f}",
            f"{cell['first request']:,.1f}",
        ]
        mark = "*" if cell["servers"] > 1 else ""
        name = f"{count:>8,}{mark:<1} {cell['system']}"
        yield f"{name:<16}" + "".join(f"{value:>11}" for value in row)
    if shared := {cell["connections"]: cell["servers"] for cell in cells if cell["servers"] > 1}:
        for count, servers in shared.items():
            yield (
                f"* {count:,} in one server need a higher descriptor limit than {descriptors:,}: "
                f"they were spread over {servers} servers"
            )


def table(title, points):
    is_slow = "p50" in points[0]
    tail = [("p50", "p50 ms"), ("p99", "p99 ms"), ("p999", "p99.9 ms")] if is_slow else []
    head = f"{title + (': 1,000 connections' if is_slow else ''):<44}{'per second':>12}"
    yield head + f"{'ratio to ' + YARDSTICK:>22}" + "".join(f"{name:>11}" for _, name in tail)
    for point in points:
        ratio = "?"
        if "ratio" in point:
            ratio = f"{point['ratio']:.2f} [{point['low']:.2f}–{point['high']:.2f}]"
        at = point["at"] if is_slow else amount(point["at"], title == FRAMES)
        # As in `run`: the generator may be what is measured.
        mark = "*" if point["cpu"] + point["waited"] > SATURATED else " "
        name = f"{at:>10} {point['system']}"
        row = f"{name:<44}{point['per second']:>12,.0f}{ratio:>21}{mark}"
        yield row + "".join(f"{point[what] / 1_000:>11.2f}" for what, _ in tail)
