"""The command line: ``subpool`` and ``python -m subpool``."""

from __future__ import annotations

import argparse
import sys

from subpool.doctor import command as doctor


def main(arguments: list[str] | None = None) -> int:
    """Run a command; give its exit code."""
    parser = argparse.ArgumentParser(prog="subpool", description="Tools for subpool.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    chosen = commands.add_parser("doctor", help="tell which libraries work in an interpreter")
    doctor.add_arguments(chosen)
    chosen.set_defaults(run=doctor.run)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
