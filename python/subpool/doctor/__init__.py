"""``subpool doctor``: which of the installed libraries work in an interpreter with its own GIL.

`targets` finds what to examine, `examination` runs it in child processes (`child`, and `inside`
in the interpreter there), `report` shows the outcome, `command` is the command line.
"""
