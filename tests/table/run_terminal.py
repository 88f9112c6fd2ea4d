"""Type cells at Python's prompt, on a terminal of its own: run_terminal.py CELLS.json.

Each cell is pasted as an editor would (bracketed paste), when the prompt is there: Python says so
by asking the terminal to mark what is pasted.  What it shows goes to standard output.
"""

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

READY, BUSY = b"\x1b[?2004h", b"\x1b[?2004l"
PASTE = "\x1b[200~{}\n{}\n\x1b[201~"
ENTER, END_OF_INPUT = b"\r", b"\x04"


def main():
    cells = json.loads(Path(sys.argv[1]).read_text())
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
    # Before 3.14 the prompt is redrawn in colours otherwise.
    env = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
    env["PYTHON_HISTORY"] = str(Path(sys.argv[1]).parent / "history")
    env.pop("PYTHON_BASIC_REPL", None)
    process = subprocess.Popen(
        [sys.executable, "-q"], stdin=theirs, stdout=theirs, stderr=theirs, env=env
    )
    os.close(theirs)
    screen = Screen(ours)
    screen.until(READY)
    for number, cell in enumerate(cells):
        # What is on the screen has been pasted; an Enter that comes earlier becomes part of it.
        last = f"# cell {number}"
        os.write(ours, PASTE.format(cell, last).encode())
        screen.until(last.encode())
        os.write(ours, ENTER)
        screen.until(BUSY)
        screen.until(READY)
    os.write(ours, END_OF_INPUT)
    screen.until(None)
    sys.exit(process.wait())


class Screen:
    """Reads what the terminal shows, and hands it on."""

    def __init__(self, terminal):
        self.terminal, self.unread = terminal, b""

    def until(self, mark):
        """Read up to a mark, or to the end."""
        while mark is None or mark not in self.unread:
            try:
                block = os.read(self.terminal, 65536)
            except OSError:  # nobody has the other end any more
                return
            os.write(1, block)
            self.unread += block
        self.unread = self.unread.partition(mark)[2]


if __name__ == "__main__":
    main()
