"""`fleet conform`: scenarios of everything that goes wrong between an exchange and a reader, and what must come of it.

Each scenario runs on one or both of two levels: `model`, one book fed by a script without sockets, and `fleet`, the
whole fleet as real processes on a real server and the simulated exchange.
"""
