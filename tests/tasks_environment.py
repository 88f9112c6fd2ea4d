"""Task functions that look at what surrounds them. Imported in workers, so it imports little."""

import os
import sys
import warnings


class HomeMadeWarning(UserWarning):
    """A category whose module main has and a worker has not, before it comes to import it."""


def path():
    return list(sys.path)


def argv():
    return list(sys.argv)


def getenv(name):
    return os.environ.get(name)


def setenv(name, value):
    os.environ[name] = value


def recursion_limit():
    return sys.getrecursionlimit()


def edit_path(before, after):
    sys.path.insert(0, before)
    sys.path.append(after)


def remove_from_path(entry):
    sys.path.remove(entry)


def import_it(name):
    return __import__(name).ANSWER


def warned(text="w", category=UserWarning):
    """Tell what becomes of a warning: the error that it is, or what was shown of it."""
    seen = []
    shown, warnings.showwarning = warnings.showwarning, lambda *what: seen.append(str(what[0]))
    try:
        warnings.warn(text, category, stacklevel=1)
    except Warning as error:
        return f"raised {type(error).__name__}"
    finally:
        warnings.showwarning = shown
    return seen


def warned_at_home(text="w"):
    return warned(text, HomeMadeWarning)


def add_filter():
    warnings.filterwarnings("error", message="the worker's own")


def loaded():
    return set(sys.modules)


def observe():
    """Everything at once."""
    return sys.path[:], sys.argv[:], dict(os.environ), sys.getrecursionlimit()


def say(*texts, file=None, **options):
    print(*texts, file=file and getattr(sys, file), **options)


def say_and_wait(text, started, release):
    """Print, say that the task runs, and wait for another pipe's word."""
    print(text)
    os.write(started, b"s")
    os.read(release, 1)
    print(text, "again")


def write_bytes(content):
    sys.stdout.buffer.write(content)


def describe_output(name):
    stream = getattr(sys, name)
    if stream is None:
        return None
    try:
        fileno = stream.fileno()
    except OSError as error:
        fileno = type(error).__name__
    said = stream.writable(), stream.readable(), stream.seekable(), stream.isatty(), stream.closed
    return type(stream).__name__, stream.name, stream.mode, stream.encoding, fileno, said


def keep_stream():
    """Do what a `logging.StreamHandler` does."""
    keep_stream.kept = sys.stderr


def use_kept(text):
    keep_stream.kept.write(text)


def swallow():
    """Set a stream of the task's own."""
    import io

    sys.stdout = io.StringIO()


def swallowed():
    return sys.stdout.getvalue()


def close_stdout():
    sys.stdout.close()


def say_much(lines):
    for number in range(lines):
        print("x" * 98, number % 10, sep="")


class Loud:
    """A result whose unpickling prints, in main."""

    def __reduce__(self):
        return print, ("unpickled",)


def loud():
    print("in the task")
    return Loud()
