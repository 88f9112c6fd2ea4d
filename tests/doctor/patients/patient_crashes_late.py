"""Takes the process down when its interpreter is closed."""

import _interpreters
import atexit
import os

if _interpreters.get_current()[0] != _interpreters.get_main()[0]:
    atexit.register(os._exit, 7)
