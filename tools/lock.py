#!/usr/bin/env python3
"""Write requirements/*.txt: versions and hashes of what the environments here need (`make lock`).

Each dependency group of pyproject.toml that tools/setup.py installs has one file, for all Pythons
and systems. What is locked stays as it is unless it does not fit any more; `--upgrade` takes what
is newest.
"""

from __future__ import annotations

import sys

import setup

# And from which Python on.
GROUPS = {
    "dev": "3.13",
    "sqlalchemy20": "3.13",
    "docs": "3.14",
    "bench": "3.14",
    "django60": "3.14",
    "tools": "3.9",
}


def main() -> None:
    for group, oldest in GROUPS.items():
        lock = setup.locked_file(group)
        lock.parent.mkdir(exist_ok=True)
        setup.say(f"locking {group}")
        compiled = setup.run(
            setup.uv(), "pip", "compile", "--quiet", "--no-header", "--no-emit-index-url",
            "--universal", "--python-version", oldest, "--generate-hashes",
            "--group", f"{setup.ROOT / 'pyproject.toml'}:{group}", "--output-file", lock,
            *sys.argv[1:],
        )  # fmt: skip
        heading = f"# pyproject.toml's group {group} ({setup.groups_digest()}): by `make lock`\n"
        lock.write_text(heading + (compiled or lock.read_text()).rstrip() + "\n")


if __name__ == "__main__":
    try:
        main()
    except setup.SetupError as error:
        sys.exit(f"lock: {error}")
