"""How long the requests of one connection, the victim, take beside two that flood the server."""

import os
import random
import shutil
import sys
from statistics import median

from harness.programs import RELEASE, Failed, result
from harness.systems import YARDSTICK, System

# Microseconds of busy work for each request, of the flooders and of the victim.
COSTS = [1, 20, 100]

# As many as there are flooders, which would therefore have all of them.
THREADS = 2
RUN_LIMIT = 60

OURS = [YARDSTICK, "l1b-yield", "tcs", "tcs-async"]

# The figures with their titles, and their columns with their widths.
FIGURES = {
    "alone": ("alone", {"p50": 8, "p99": 8, "longest": 10}),
    "beside": ("beside the flooders", {"p50": 11, "p99": 11, "longest": 12, "answered": 7}),
    "connecting": ("new connection", {"p50": 11, "longest": 12, "answered": 7}),
}
TITLES = {"longest": "max", "answered": "calls"}


def measure(go, rounds, is_quick, left_out):
    """Returns what is printed of fairness; `go` is the program in Go, if there is one."""
    limits = (
        {"seconds": 2, "requests": 500, "connections": 10, "warm-up": 0.1}
        if is_quick
        else {"seconds": 5, "requests": 2_000, "connections": 20, "warm-up": 0.3}
    )
    server_cores, generator_cores = cores()
    done, failed = {}, set()
    for number in range(rounds):
        for cost in COSTS:
            order = systems(go, cost)
            random.Random(number).shuffle(order)
            for system in order:
                cell = (cost, system.name)
                if cell in failed:
                    continue
                try:
                    found = once(system, server_cores, generator_cores, limits)
                except Failed as failure:
                    failed.add(cell)
                    done.pop(cell, None)
                    left_out.append(f"{system.name}, fairness at {cost} µs: {failure}")
                    continue
                done.setdefault(cell, []).append(found)
        print(f"fairness: round {number + 1} of {rounds}", file=sys.stderr)
    return {
        "rounds": rounds,
        "threads": THREADS,
        "limits": limits,
        "generator has its own cores": bool(generator_cores),
        "cells": [
            {"microseconds": cost, "system": system.name} | joined(done[cost, system.name])
            for cost in COSTS
            for system in systems(go, cost)
            if (cost, system.name) in done
        ],
    }


def systems(go, cost):
    """Returns the systems with a function that takes `cost`."""
    found = [System(name, (RELEASE / "busy", name, cost, THREADS)) for name in OURS]
    if go:
        found.append(System("go", ("env", f"GOMAXPROCS={THREADS}", go, "busy", cost)))
    return found


def cores():
    """Returns the commands that pin a server and the generator, where there are cores for both."""
    found = [str(core) for core in sorted(os.sched_getaffinity(0))]
    if len(found) < 2 * THREADS or not shutil.which("taskset"):
        return [], []
    return (
        ["taskset", "-c", ",".join(found[:THREADS])],
        ["taskset", "-c", ",".join(found[THREADS:])],
    )


def once(system, server_cores, generator_cores, limits):
    """Measures a server that has served nobody else."""
    options = [part for name, value in limits.items() for part in (f"--{name}", value)]
    with system.serving(server_cores) as (address, _):
        command = [*generator_cores, RELEASE / "fairness", address, *options]
        return result(command, RUN_LIMIT)


def joined(rounds):
    """Returns the medians of the rounds, and the longest of all."""
    found = {name: joined_figure([done[name] for done in rounds]) for name in FIGURES}
    ratios = [done["beside"]["p50"] / done["alone"]["p50"] for done in rounds]
    # Where a call was given up, the median is that of the calls before it, which says too little.
    found["ratio"] = None if found["beside"]["cut"] else median(ratios)
    found["generator cpu"] = median(done["cpu"] for done in rounds)
    return found


def joined_figure(figures):
    return {
        "answered": median(figure["answered"] for figure in figures),
        "rounds without answer": sum(figure["answered"] == 0 for figure in figures),
        "p50": median(figure["p50"] for figure in figures),
        "p99": median(figure["p99"] for figure in figures),
        "longest": max(figure["longest"] for figure in figures),
        "cut": any(figure["cut"] for figure in figures),
    }


def text(found):
    """Returns the table as lines."""
    rounds, limit = found["rounds"], found["limits"]["seconds"]
    yield (
        f"fairness: µs of a victim beside two flooders, {found['threads']} worker threads; "
        f"rounds: {rounds}; limit of each figure: {limit} s"
    )
    if not found["generator has its own cores"]:
        yield "the generator shares the cores of the server"
    groups = "".join(f"{title:>{width(columns)}}" for title, columns in FIGURES.values())
    yield f"{'':<16}{groups}{'ratio':>10}{'generator':>11}"
    columns = [column for _, columns in FIGURES.values() for column in columns.items()]
    heads = "".join(f"{TITLES.get(name, name):>{wide}}" for name, wide in columns)
    yield f"{'':<16}{heads}{'of p50':>10}{'cpu':>11}"
    for cell in found["cells"]:
        name = f"{cell['microseconds']:>3} µs {cell['system']}"
        figures = "".join(
            shown(cell[figure], columns, rounds, limit)
            for figure, (_, columns) in FIGURES.items()
        )
        ratio = "–" if cell["ratio"] is None else f"{cell['ratio']:,.1f}"
        yield f"{name:<16}{figures}{ratio:>10}{cell['generator cpu']:>11.0%}"


def shown(figure, columns, rounds, limit):
    """Returns the columns of a figure, or that there was no answer."""
    if silent := figure["rounds without answer"]:
        some = "" if silent == rounds else f" in {silent} of {rounds}"
        return f"{f'no answer within {limit} s{some}':>{width(columns)}}"
    numbers = {name: f"{figure[name]:,.0f}" for name in columns}
    if figure["cut"]:
        numbers["longest"] = f">{numbers['longest']}"
    return "".join(f"{numbers[name]:>{wide}}" for name, wide in columns.items())


def width(columns):
    return sum(columns.values())
