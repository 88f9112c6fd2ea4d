"""What a task prints goes where its caller's output goes, before the caller has the result."""

import asyncio
import concurrent.futures
import contextlib
import io
import os
import sys
import weakref
from pathlib import Path

import pytest

import tasks
import tasks_environment as around
from support import eventually


class Stream(io.TextIOBase):
    """A stream that programs put in the place of `sys.stdout`."""

    def __init__(self):
        self.texts = []
        self.flushed = 0

    def write(self, text):
        self.texts.append(text)
        return len(text)

    def flush(self):
        self.flushed += 1

    def getvalue(self):
        return "".join(self.texts)


class Broken(Stream):
    def write(self, text):
        raise ValueError("this stream is closed")


def test_print_comes_before_the_result(pool, capsys):
    # Guards against output that goes to the process's descriptor, past the capture.
    for turn in range(200):
        pool.submit(around.say, turn, end=";").result()
        print("main", end=";")
    expected = "".join(f"{turn};main;" for turn in range(200))
    assert capsys.readouterr() == (expected, "")


def test_both_streams(pool, capsys):
    pool.submit(around.say, "out").result()
    pool.submit(around.say, "err", file="stderr").result()
    assert capsys.readouterr() == ("out\n", "err\n")


async def wrapped(future):
    return await asyncio.wrap_future(future)


@pytest.mark.parametrize(
    "take",
    [
        lambda future: future.result(),
        lambda future: future.exception(),
        lambda future: concurrent.futures.wait([future]),
        lambda future: list(concurrent.futures.as_completed([future])),
        lambda future: asyncio.run(wrapped(future)),
    ],
    ids=["result", "exception", "wait", "as_completed", "asyncio"],
)
def test_however_the_end_is_seen(pool, take):
    for turn in range(20):
        with contextlib.redirect_stdout(io.StringIO()) as output:
            future = pool.submit(around.say, turn)
            take(future)
            assert output.getvalue() == f"{turn}\n"


def test_await(pool):
    async def main():
        with contextlib.redirect_stdout(io.StringIO()) as output:
            await pool.submit(around.say, "awaited")
            assert output.getvalue() == "awaited\n"
            await pool.run(around.say, "run")
            assert output.getvalue() == "awaited\nrun\n"

    asyncio.run(main())


def test_map(pool):
    with contextlib.redirect_stdout(io.StringIO()) as output:
        for number, _ in enumerate(pool.map(around.say, range(100))):
            assert output.getvalue().startswith("".join(f"{n}\n" for n in range(number + 1)))


def test_callbacks(pool):
    seen = []
    with contextlib.redirect_stdout(io.StringIO()) as output:
        future = pool.submit(around.say, "before the callback")
        future.add_done_callback(lambda _: seen.append(output.getvalue()))
        pool.shutdown()
    eventually(lambda: seen, "the callback")
    assert seen == ["before the callback\n"]


def test_shutdown_is_enough(pool):
    # Guards against text that nobody comes for, since no result is taken.
    with contextlib.redirect_stdout(io.StringIO()) as output:
        pool.submit(around.say, "nobody asks")
        pool.shutdown()
        assert output.getvalue() == "nobody asks\n"


def test_a_task_that_runs(pool, gate):
    # Guards against text that comes with the result only.
    with contextlib.redirect_stdout(io.StringIO()) as output:
        future = pool.submit(around.say_and_wait, "one", *gate.fds)
        gate.wait()
        eventually(lambda: output.getvalue() == "one\n", "the text of a running task")
        gate.open()
        future.result()
        assert output.getvalue() == "one\none again\n"


def test_the_stream_of_the_submit(pool, gate):
    # Guards against the stream that is there when the text comes.
    first, second = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(first):
        blocked = pool.submit(tasks.block, *gate.fds)
        one = pool.submit(around.say, "one")
    with contextlib.redirect_stdout(second):
        two = pool.submit(around.say, "two")
    gate.open()
    blocked.result(), one.result(), two.result()
    assert (first.getvalue(), second.getvalue()) == ("one\n", "two\n")


def redirected(task):
    """Have `task` run with an output of its own, and give a weak reference to that."""
    stream = Stream()
    with contextlib.redirect_stdout(stream):
        task()
    return weakref.ref(stream)


def test_a_stream_is_let_go_of(pool):
    # Guards against a redirected output that lives as long as the program.
    for _ in range(10):
        gone = redirected(lambda: pool.submit(around.say, "kept").result())
        assert gone() is None


def test_a_stream_is_kept_while_a_task_may_print(pool, gate):
    futures = []

    def start():
        futures.append(pool.submit(around.say_and_wait, "kept", *gate.fds))
        gate.wait()

    gone = redirected(start)
    stream = gone()
    gate.open()
    futures[0].result()
    assert stream.getvalue() == "kept\nkept again\n"
    del stream
    pool.submit(tasks.nothing).result()
    eventually(lambda: gone() is None, "the end of the stream")


def test_flush(pool):
    with contextlib.redirect_stdout(Stream()) as output:
        pool.submit(around.say, "a", end="").result()
        assert output.flushed == 0
        pool.submit(around.say, "b", end="", flush=True).result()
    assert (output.getvalue(), output.flushed) == ("ab", 1)


def test_lines_stay_whole(pool2):
    # Guards against `print`'s two writes, the text and the line's end, that others come between.
    with contextlib.redirect_stdout(io.StringIO()) as output:
        list(pool2.map(around.say_much, [200] * 20))
    lines = output.getvalue().splitlines()
    assert len(lines) == 4000
    assert {line[:-1] for line in lines} == {"x" * 98}


def test_texts(pool):
    text = "ü \U0001f40d lone \udcff \r\n\r end"
    with contextlib.redirect_stdout(io.StringIO(newline="")) as output:
        pool.submit(around.say, text, end="").result()
        assert output.getvalue() == text


def test_bytes(pool):
    file = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.redirect_stdout(file):
        pool.submit(around.say, "text", end="").result()
        pool.submit(around.write_bytes, b"\xff\xfe").result()
    assert file.buffer.getvalue() == b"text\xff\xfe"
    with contextlib.redirect_stdout(io.StringIO()) as output:
        pool.submit(around.write_bytes, b"\xff\xfe").result()
    assert output.getvalue() == r"\xff\xfe"


def test_a_stream_that_raises(pool, monkeypatch):
    # Guards against an error of the output that ends a result, or hides what comes after it.
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    with contextlib.redirect_stdout(Broken()):
        assert pool.submit(around.say, "lost").result() is None
        assert pool.submit(around.say, "lost, too").result() is None
        with contextlib.redirect_stderr(io.StringIO()) as errors:
            pool.submit(around.say, "kept", file="stderr").result()
    assert errors.getvalue() == "kept\n"
    assert [str(hook.exc_value) for hook in told] == ["this stream is closed"]


def test_ctrl_c_while_the_text_is_written(pool, monkeypatch):
    # Guards against text that is lost, or written twice, when the caller is interrupted. If it is
    # the completer that writes, nobody can be interrupted.
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)

    class Interrupting(Stream):
        def write(self, text):
            super().write(text)
            if text == "first\n":
                raise KeyboardInterrupt

    with contextlib.redirect_stdout(Interrupting()) as output:
        blocked = [pool.submit(around.say, "first", flush=True), pool.submit(around.say, "second")]
        with contextlib.suppress(KeyboardInterrupt):
            for future in blocked:
                future.result()
        for future in blocked:
            future.result()
    assert output.getvalue().count("first") == 1
    assert "second" in output.getvalue()


def test_a_stream_that_asks_for_a_result(pool2):
    # Guards against a thread that waits for itself to finish writing.
    class Asking(Stream):
        def write(self, text):
            super().write(f"{pool2.submit(tasks.add, 1, 2).result()} {text}")

    with contextlib.redirect_stdout(Asking()) as output:
        pool2.submit(around.say, "text").result()
    eventually(lambda: output.getvalue() == "3 text\n", "the text")


def test_the_streams_of_a_worker(pool):
    said = True, False, False, False, False
    with contextlib.redirect_stdout(io.StringIO()):
        described = pool.submit(around.describe_output, "stdout").result()
    expected = "TextIOWrapper", "<stdout>", "w", "utf-8", "UnsupportedOperation", said
    assert described == expected
    with Path(os.devnull).open("w") as file, contextlib.redirect_stderr(file):
        described = pool.submit(around.describe_output, "stderr").result()
        assert described == ("TextIOWrapper", "<stderr>", "w", "utf-8", file.fileno(), said)
    with contextlib.redirect_stdout(None):
        assert pool.submit(around.describe_output, "stdout").result() is None
        pool.submit(around.say, "nowhere").result()


def test_what_keeps_a_stream(pool):
    # Guards against a handler made in one call that writes to nobody, or past main, in the next.
    with contextlib.redirect_stderr(io.StringIO()):
        pool.submit(around.keep_stream).result()
    with contextlib.redirect_stderr(io.StringIO()) as output:
        pool.submit(around.use_kept, "kept\n").result()
    assert output.getvalue() == "kept\n"


def test_a_stream_of_the_tasks_own(pool):
    # Guards against taking away what an initializer has set.
    with contextlib.redirect_stdout(io.StringIO()) as output:
        pool.submit(around.swallow).result()
    with contextlib.redirect_stdout(io.StringIO()) as other:
        pool.submit(around.say, "mine").result()
        assert pool.submit(around.swallowed).result() == "mine\n"
    assert output.getvalue() == other.getvalue() == ""


def test_what_main_prints_itself_comes_after(pool, capsys):
    # Guards against a result that is decoded before the text is written.
    pool.submit(around.loud).result()
    assert capsys.readouterr().out == "in the task\nunpickled\n"


def test_much(pool):
    # Guards against a push that waits for ever, or text that is lost, when main is slow.
    with contextlib.redirect_stdout(io.StringIO()) as output:
        pool.submit(around.say_much, 300_000).result()
    assert len(output.getvalue()) == 300_000 * 100


def test_a_closed_stream_is_the_workers_own(pool):
    with contextlib.redirect_stdout(io.StringIO()) as output:
        pool.submit(around.close_stdout).result()
        with pytest.raises(ValueError, match="closed"):
            pool.submit(around.say, "too late").result()
        assert not output.closed


PIPED = """
import subpool, sys, tasks_environment as around
with subpool.InterpreterPoolExecutor(2) as pool:
    for number in range(3):
        print("main", number)
        pool.submit(around.say, "task", number).result()
        pool.submit(around.say, "task", number, file="stderr").result()
    print("main at last")
    pool.submit(around.say, "no result is taken")
print("the end")
"""


def test_a_program_in_a_pipe(script):
    # Guards against the block buffering of a pipe, which a worker's own stream would have too.
    rc, out, err = script(PIPED)
    turns = "".join(f"main {n}\ntask {n}\n" for n in range(3))
    assert (rc, out) == (0, f"{turns}main at last\nno result is taken\nthe end\n")
    assert err == "task 0\ntask 1\ntask 2\n"


def test_a_program_that_ends_with_text_on_its_way(check):
    code = """
import subpool, tasks_environment as around
pool = subpool.InterpreterPoolExecutor(1)
for number in range(100):
    pool.submit(around.say, number)
"""
    assert check(code) == "".join(f"{number}\n" for number in range(100))


def test_a_terminal(tmp_path, child_env):
    # Guards against text that waits in a worker, and against a detour through main.
    import pty
    import subprocess

    code = """
import subpool, sys, tasks_environment as around
with subpool.InterpreterPoolExecutor(1) as pool:
    print("main")
    pool.submit(around.say, "task").result()
    print(pool.submit(around.describe_output, "stdout").result()[-1][3])
"""
    controller, terminal = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, "-c", code], stdout=terminal, stderr=terminal, env=child_env
        ) as child:
            assert child.wait(60) == 0
        text = os.read(controller, 10_000).decode()
    finally:
        os.close(controller)
        os.close(terminal)
    assert text.replace("\r\n", "\n") == "main\ntask\nTrue\n"


def test_fork_while_nothing_runs(check):
    # Guards against a child that waits for a lock of the parent's writer.
    code = """
import os, subpool, tasks_environment as around
with subpool.InterpreterPoolExecutor(1) as pool:
    pool.submit(around.say, "parent").result()
pid = os.fork()
if not pid:
    with subpool.InterpreterPoolExecutor(1) as pool:
        pool.submit(around.say, "child").result()
    os._exit(0 if True else 1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""
    check(code)
