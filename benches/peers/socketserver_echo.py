#!/usr/bin/env python3
"""An echo of length-prefixed messages with the standard library's threaded server."""

import socket
import socketserver
import struct


class Echo(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self):
        while len(header := self.rfile.read(4)) == 4:
            (length,) = struct.unpack(">I", header)
            self.connection.sendall(header + self.rfile.read(length))


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = socket.SOMAXCONN

    def handle_error(self, request, client_address):
        """Peers that leave while they are answered are no news."""


with Server(("127.0.0.1", 0), Echo) as server:
    print("%s:%d" % server.server_address, flush=True)
    server.serve_forever()
