"""Programs with which one talks in lines: each line is answered with a line of JSON."""

import contextlib
import json
import queue
import subprocess
import threading

from harness.programs import STOP_LIMIT, Failed

LIMIT = 120


class Talker:
    """A program that is running; `first` is what it said at first."""

    def __init__(self, process, command):
        self.process = process
        self.command = " ".join(command)
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.first = self._next()

    def ask(self):
        """Sends a line, and returns the answer."""
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        except OSError as failure:
            raise Failed(f"{self.command}: {failure}") from None
        return self._next()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put("")

    def _next(self):
        try:
            line = self.lines.get(timeout=LIMIT)
        except queue.Empty:
            raise Failed(f"no answer after {LIMIT} s: {self.command}") from None
        if not line:
            raise Failed(f"{self.command} ended")
        return json.loads(line)


@contextlib.contextmanager
def talking(command):
    """Starts a program, waits for its first line, and ends it with its input."""
    command = [str(part) for part in command]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield Talker(process, command)
    finally:
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_LIMIT)
