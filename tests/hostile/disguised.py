"""A task that puts a key with a name's hash, and an `__eq__` of its own, in that name's place."""

import sys


class Disguised:
    def __init__(self, name):
        self.hash = hash(name)

    def __hash__(self):
        return self.hash

    def __eq__(self, other):
        raise OverflowError("a comparison that nobody asked for")


def fail_in_disguise(name):
    names = sys.modules if name in sys.modules else sys.__dict__
    del names[name]
    names[Disguised(name)] = None
    raise ValueError("failed")
