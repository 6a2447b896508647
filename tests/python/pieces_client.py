"""A client that sends its request in two pieces, with a pause between them.

    pieces_client.py PORT FIRST SECOND

The pause ends when the reply to the first piece is there, so that the server has certainly seen one
piece and not the other. It prints all that the server says until it closes.
"""

import socket
import sys

port, first, second = int(sys.argv[1]), sys.argv[2], sys.argv[3]

with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
    connection.settimeout(30)
    connection.connect(("127.0.0.1", port))
    connection.sendall(first.encode())
    reply = connection.recv(1024)
    try:
        connection.sendall(second.encode())
        while more := connection.recv(1024):
            reply += more
    except ConnectionError:
        # The server has closed already, which is as good as the end.
        pass

print(f"Response: {reply.decode()}")
