"""What a run of `soak` must keep to, and its tables."""

from statistics import median, quantiles

# In seconds, with the times in which a call is sent again: how long 99 of 100 may take, and how long each. Large ones
# wait for the memory budget, which hostile peers hold for some seconds. The rest is for a busy machine.
LATENCY = {"small": (2, 10), "new": (2, 10), "large": (10, 20)}
# The columns of samples: how far the maximum of the last third may be above that of the second, and the minimum at rest
# above that before the load. How many large buffers are full at a moment is chance, and so is how many peers there are: a
# herd of 100 comes now and then. At rest there are the connections of the honest callers, and unused buffers of up to 14
# MiB for each of three threads (see `tcs::server`).
#
# tokio starts a thread for a function that blocks if no idle one is there yet. With `max_blocking` of 8, it had 22 where
# other programs had the cores, and it keeps them while each has work every 10 s.
MARGINS = {
    "resident": (64, 64),
    "allocated": (48, 48),
    "descriptors": (100, 0),
    "threads": (16, 40),
}
DRAIN = 10
# A server logs a message that a peer can cause once per second. Peers cause four of each server: a function has panicked,
# a handshake has failed, a connection ends without a message, the server is full.
LOG_LINES = 16


def summary(found):
    """Returns what is printed as JSON."""
    columns = {
        name: {
            "start": getattr(found["start"], name),
            "thirds": thirds([getattr(each, name) for each in found["loaded"]]),
            "rest": min(getattr(each, name) for each in found["rest"]),
            "each second": [round(getattr(each, name), 1) for each in found["loaded"]],
        }
        for name in MARGINS
    }
    honest = {name: latencies(tally) for name, tally in found["honest"].items()}
    hostile = {name: vars(tally) for name, tally in found["hostile"].items()}
    kept = ["seconds", "seed", "share", "callers", "log", "reports", "drain", "status", "wrong"]
    shown = {name: found[name] for name in kept}
    shown |= {"honest": honest, "hostile": hostile, "servers": columns}
    return shown | {"checks": list(checks(shown))}


def latencies(tally):
    """Returns what the calls of one kind came to; times in seconds."""
    percentiles = quantiles(tally.times, n=100, method="inclusive") if len(tally.times) > 1 else [0.0] * 99
    return {
        "calls": tally.calls,
        "bytes": tally.bytes,
        "p50": percentiles[49],
        "p99": percentiles[98],
        "longest": tally.longest,
        "again": dict(tally.again),
    }


def thirds(values):
    """Returns the minimum, the median and the maximum of each third."""
    size = len(values) // 3
    parts = [values[:size], values[size : 2 * size], values[2 * size :]]
    return [(min(part), median(part), max(part)) for part in parts]


def checks(found):
    def check(name, value, limit):
        return {"check": name, "value": value, "limit": limit, "ok": value <= limit}

    yield check("wrong replies, and peers that held on", len(found["wrong"]), 0)
    for name, (most, longest) in LATENCY.items():
        yield check(f"{name} calls: p99 in s", found["honest"][name]["p99"], most)
        yield check(f"{name} calls: longest in s", found["honest"][name]["longest"], longest)
    for name, (margin, at_rest) in MARGINS.items():
        column = found["servers"][name]
        _, (_, _, second), (_, _, last) = column["thirds"]
        yield check(f"{name}: maximum of the last third", last, second + margin)
        own = found["callers"] if name == "descriptors" else 0
        yield check(f"{name}: at rest", column["rest"], column["start"] + own + at_rest)
    yield check("log lines in one second", found["log"]["most in one second"], LOG_LINES)
    yield check("exit status", -1 if found["status"] is None else abs(found["status"]), 0)
    yield check("drain in s", found["drain"], DRAIN)
    reports = found["reports"].values()
    yield check("reports that do not add up", sum(not adds_up(each) for each in reports), 0)
    answered = sum(tally["calls"] for tally in found["honest"].values())
    yield check("honest calls, of those served", answered, sum(each["served"] for each in reports))


def adds_up(report):
    """Returns `True` if a report of a server that has ended does."""
    ended = sum(report[name] for name in ["served", "failed", "rejected", "aborted"])
    closed = report["connections closed"] + report["connections aborted"]
    is_over = report["in flight"] == report["connections open"] == 0
    return is_over and report["received"] == ended and report["connections"] == closed


def text(found):
    """Returns the tables as lines."""
    yield f"{found['seconds']:,} s of load, seed {found['seed']}; {found['share']:.0%} of a core"
    yield ""
    yield f"{'honest':<16}{'calls':>12}{'MiB':>10}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}  sent again after"
    for name, tally in found["honest"].items():
        times = "".join(f"{1e3 * tally[what]:>9,.1f}" for what in ["p50", "p99", "longest"])
        again = ", ".join(f"{why}: {count:,}" for why, count in sorted(tally["again"].items()))
        yield f"{name:<16}{tally['calls']:>12,}{tally['bytes'] / 2**20:>10,.0f}{times}  {again}"
    yield ""
    yield f"{'hostile':<16}{'peers':>12}{'cut':>10}{'longest s':>11}"
    for name, tally in found["hostile"].items():
        yield f"{name:<16}{tally['peers']:>12,}{tally['cut']:>10,}{tally['longest']:>11.1f}"
    yield ""
    yield f"{'servers':<16}{'start':>8}{'minimum, median and maximum of each third':>54}{'rest':>8}"
    for name, column in found["servers"].items():
        parts = "".join(f"{low:>6.0f}{middle:>6.0f}{high:>6.0f}" for low, middle, high in column["thirds"])
        yield f"{name:<16}{column['start']:>8.0f}{parts}{column['rest']:>8.0f}"
    yield ""
    names = ["received", "served", "failed", "rejected", "aborted", "connections"]
    yield f"{'reports':<16}" + "".join(f"{name:>12}" for name in names)
    for server, report in found["reports"].items():
        yield f"{server:<16}" + "".join(f"{report[name]:>12,}" for name in names)
    log = found["log"]
    levels = ", ".join(f"{level} {count:,}" for level, count in sorted(log["levels"].items()))
    yield ""
    yield f"log: {log['lines']:,} lines ({levels}), at most {log['most in one second']} in one second"
    yield ""
    yield f"{'check':<44}{'value':>12}{'limit':>12}"
    for check in found["checks"]:
        verdict = "ok" if check["ok"] else "FAILS"
        yield f"{check['check']:<44}{number(check['value']):>12}{number(check['limit']):>12}  {verdict}"
    yield from (f"wrong: {each}" for each in found["wrong"][:20])


def number(value):
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"
