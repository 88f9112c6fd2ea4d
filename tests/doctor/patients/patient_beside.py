"""Fails in an interpreter if the main one has loaded it before."""

import ctypes
import os

libc = ctypes.CDLL(None)  # the process's environment: `os.environ` is a copy
libc.getenv.restype = ctypes.c_char_p
if libc.getenv(b"PATIENT_BESIDE") is not None:
    raise RuntimeError("one copy is enough")
os.putenv("PATIENT_BESIDE", "loaded")
