"""What is measured, and how each of it is started. What cannot be is left out, with a reason."""

import contextlib
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass

from harness.programs import BENCHES, BUILD_LIMIT, RELEASE, Failed, build, serving
from harness.works import CONNECT, CONNECT_16, LARGE, MANY, ONE

YARDSTICK = "l1b"
OURS = ["l1b", "l0", "l1a", "framed-send", "framed-forward", "tcs", "tcs-text"]
TYPED = ["l1b", "tcs"]
TLS_YARDSTICK = "l1b-tls"
TLS = [TLS_YARDSTICK, "tcs-tls"]


@dataclass(frozen=True)
class System:
    """A server, and what its messages travel in."""

    name: str
    command: tuple
    wire: str = "framed"
    # Where it does not print its address.
    port: int = 0
    # Its own client, for which the rest of the arguments is the same.
    client: tuple = ()
    # Works that it has no means for.
    without: tuple = ()
    # What its client is told behind these.
    options: tuple = ()

    @contextlib.contextmanager
    def serving(self, pinned):
        with serving([*pinned, *self.command], self.port) as (address, process):
            yield address, process


def raw_systems(threads, with_peers, go, leave_out):
    """Returns the systems that the raw generator can ask; `leave_out` learns what is missing.

    `go` is the program in Go, if there is one.
    """
    found = [System(name, (RELEASE / "server", name, 0, threads)) for name in OURS]
    if not with_peers:
        return found
    if built("tcs-peers", leave_out):
        found.append(System("axum", (RELEASE / "peer", "axum", 0, threads), wire="http"))
    if go:
        found.append(System("go", (go,)))
    if redis := shutil.which("redis-server"):
        port = free_port()
        settings = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        # Otherwise it talks to 127.0.0.1 alone, and the generator has several addresses.
        settings += ["--protected-mode", "no", "--maxclients", 100_000]
        found.append(System("redis", (redis, *settings), wire="redis", port=port))
    else:
        leave_out("redis: there is no redis-server")
    script = BENCHES / "peers" / "socketserver_echo.py"
    found.append(System("python", (sys.executable, script)))
    return found


def typed_systems(threads):
    """Returns the loop and the library with the typed message, and the same code to read it."""
    return [System(name, (RELEASE / "server", f"{name}-typed", 0, threads)) for name in TYPED]


def tls_systems(threads):
    """Returns the loop and the library over TLS."""
    return [System(name, (RELEASE / "server", name, 0, threads), wire="tls") for name in TLS]


def own_clients(threads, with_peers):
    """Returns the systems that have a client; those of the peers were built for `raw_systems`."""
    server, client, peer = RELEASE / "server", RELEASE / "client", RELEASE / "peer"
    found = [
        System("l1b", (server, "l1b", 0, threads), client=(client, "hand")),
        System("tcs", (server, "tcs", 0, threads), client=(client, "tcs")),
        System(
            "tcs-pipeline",
            (server, "tcs", 0, threads),
            client=(client, "tcs-pipeline"),
            # One task has all requests of one connection in flight.
            without=(ONE, MANY, CONNECT, CONNECT_16, LARGE),
        ),
    ]
    if with_peers and peer.exists():
        for name in ["tarpc-spawn", "tarpc-inline", "tonic"]:
            own = (RELEASE / "peer-client", name.split("-")[0])
            found.append(System(name, (peer, name, 0, threads), client=own))
    return found


def typed_own_clients(threads, with_peers):
    """Returns the systems that have a client for the typed message."""
    server, client, peer = RELEASE / "server", RELEASE / "client", RELEASE / "peer"
    typed = ("--message", "typed")
    found = [
        System("l1b", (server, "l1b-typed", 0, threads), client=(client, "hand"), options=typed),
        System("tcs", (server, "tcs-typed", 0, threads), client=(client, "tcs"), options=typed),
    ]
    if with_peers and peer.exists():
        for name in ["tarpc-spawn", "tarpc-inline"]:
            own = (RELEASE / "peer-client", "tarpc")
            found.append(System(name, (peer, name, 0, threads), client=own, options=typed))
    return found


def built(package, leave_out):
    try:
        build(package=package)
    except (Failed, subprocess.TimeoutExpired) as failure:
        leave_out(f"axum, tarpc, tonic: {failure}")
        return False
    return True


def go_program(leave_out):
    if not shutil.which("go"):
        leave_out("go: there is no go")
        return None
    program = RELEASE / "go-echo"
    source = BENCHES / "peers" / "go" / "main.go"
    done = subprocess.run(["go", "build", "-o", program, source], timeout=BUILD_LIMIT)
    if done.returncode != 0:
        leave_out("go: the program does not build")
        return None
    return program


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
