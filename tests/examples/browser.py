"""A headless Chromium, told what to do over a pipe (Chrome's DevTools protocol), without a library.

It is the one that is installed, or Debian's, unpacked (tools/debian_chromium.py).
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from support import Absent

TOOLS = Path(__file__).parents[2] / "tools"
NAMES = ("chromium-headless-shell", "chromium", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",  # it refuses root otherwise, and opens our own pages only
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--remote-debugging-pipe",
)

# It reads from descriptor 3 and writes to 4.
BEFORE = """
import os, sys
theirs, ours, *command = sys.argv[1:]
os.dup2(int(theirs), 3)
os.dup2(int(ours), 4)
os.execv(command[0], command)
"""


class NoBrowser(Absent):
    """Says why there is none."""

    def __str__(self):
        return f"no browser: {super().__str__()}"


def program():
    """Give the program and the path of its libraries."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found:
        return found, ""
    unpack = [sys.executable, TOOLS / "debian_chromium.py"]
    done = subprocess.run(unpack, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise NoBrowser((done.stderr.strip() or "no reason given").splitlines()[-1])
    return done.stdout.splitlines()


class Page:
    """One browser with one page."""

    def __init__(self):
        path, libraries = program()
        self._folder = tempfile.TemporaryDirectory(prefix="subpool-chromium-")
        env = {**os.environ, "HOME": self._folder.name}
        if libraries:
            env["LD_LIBRARY_PATH"] = libraries
        theirs, self._orders = os.pipe()
        self._answers, ours = os.pipe()
        profile = f"--user-data-dir={self._folder.name}/profile"
        self._process = subprocess.Popen(
            [sys.executable, "-c", BEFORE, str(theirs), str(ours), path, *FLAGS, profile],
            env=env,
            pass_fds=[theirs, ours],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(ours)
        self._reader = os.fdopen(self._answers, "rb")
        self._number = 0
        self._session = None
        self.exceptions = []
        try:
            target = self._call("Target.createTarget", url="about:blank")["targetId"]
            attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
            self._session = attached["sessionId"]
            for domain in ("Page", "Runtime"):
                self._call(f"{domain}.enable")
        except BaseException:
            self.close()
            raise

    def _message(self):
        found = bytearray()
        while (byte := self._reader.read(1)) != b"\0":
            if not byte:
                raise NoBrowser(f"the browser ended with {self._process.wait()}")
            found += byte
        return json.loads(found)

    def _call(self, method, **params):
        self._number += 1
        order = {"id": self._number, "method": method, "params": params}
        if self._session:
            order["sessionId"] = self._session
        os.write(self._orders, json.dumps(order).encode() + b"\0")
        while (message := self._message()).get("id") != self._number:
            self._hear(message)
        assert "error" not in message, message["error"]
        return message["result"]

    def _hear(self, message):
        if message.get("method") == "Runtime.exceptionThrown":
            self.exceptions.append(message["params"]["exceptionDetails"])

    def open(self, url):
        """Open a page, and wait until it has loaded."""
        self._call("Page.navigate", url=url)
        while self._message().get("method") != "Page.loadEventFired":
            pass

    def ask(self, script):
        """Evaluate a script in the page; a promise is awaited."""
        options = {"awaitPromise": True, "returnByValue": True}
        answer = self._call("Runtime.evaluate", expression=script, **options)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def click(self, selector):
        """Click, as a mouse does, on what has that place; wait for the page that follows."""
        box = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        x, y = self.ask(f"(r => [r.x + r.width / 2, r.y + r.height / 2])({box})")
        for kind in ("mousePressed", "mouseReleased"):
            where = {"x": x, "y": y, "button": "left", "clickCount": 1}
            self._call("Input.dispatchMouseEvent", type=kind, **where)
        while self._message().get("method") != "Page.loadEventFired":
            pass

    def close(self):
        os.close(self._orders)
        self._process.terminate()
        self._process.wait()
        self._reader.close()
        with contextlib.suppress(OSError):
            self._folder.cleanup()
