"""The memory of a server for each idle connection: the difference of its resident set."""

import contextlib
import pathlib
import re
import resource
import socket
import time

LIMIT = 30


def bytes_each(address, pid, exchange, connections):
    """Opens connections and returns the bytes for each, before and after one exchange on each."""
    raise_descriptor_limit()
    host, port = address.rsplit(":", 1)
    request, reply_length = exchange
    with contextlib.ExitStack() as stack:
        ask(stack, (host, int(port)), request, reply_length)
        start = resident(pid)
        peers = []
        for _ in range(connections):
            peers.append(open_peer(stack, (host, int(port))))
        # When the last one is answered, those before it were accepted.
        ask(stack, (host, int(port)), request, reply_length)
        before = resident(pid)
        for peer in peers:
            peer.sendall(request)
            receive(peer, reply_length)
        after = resident(pid)
    return {"before": (before - start) / connections, "after": (after - start) / connections}


def ask(stack, address, request, reply_length):
    peer = open_peer(stack, address)
    peer.sendall(request)
    receive(peer, reply_length)


def open_peer(stack, address):
    peer = stack.enter_context(socket.create_connection(address, LIMIT))
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peer


def receive(peer, length):
    """Reads a reply of that length, or, where it is not known, what one read returns."""
    if length is None:
        if not peer.recv(4096):
            raise OSError("the server closed an idle connection")
        return
    while length > 0:
        part = peer.recv(length)
        if not part:
            raise OSError("the server closed an idle connection")
        length -= len(part)


def resident(pid):
    time.sleep(0.5)
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


def raise_descriptor_limit():
    """For the servers, too, which inherit it: call this before they start."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
