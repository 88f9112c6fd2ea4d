"""What the supervisor and its workers agree on.

The supervisor sends ``["serve", secure, insecure, quic]`` with that many sockets' descriptors,
``["retire"]`` when another worker has taken the place, ``["stop"]`` at the end of the server.
A worker sends ``["option", name]`` before it loads what an option needs and ``["option", null]``
after it, ``["loaded"]``, ``["files", ...]``, ``["ready"]``, ``["worn"]`` after its most
requests, ``["draining"]`` when it takes no more connections, ``["cut", n]``, ``["closing"]`` when
the lifespan's end begins, and ``["ended", cut]``.
"""

MESSAGE = 1 << 17  # bytes, the longest message
