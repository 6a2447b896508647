"""Two clients of `paho-mqtt`.

    mqtt_client.py PORT

One subscribes, and the other publishes.
"""

import queue
import sys

from paho.mqtt.client import CallbackAPIVersion, Client

told = queue.SimpleQueue()


def connect(name, **how):
    client = Client(CallbackAPIVersion.VERSION2, name, **how)
    client.on_connect = lambda client, data, flags, reason, properties: told.put(f"{name}: {reason}")
    client.on_subscribe = lambda client, data, id, reasons, properties: told.put(
        f"{name} is subscribed: {', '.join(map(str, reasons))}"
    )
    client.on_unsubscribe = lambda *_: told.put(f"{name} is unsubscribed")
    client.on_message = lambda client, data, message: told.put(
        f"{name} gets {message.topic} ({message.qos}): {message.payload.decode()[:20]}"
    )
    client.connect("localhost", int(sys.argv[1]))
    client.loop_start()
    print(told.get(timeout=30))
    return client


def publish(client, topic, payload, qos):
    published = client.publish(topic, payload, qos)
    published.wait_for_publish(30)
    assert published.is_published()


ann, bob = connect("ann"), connect("bob")
ann.subscribe([("news", 0), ("mail/ann", 1)])
print(told.get(timeout=30))
ann.subscribe("mail/#")
print(told.get(timeout=30))
publish(bob, "news", "hello", 0)
print(told.get(timeout=30))
publish(bob, "nobody", "listens", 1)
publish(bob, "mail/ann", "again" * 100, 1)
print(told.get(timeout=30))
publish(ann, "news", "to myself", 1)
print(told.get(timeout=30))
ann.unsubscribe("news")
print(told.get(timeout=30))
publish(bob, "news", "unheard", 1)
publish(bob, "mail/ann", "the end", 0)
print(told.get(timeout=30))
connect("old", protocol=3)
for client in ann, bob:
    client.disconnect()
    client.loop_stop()
