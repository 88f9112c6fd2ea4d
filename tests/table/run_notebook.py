"""Run cells in a notebook's kernel, in a process of its own: run_notebook.py CELLS.json.

What the cells print goes to standard output, as a notebook shows it.
"""

import json
import sys
from pathlib import Path

from jupyter_client import KernelManager


def main():
    cells = json.loads(Path(sys.argv[1]).read_text())
    # No port is opened: the sockets are files in the program's folder.
    manager = KernelManager(transport="ipc", ip=str(Path(sys.argv[1]).parent / "kernel"))
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    for cell in cells:
        reply = client.execute_interactive(
            cell, store_history=False, allow_stdin=False, output_hook=show
        )
        if reply["content"]["status"] != "ok":
            sys.exit("\n".join(reply["content"]["traceback"]))
    client.stop_channels()
    manager.shutdown_kernel()


def show(message):
    if message["msg_type"] == "stream":
        print(message["content"]["text"], end="", flush=True)


if __name__ == "__main__":
    main()
