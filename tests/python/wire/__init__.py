"""What WIRE.md specifies, written a second time: slowly, from that file alone.

A format has `write(kind, value)` and `read(kind, data)`. A value is what the module `json` makes of it,
so that `bytes` are a list of numbers; a kind is what a name stands for in `kinds.TYPES`.
"""
