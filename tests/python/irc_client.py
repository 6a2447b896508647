"""Two clients of the chat server in the example `irc`, of the package `irc`.

    irc_client.py PORT
"""

import sys

import irc.client

reactor = irc.client.Reactor()
ann, bob = [
    reactor.server().connect("127.0.0.1", int(sys.argv[1]), name, username=name) for name in ["ann", "bob"]
]


heard = {ann: [], bob: []}


def hear(connection, event):
    heard[connection].append((event.type, event.source, event.target, *event.arguments))


for kind in ["welcome", "join", "part", "pubmsg", "pong", "unknowncommand"]:
    reactor.add_global_handler(kind, hear)


def wait(connection, kind):
    """Processes what arrives until the last event at a connection is of this kind."""
    while not heard[connection] or heard[connection][-1][0] != kind:
        reactor.process_once(1)


wait(ann, "welcome")
ann.join("#tea")
wait(ann, "join")
wait(bob, "welcome")
bob.join("#tea")
wait(bob, "join")
bob.privmsg("#tea", "hello there")
wait(ann, "pubmsg")
ann.send_raw("WHO #tea")
wait(ann, "unknowncommand")
bob.part("#tea")
wait(bob, "part")
wait(ann, "part")
ann.ping("token")
wait(ann, "pong")
for client, events in heard.items():
    for event in events:
        print(client.get_nickname(), *event)
    client.disconnect()
