"""A server that sends its reply in several segments.

    segments_server.py COUNT LENGTH

It listens on a free port of 127.0.0.1, prints the port, accepts, receives once, and replies with
COUNT segments of LENGTH bytes: the first all "0", the second all "1", and so on. Then it closes.
"""

import socket
import sys

count, length = int(sys.argv[1]), int(sys.argv[2])

with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
    listener.settimeout(30)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    print(listener.getsockname()[1])
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(30)
        # Without it, the system may join small pieces into one segment.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.recv(1024)
        for number in range(count):
            connection.sendall(str(number % 10).encode() * length)
