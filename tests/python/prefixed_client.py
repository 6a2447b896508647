import socket, struct, sys

def call(server, request):
    server.write(struct.pack(">I", len(request)) + request)
    server.flush()
    while True:
        (header,) = struct.unpack(">I", server.read(4))
        frame = server.read(header & 0x7FFFFFFF)
        if header < 0x80000000:
            return frame.decode()
        if frame[0] < 0x80:  # not a notice
            raise SystemExit(f"refused ({frame[0]:#04x}): {frame[1:].decode()}")

server = socket.create_connection(("127.0.0.1", int(sys.argv[1]))).makefile("rwb")
print(*(call(server, request.encode()) for request in sys.argv[2:]), sep="\n")
