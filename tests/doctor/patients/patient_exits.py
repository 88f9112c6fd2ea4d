"""Raises `SystemExit` in an interpreter: that must not end the examination."""

import _interpreters

if _interpreters.get_current()[0] != _interpreters.get_main()[0]:
    raise SystemExit(3)
