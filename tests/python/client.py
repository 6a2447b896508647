"""A client as the Python library has it.

    client.py PORT TEXT

It connects, sends the text without a delimiter, receives once, removes line feeds, closes, and
prints what it received.
"""

import socket
import sys

port, text = int(sys.argv[1]), sys.argv[2]

with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
    connection.settimeout(30)
    connection.connect(("127.0.0.1", port))
    connection.send(text.encode())
    reply = connection.recv(1024).decode().replace("\n", "")

print(f"Response: {reply}")
