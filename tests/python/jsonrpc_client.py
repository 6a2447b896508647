"""A client of the functions in the example `jsonrpc`: `pylsp_jsonrpc`, which language servers use.

    jsonrpc_client.py PORT
"""

import socket
import sys
import threading

from pylsp_jsonrpc.endpoint import Endpoint
from pylsp_jsonrpc.exceptions import JsonRpcException
from pylsp_jsonrpc.streams import JsonRpcStreamReader, JsonRpcStreamWriter

connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
reader = JsonRpcStreamReader(connection.makefile("rb"))
endpoint = Endpoint({}, JsonRpcStreamWriter(connection.makefile("wb")).write)
thread = threading.Thread(target=reader.listen, args=(endpoint.consume,))
thread.start()

order = []
slow = endpoint.request("sleep", [500])
slow.add_done_callback(lambda _: order.append("slow"))
quick = endpoint.request("add", [40, 2])
quick.add_done_callback(lambda _: order.append("quick"))
print(quick.result(30), slow.result(30), *order)
endpoint.notify("sleep", [0])
for method, params in [("add", [1]), ("subtract", [1, 2]), ("add", [2**63 - 1, 1])]:
    try:
        print(endpoint.request(method, params).result(30))
    except JsonRpcException as error:
        print(error.code, error.message)
connection.shutdown(socket.SHUT_WR)
thread.join()
endpoint.shutdown()
