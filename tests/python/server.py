"""A server as the Python library has it, for one request.

    server.py

It listens on a free port of 127.0.0.1, prints the port, accepts, receives once, removes line feeds,
sends the answer, closes, and prints the request.
"""

import socket

with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
    listener.settimeout(30)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    print(listener.getsockname()[1])
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(30)
        request = connection.recv(1024).decode().replace("\n", "")
        connection.send(f"Hello, {request}!".encode())

print(f"Request: {request}")
