"""Each framing with each format, once. The table of them is in `src/servers/combinations.rs`."""

from harness import counting
from harness.programs import RELEASE, result
from harness.systems import System
from harness.works import CONNECT_16, DEEP

# A framing with one exchange for each connection has the second work, the others the first; the
# default has both, to be compared with.
WORKS = [DEEP, CONNECT_16]
COUNTED = {DEEP: "64 deep", CONNECT_16: "connect, request, close"}
LIMIT = 10


def systems(threads):
    """Returns the combinations; the first is the default."""
    found = result([RELEASE / "server", "combinations"], LIMIT)
    return [
        System(
            each["name"],
            (RELEASE / "server", each["name"], 0, threads),
            wire=each["name"],
            without=() if number == 0 else WORKS[1:] if each["goes on"] else WORKS[:1],
        )
        for number, each in enumerate(found)
    ]


def instructions():
    """Returns the instructions for a request in each of them, by the name of the figure."""
    return {
        f"{system.name} instructions, {COUNTED[work]}": counting.instructions(
            system.name, COUNTED[work], system.wire
        )
        for system in systems(1)
        for work in WORKS
        if work not in system.without
    }
