"""The examples of web servers and async programs, as their readers run them.

Answers are checked, never times: `fastapi_load.py` shows those.
"""

import contextlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
LIMIT = 100  # below pytest's own

pytestmark = pytest.mark.slow


def needs(*names):
    """Skip, and say so, where a package is not there (it may have no wheel for a new Python)."""
    absent = [name for name in names if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(absent), reason=f"not installed here: {', '.join(absent)}")


def group_is_gone(group):
    """Whether no process of a group is left, not even one that nobody has waited for."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@contextlib.contextmanager
def started(name, *arguments, env, **options):
    """Run an example in a group of processes of its own, which must be empty in the end."""
    command = [sys.executable, EXAMPLES / name, *map(str, arguments)]
    options = {"stdout": subprocess.PIPE, "text": True, "env": env} | options
    with subprocess.Popen(command, start_new_session=True, **options) as process:
        try:
            yield process
            assert process.wait(LIMIT) is not None
            assert group_is_gone(process.pid), "a process of the example was left over"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def finished(name, *arguments, env):
    """Run an example that ends by itself and has nothing to complain of; give its output."""
    with started(name, *arguments, env=env, stderr=subprocess.PIPE) as process:
        out, err = process.communicate(timeout=LIMIT)
        assert (process.returncode, err) == (0, ""), f"{out}\n{err}"
    return out


@contextlib.contextmanager
def serving(name, ending, *, env):
    """Run a server on a free port and give its address; a signal ends it."""
    with started(name, "--port", 0, env=env, stderr=subprocess.STDOUT) as process:
        log = []
        for line in process.stdout:
            log.append(line)
            if found := re.search(r"(?i)running on (http://\S+)", line):
                break
        else:
            pytest.fail("".join(log))
        yield found[1]
        process.send_signal(ending)
        rest, _ = process.communicate(timeout=LIMIT)
        assert process.returncode in {0, -ending}, rest
        assert "Traceback" not in rest
        assert "ERROR" not in rest


def answer(address, data=None):
    with urllib.request.urlopen(address, data, timeout=LIMIT) as response:  # noqa: S310 - loopback
        return json.load(response)


@needs("fastapi", "uvicorn")
def test_fastapi_answers_pings_while_it_is_loaded(child_env):
    """A way gave another answer than inline, or the app did not outlive its load, or its end."""
    few = ("--rounds", 1, "--pings", 3, "--seconds", LIMIT)
    out = finished("fastapi_load.py", *few, env=child_env)
    rows = [line for line in out.splitlines() if re.search(r" {2,}3 +\d+\.\d\d +\d+\.\d\d$", line)]
    assert [re.split(r" {2,}", row)[0] for row in rows] == [
        "no load",
        "inline in async def",
        "await asyncio.to_thread(interpreter(f), ...)",
        "def endpoint calling a tagged function",
        "await executor.run(f, ...)",
    ], out
    assert all(float(re.split(r" {2,}", row)[1]) > 0 for row in rows[1:]), "no load was there"
    assert "the server ended with exit code 0" in out
    assert out.endswith("all ways gave the same answers\n")


@needs("fastapi", "uvicorn")
def test_fastapi_agrees_with_itself(child_env):
    """What the driver compares with is computed by the same module; this is known beforehand."""
    with serving("fastapi_app.py", signal.SIGTERM, env=child_env) as address:
        ways = ("inline", "to_thread", "def", "run")
        found = [answer(f"{address}/{way}?word=genrator")[0] for way in ways]
        assert found == [["generator", 1]] * 4
        assert answer(f"{address}/ping") == "pong"


@needs("starlette", "uvicorn")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_starlette(child_env, ending):
    """A timeout went on computing; Ctrl-C, or a service manager's signal, crashed the process."""
    with serving("starlette_app.py", ending, env=child_env) as address:
        for _ in range(5):
            with pytest.raises(urllib.error.HTTPError) as refused:
                answer(f"{address}/suggest?word=exeption&seconds=0")
            with refused.value as response:
                assert (response.code, json.load(response)["word"]) == (503, "exeption")
        found = answer(f"{address}/suggest?word=exeption")
        assert (found["word"], found["suggestions"][0]) == ("exeption", "exception")


@needs("aiohttp")
def test_aiohttp(child_env):
    """The words of one request got each other's answers."""
    with serving("aiohttp_app.py", signal.SIGINT, env=child_env) as address:
        found = answer(f"{address}/check", b"The genrator raises an exeption, the exeption.")
        assert {word: likely[0] for word, likely in found.items()} == {
            "genrator": ["generator", 1],
            "exeption": ["exception", 1],
        }


@needs("trio")
def test_trio(child_env, tmp_path):
    """A word was lost on its way through trio's threads."""
    text = tmp_path / "text"
    text.write_text("The genrator raises an exeption.")
    *found, total = finished("trio_app.py", text, env=child_env).splitlines()
    assert sorted(line.partition(",")[0] for line in found) == [
        "exeption: exception",
        "genrator: generator",
    ]
    assert total.startswith("2 words")
    *found, total = finished("trio_app.py", env=child_env).splitlines()
    assert len(found) == int(total.split()[0]) > 5
