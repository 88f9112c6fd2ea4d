"""Loads in the main interpreter only, as what sets signal handlers does."""

import signal

signal.signal(signal.SIGUSR2, signal.SIG_DFL)
