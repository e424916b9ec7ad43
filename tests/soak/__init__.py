"""A soak of the whole server: minutes of everything that clients and replicas can do to it, then the books.

Run by `make soak`, or by `python -m tests.soak` from the root of the checkout.

The server is a process of its own with the fake engine. Client processes open streams of every kind, make unary calls,
send images that cannot be decoded and images that the engine fails on, read slowly, break the rules, cancel at any
moment and are killed. Replicas are killed, and stopped for shorter and for longer than the server bears. When the load
has ended, every frame must be accounted for, on both sides of the wire, and the server must be as it was before.

What a client draws depends on the seed, its number and how often it was killed; when things meet does not.
"""
