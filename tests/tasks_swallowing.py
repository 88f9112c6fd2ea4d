"""A task of a module that no interpreter can import, and whose import swallows an interrupt."""

import _interpreters
import sys

# Only the first time: the import may be tried again.
if _interpreters.get_current()[0] != _interpreters.get_main()[0] and not hasattr(sys, "swallowed"):
    from subpool import TaskInterrupted

    sys.swallowed = True
    try:
        while True:
            pass
    except TaskInterrupted:
        pass

import numpy as np


def endless():
    """Use numpy, or it would be sent by value and run in the worker."""
    while True:
        np.zeros(1)
