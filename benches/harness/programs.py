"""Builds the programs, and starts and ends them. Nothing waits without a limit."""

import contextlib
import json
import os
import pathlib
import queue
import socket
import subprocess
import threading
import time

BENCHES = pathlib.Path(__file__).resolve().parent.parent
# Where cargo puts what it builds, wherever it was told to.
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", BENCHES / "target"))
BUILT = (BENCHES / TARGET).resolve()
RELEASE = BUILT / "release"
BUILD_LIMIT = 1800
START_LIMIT = 60
STOP_LIMIT = 60


class Failed(Exception):
    """Something was not done; the text says what."""


def build(*programs, package="tcs-benches", profile="release"):
    """Builds these programs of one package, or all of them; returns where they are."""
    command = ["cargo", "build", "--locked", "--quiet", "--profile", profile, "--package", package]
    command += [f"--bin={program}" for program in programs]
    # What it prints belongs to the person who waits, not to a table or JSON.
    done = subprocess.run(command, cwd=BENCHES, stdout=subprocess.DEVNULL, timeout=BUILD_LIMIT)
    if done.returncode != 0:
        raise Failed(f"{package} does not build")
    return BUILT / profile


@contextlib.contextmanager
def serving(command, port=None):
    """Starts a server, yields its address and its process, and ends it.

    The address is what it prints first, unless its port is known; then it is there when the port
    takes connections.
    """
    process = subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.DEVNULL if port else subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield (reachable(port) if port else first_line(process, command)), process
    finally:
        process.terminate()
        try:
            process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_LIMIT)
        if process.stdout:
            process.stdout.close()


def reachable(port):
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return f"127.0.0.1:{port}"
        time.sleep(0.05)
    raise Failed(f"nothing listens on port {port}")


def first_line(process, command):
    lines = queue.Queue()
    reader = threading.Thread(target=lambda: lines.put(process.stdout.readline()), daemon=True)
    reader.start()
    try:
        line = lines.get(timeout=START_LIMIT).strip()
    except queue.Empty:
        line = ""
    if not line:
        raise Failed(f"no address from {' '.join(str(part) for part in command)}")
    return line


def result(command, limit):
    """Runs a program that prints one line of JSON, and returns that."""
    command = [str(part) for part in command]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        raise Failed(f"no end after {limit} s: {' '.join(command)}") from None
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}: {done.stderr.strip()}")
    return json.loads(done.stdout)
