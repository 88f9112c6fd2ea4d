"""A PostgreSQL server of the tests' own: in a temporary folder, on a unix socket, gone at the end.

The programs are those that are installed, or Debian's, unpacked (tools/debian_postgres.py).
PostgreSQL refuses to run as root, so a root's server runs as "nobody".
"""

import contextlib
import ctypes.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from support import Absent, eventually

TOOLS = Path(__file__).parent.parent / "tools"
USER = "subpool"
NOBODY = 65534


class Unavailable(Absent):
    """Says why there is no PostgreSQL here."""

    def __str__(self):
        return f"no PostgreSQL: {super().__str__()}"


def programs():
    """Give the folder of `initdb` and `postgres`, and the path of their libraries."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    installed += [Path(found).resolve() for found in [shutil.which("initdb")] if found]
    if installed and not os.environ.get("SUBPOOL_UNPACKED_POSTGRES"):
        return installed[-1].parent, ""
    unpack = [sys.executable, TOOLS / "debian_postgres.py"]
    done = subprocess.run(unpack, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise Unavailable(done.stderr.strip().splitlines()[-1])
    folder, libraries = done.stdout.splitlines()
    return Path(folder), libraries


def for_clients():
    """Give what a client written in Python needs in its environment, to find libpq."""
    if ctypes.util.find_library("pq"):
        return {}
    _, libraries = programs()
    return {"LD_LIBRARY_PATH": libraries}


def as_user():
    """Words before a command, so that it runs as a user that PostgreSQL accepts.

    And so that it ends with this process, however that ends.
    """
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0:
        return [setpriv, "--pdeathsig", "INT"] if setpriv else []
    if not setpriv:
        raise Unavailable("PostgreSQL does not run as root, and there is no setpriv")
    user = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    return [setpriv, *user, "--pdeathsig", "INT"]


@contextlib.contextmanager
def server():
    """Run a server; give the folder of its socket. `USER` may do all; the database is "postgres".

    Raises:
        Unavailable: There is none to run.

    """
    binaries, libraries = programs()
    prefix = as_user()
    # Not pytest's: it is this user's alone. And a socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="subpool-pg-"))
    environment = {**os.environ, "LC_ALL": "C", "HOME": str(folder)}
    if libraries:
        environment["LD_LIBRARY_PATH"] = libraries

    def run(program, *words):
        command = [*prefix, binaries / program, *words]
        done = subprocess.run(
            command, env=environment, cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Unavailable(f"{program}: {done.stderr.strip()[-600:]}")

    try:
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        data = folder / "data"
        new = ("-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        run("initdb", *new)
        # Nothing survives the test, so nothing waits for the disk.
        settings = {"fsync": "off", "listen_addresses": "", "unix_socket_directories": folder}
        words = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        with (folder / "log").open("wb") as log:
            running = subprocess.Popen(
                [*prefix, binaries / "postgres", "-D", data, *words],
                env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            status = data / "postmaster.pid"  # its last line says when connections are welcome

            def ready():
                if running.poll() is not None:
                    raise Unavailable((folder / "log").read_text()[-600:])
                return status.exists() and status.read_text().rstrip().endswith("ready")

            eventually(ready, "the start of PostgreSQL")
            yield folder
        finally:
            running.send_signal(signal.SIGQUIT)  # at once: there is nothing to save
            try:
                running.wait(20)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
