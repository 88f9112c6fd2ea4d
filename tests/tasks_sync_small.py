"""A task that imports nothing but what it needs."""

import sys


def modules_after_use(event):
    found = {"threading", "queue", "typing", "asyncio", "_pickle"} & set(sys.modules)
    return event.is_set(), sorted(found)
