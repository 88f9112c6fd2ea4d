"""Never ends loading in an interpreter; says so in the file that PATIENT_HANGS names."""

import _interpreters
import os
import threading
from pathlib import Path

if _interpreters.get_current()[0] != _interpreters.get_main()[0]:
    Path(os.environ["PATIENT_HANGS"]).write_text("hangs")
    threading.Event().wait()
