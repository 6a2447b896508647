"""Asks the example `json`: each message is a line of JSON."""

import json
import socket

with socket.create_connection(("127.0.0.1", 1234)) as connection:
    lines = connection.makefile("rw", encoding="utf-8")
    for count in [2, 100]:
        print(json.dumps({"item": "thé vert", "count": count}), file=lines, flush=True)
        print(json.loads(lines.readline()))
