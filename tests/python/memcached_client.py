"""A client of the cache in the example `memcached`: `pymemcache`.

    memcached_client.py PORT
"""

import sys

from pymemcache.client.base import Client
from pymemcache.exceptions import MemcacheClientError, MemcacheServerError

client = Client(("127.0.0.1", int(sys.argv[1])), timeout=30, default_noreply=False)
print(client.set("key", b"one\r\nEND\r\n", flags=7), client.get("key"), client.get("none"))
print(client.add("key", b"two"), client.replace("key", b"two"), client.replace("none", b"two"))
print(client.set_many({"a": b"", "b": bytes(range(256))}), len(client.get_many(["a", "none", "b"])))
print(client.get("a"), client.get("b") == bytes(range(256)))
print(client.set("n", b"5"), client.incr("n", 37), client.decr("n", 50), client.incr("none", 1))
print(client.delete("key"), client.delete("key"), client.version())
client.set("quiet", b"x", noreply=True)
print(client.get("quiet"))
print(client.set("large", b"x" * 900_000), len(client.get("large")))
try:
    client.set("larger", b"x" * 1_100_000)
except MemcacheServerError as error:
    print(error)
try:
    client.incr("a", 1)
except MemcacheClientError as error:
    print(error)
print(client.flush_all(), client.get("large"))
client.quit()
