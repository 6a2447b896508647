"""The works that tables and plots show, in words, and the shapes by which the generator knows them."""

ONE = "one connection, one request at a time"
MANY = "64 connections, one request each"
DEEP = "one connection, 64 in flight"
DEEPER = "one connection, 512 in flight"
CONNECT = "connect, one request, close"
CONNECT_16 = "16 at a time: connect, one request, close"
CONNECT_1000 = "1,000 at a time: connect, one request, close"
LARGE = "echo of 1 MiB"

SHAPES = {
    ONE: "1x1",
    MANY: "64x1",
    DEEP: "1x64",
    DEEPER: "1x512",
    CONNECT: "connect-1",
    CONNECT_16: "connect-16",
    CONNECT_1000: "connect-1000",
    LARGE: "1x1x1048576",
}
