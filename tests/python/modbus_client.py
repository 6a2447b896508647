"""A client of `pymodbus`.

    modbus_client.py PORT

It writes and reads registers, and asks for what there is not.
"""

import sys

from pymodbus.client import ModbusTcpClient

client = ModbusTcpClient("localhost", port=int(sys.argv[1]), timeout=30, retries=0)
assert client.connect()


def told(response):
    if response.isError():
        return f"exception {response.exception_code}"
    return response.registers or "done"


print("write", told(client.write_registers(3, [17, 4660, 65535])))
print("write one", told(client.write_register(99, 7)))
print("read", told(client.read_holding_registers(2, count=5)))
print("read the last", told(client.read_holding_registers(99)))
print("read behind them", told(client.read_holding_registers(99, count=2)))
print("write behind them", told(client.write_register(100, 7)))
print("read coils", told(client.read_coils(0, count=8)))
client.close()
