import socket, struct, sys

def call(server, request):
    server.sendall(struct.pack(">I", len(request)) + request)
    while header := server.recv(4, socket.MSG_WAITALL):
        length = struct.unpack(">I", header)[0] & 0x7FFFFFFF
        (frame,) = struct.unpack(f"{length}s", server.recv(length, socket.MSG_WAITALL))
        if header[0] < 0x80: return frame.decode()
        if frame[0] < 0x80:  # not a notice; from 0x40 on, nothing follows
            text = f"rejected ({frame[0]:#04x}): {frame[1:].decode()}"
            return text if frame[0] < 0x40 else sys.exit(text)
    sys.exit("the server has closed the connection")

server = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
for request in sys.argv[2:]: print(call(server, request.encode()))
