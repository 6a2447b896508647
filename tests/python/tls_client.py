"""A client of Python's `ssl`.

    tls_client.py PORT ROOTS

It sends one long line, reads the same line, and closes; `unwrap` fails unless the server
announces its end.
"""

import socket
import ssl
import sys

port, roots = int(sys.argv[1]), sys.argv[2]
line = b"x" * 200_000 + b"\n"

context = ssl.create_default_context(cafile=roots)
with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
    stream = context.wrap_socket(connection, server_hostname="localhost")
    print(stream.version())
    stream.sendall(line)
    with stream.makefile("rb") as replies:
        assert replies.readline() == line
    print(f"{len(line) - 1} bytes come back")
    stream.unwrap()
    print("the end is announced")
