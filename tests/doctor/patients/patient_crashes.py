"""Takes the process down when it is loaded in an interpreter."""

import _interpreters
import os
import signal

if _interpreters.get_current()[0] != _interpreters.get_main()[0]:
    os.kill(os.getpid(), signal.SIGSEGV)
