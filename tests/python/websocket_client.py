"""A client of the example `websocket`: the package `websockets`.

    websocket_client.py PORT
"""

import sys

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

url = f"ws://127.0.0.1:{sys.argv[1]}/"


def closed_after(message):
    with connect(url, open_timeout=30) as client:
        client.send(message)
        try:
            client.recv(timeout=30)
        except ConnectionClosed as closed:
            return closed.rcvd.code


with connect(url, open_timeout=30) as client:
    print(client.response.status_code, client.protocol.extensions, client.subprotocol)
    client.send("grüße")
    print(client.recv(timeout=30))
    client.send(["one ", "two ", "three"])
    print(client.recv(timeout=30))
    for length in 0, 125, 126, 65_535, 65_536, 1_000_000:
        client.send(bytes(length))
        print(client.recv(timeout=30) == bytes(length), end=" ")
    print(client.ping("are you there?").wait(timeout=30))
    client.close(code=1000)
    print(client.close_code)
print(closed_after(bytes(1_100_000)), closed_after([bytes(600_000), bytes(600_000)]))
