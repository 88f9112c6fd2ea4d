"""The command line: ``subpool`` and ``python -m subpool``."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

# Each command's module, with `add_arguments` and `run`, and its help.
COMMANDS = {
    "doctor": ("subpool.doctor.command", "tell which libraries work in an interpreter"),
    "serve": (
        "subpool.integrations.hypercorn._command",
        "serve an ASGI or WSGI app, its workers in interpreters",
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """Run a command; give its exit code."""
    parser = argparse.ArgumentParser(prog="subpool", description="Tools for subpool.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    given = sys.argv[1:] if arguments is None else arguments
    for name, (module, what) in COMMANDS.items():
        chosen = commands.add_parser(name, help=what)
        if name in given:  # the others need not be imported
            command = import_module(module)
            command.add_arguments(chosen)
            chosen.set_defaults(run=command.run)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
