"""Rows: what a task raises."""

# ruff: noqa: E501 - programs, as one writes them

from rows import Row


def raised(what, throw, attributes, expected, setup="", **options):
    """Give a row for an exception that keeps its type, arguments and attributes."""
    return Row(
        what,
        f"{setup}def fail():\n    {throw}\n",
        f"error = pool.submit(fail).exception()\ntype(error).__name__, {attributes}\n",
        expected,
        **options,
    )


ROWS = (
    Row(
        "an exception of the program is its own",
        """\
class Bad(Exception):
    pass
def fail():
    raise Bad("as expected", 5)
""",
        """\
try:
    pool.submit(fail).result()
except Bad as error:
    caught = error
caught.args
""",
        "('as expected', 5)",
    ),
    Row(
        "an exception of a local class is that class",
        "",
        """\
class LocalError(LookupError):
    pass
def fail():
    raise LocalError("local")
error = pool.submit(fail).exception()
type(error) is LocalError, error.args
""",
        "(True, ('local',))",
    ),
    raised(
        "attributes and notes",
        "error = KeyError('key'); error.extra = {'any': ['thing']}; error.add_note('noted'); raise error",
        "error.args, error.extra, error.__notes__",
        "('KeyError', ('key',), {'any': ['thing']}, ['noted'])",
    ),
    raised(
        "an exception whose __init__ wants more than args",
        "raise Rejected(code=7, reason='why')",
        "type(error) is Rejected, error.args, error.code, error.reason, str(error), MADE",
        "('Rejected', True, ('rejected: why',), 7, 'why', 'rejected: why', [])",
        """\
MADE = []
class Rejected(Exception):
    def __init__(self, *, code, reason):
        super().__init__(f"rejected: {reason}")
        self.code, self.reason = code, reason
        MADE.append(1)
""",
    ),
    raised(
        "an exception with slots",
        "raise Slotted(3)",
        "error.code, error.args",
        "('Slotted', 3, (3,))",
        """\
class Slotted(Exception):
    __slots__ = ("code",)
    def __init__(self, code):
        super().__init__(code)
        self.code = code
""",
    ),
    raised(
        "an exception that holds a lock keeps all else",
        "raise Holding('held')",
        "type(error) is Holding, error.args, error.code, 'lock' in repr(error.lock)",
        "('Holding', True, ('held',), 7, True)",
        """\
import threading
class Holding(Exception):
    def __init__(self, text):
        super().__init__(text)
        self.code, self.lock = 7, threading.Lock()
""",
    ),
    raised(
        "an exception with a socket among its arguments",
        "one = socket.socket(); one.close(); raise ValueError('socket', one, 3)",
        "error.args[0], 'socket' in repr(error.args[1]), error.args[2]",
        "('ValueError', 'socket', True, 3)",
        "import socket\n",
    ),
    raised(
        "an exception that holds a memoryview",
        "error = ValueError('view'); error.data = memoryview(b'data'); raise error",
        "error.args",
        "('ValueError', ('view',))",
    ),
    Row(
        "an exception whose class exists in the worker only",
        """\
def fail_far():
    import sys, types
    module = sys.modules["far_away"] = types.ModuleType("far_away")
    exec("class FarError(ValueError): pass", vars(module))
    raise module.FarError("from far away")
""",
        """\
try:
    pool.submit(fail_far).result()
except ValueError as error:
    caught = error
import traceback
text = "".join(traceback.format_exception(caught))
[part in text for part in ("far_away.FarError", "from far away", "fail_far")]
""",
        "[True, True, True]",
    ),
    raised(
        "the cause",
        "try:\n        1 / 0\n    except ZeroDivisionError as error:\n        raise ValueError('wrapped') from error",
        "type(error.__cause__).__name__, error.__cause__.args, error.__suppress_context__",
        "('ValueError', 'ZeroDivisionError', ('division by zero',), True)",
    ),
    raised(
        "the context",
        "try:\n        1 / 0\n    finally:\n        raise ValueError('meanwhile')",
        "type(error.__context__).__name__, error.__cause__, error.__suppress_context__",
        "('ValueError', 'ZeroDivisionError', None, False)",
    ),
    raised(
        "raise ... from None",
        "try:\n        1 / 0\n    except ZeroDivisionError:\n        raise ValueError('alone') from None",
        "error.__cause__, error.__suppress_context__",
        "('ValueError', None, True)",
    ),
    raised(
        "a cause that cannot be pickled",
        "raise ValueError('outer') from Holding('inner')",
        "type(error.__cause__) is Holding, error.__cause__.args",
        "('ValueError', True, ('inner',))",
        """\
import threading
class Holding(Exception):
    def __init__(self, text):
        super().__init__(text)
        self.lock = threading.Lock()
""",
    ),
    raised(
        "a context that leads back to itself",
        """\
first, second = ValueError("first"), KeyError("second")
    first.__context__, second.__context__ = second, first
    raise first""",
        "error.args, type(error.__context__).__name__",
        "('ValueError', ('first',), 'KeyError')",
    ),
    Row(
        "a group, caught by except*",
        """\
class Inner(Exception):
    pass
def fail_together():
    raise ExceptionGroup("both", [Inner("one"), ExceptionGroup("more", [OSError(2, "gone")])])
""",
        """\
caught = []
try:
    pool.submit(fail_together).result()
except* Inner as group:
    caught.append(group.exceptions[0].args)
except* OSError as group:
    caught.append(group.exceptions[0].exceptions[0].errno)
caught
""",
        "[('one',), 2]",
    ),
    raised(
        "a group with a member that cannot be pickled",
        "raise ExceptionGroup('both', [Holding('held'), KeyError('k')])",
        "[(type(one).__name__, one.args) for one in error.exceptions], error.message",
        "('ExceptionGroup', [('Holding', ('held',)), ('KeyError', ('k',))], 'both')",
        """\
import threading
class Holding(Exception):
    def __init__(self, text):
        super().__init__(text)
        self.lock = threading.Lock()
""",
    ),
    raised(
        "an OSError",
        "open('no such file')",
        "error.errno, error.filename, str(error)",
        """('FileNotFoundError', 2, 'no such file', "[Errno 2] No such file or directory: 'no such file'")""",
    ),
    raised(
        "a UnicodeDecodeError",
        r"b'ab\xff'.decode('utf-8')",
        "error.encoding, error.object, error.start, error.reason",
        r"('UnicodeDecodeError', 'utf-8', b'ab\xff', 2, 'invalid start byte')",
    ),
    raised(
        "a SyntaxError",
        "compile('a b', 'some file', 'exec')",
        "error.filename, error.lineno, error.offset, error.text",
        "('SyntaxError', 'some file', 1, 3, 'a b\\n')",
    ),
    raised(
        "an ImportError",
        "import no_such_module_anywhere",
        "error.name, str(error)",
        """('ModuleNotFoundError', 'no_such_module_anywhere', "No module named 'no_such_module_anywhere'")""",
    ),
    raised(
        "an AttributeError and a NameError know the name",
        "try:\n        [].atend\n    except AttributeError:\n        no_such_name",
        "error.name, error.__context__.name",
        "('NameError', 'no_such_name', 'atend')",
    ),
    raised(
        "exceptions with attributes of the standard library",
        "json.loads('{')",
        "error.doc, error.pos, error.lineno",
        "('JSONDecodeError', '{', 1, 1)",
        "import json\n",
    ),
    raised(
        "a called process's error",
        "raise subprocess.CalledProcessError(3, ['cmd'], b'out')",
        "error.returncode, error.cmd, error.output",
        "('CalledProcessError', 3, ['cmd'], b'out')",
        "import subprocess\n",
    ),
    raised("StopIteration", "raise StopIteration(5)", "error.value", "('StopIteration', 5)"),
    raised(
        "too deep a recursion",
        "return fail()",
        "error.args[0][:32]",
        "('RecursionError', 'maximum recursion depth exceeded')",
    ),
    Row(
        "SystemExit ends the task, not the worker",
        "import sys\n",
        """\
error = pool.submit(sys.exit, 3).exception()
type(error).__name__, error.code, pool.submit(len, "ab").result()
""",
        "('SystemExit', 3, 2)",
    ),
    Row(
        "KeyboardInterrupt, GeneratorExit and CancelledError end the task, not the worker",
        """\
import asyncio
def throw(kind):
    raise kind("over")
""",
        """\
[
    (type(pool.submit(throw, kind).exception()).__name__, pool.submit(len, "ab").result())
    for kind in (KeyboardInterrupt, GeneratorExit, asyncio.CancelledError)
]
""",
        "[('KeyboardInterrupt', 2), ('GeneratorExit', 2), ('CancelledError', 2)]",
    ),
    Row(
        "a call with the wrong arguments",
        "def wants_two(first, second):\n    return first\n",
        "str(pool.submit(wants_two, 1).exception())",
        """"wants_two() missing 1 required positional argument: 'second'\"""",
    ),
    Row(
        "the traceback shows the lines of the program",
        """\
def inner(value):
    raise ValueError(f"no {value}")
def outer(value):
    return inner(value) + 1
""",
        """\
import traceback
error = pool.submit(outer, 5).exception()
text = "".join(traceback.format_exception(error))
lines = ("return inner(value) + 1", 'raise ValueError(f"no {value}")', "in outer", "in inner")
[line in text for line in lines], text.splitlines()[-1]
""",
        "([True, True, True, True], 'ValueError: no 5')",
    ),
    Row(
        "the traceback is in __traceback__, and shows nothing of the pool",
        """\
def inner(value):
    raise ValueError(f"no {value}")
def outer(value):
    return inner(value) + 1
""",
        """\
import traceback
error = pool.submit(outer, 5).exception()
[(frame.name, frame.line) for frame in traceback.extract_tb(error.__traceback__)]
""",
        """[('outer', 'return inner(value) + 1'), ('inner', 'raise ValueError(f"no {value}")')]""",
    ),
    Row(
        "the traceback that result() raises leads from the caller into the task",
        "def inner():\n    raise ValueError('no')\ndef outer():\n    return inner()\n",
        """\
import traceback
def caller():
    return pool.submit(outer).result()
try:
    caller()
except ValueError as error:
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
names[1], names[-2:]
""",
        "('caller', ['outer', 'inner'])",
    ),
    Row(
        "the traceback of the cause too",
        """\
def first_fault():
    return {}["missing"]
def second_fault():
    try:
        first_fault()
    except KeyError as error:
        raise ValueError("second") from error
""",
        """\
import traceback
cause = pool.submit(second_fault).exception().__cause__
[frame.name for frame in traceback.extract_tb(cause.__traceback__)]
""",
        "['second_fault', 'first_fault']",
    ),
    Row(
        "logging.exception shows the task's frames",
        "def fault_to_log():\n    raise ValueError('logged')\n",
        """\
import io, logging
stream = io.StringIO()
logger = logging.Logger("table")
logger.addHandler(logging.StreamHandler(stream))
try:
    pool.submit(fault_to_log).result()
except ValueError:
    logger.exception("went wrong")
text = stream.getvalue()
text.startswith("went wrong"), "in fault_to_log" in text, text.rstrip().endswith("ValueError: logged")
""",
        "(True, True, True)",
    ),
    Row(
        "pdb.post_mortem stands in the task's frame",
        "def fault_to_debug():\n    raise ValueError('look here')\n",
        """\
import io, pdb
error = pool.submit(fault_to_debug).exception()
output = io.StringIO()
debugger = pdb.Pdb(stdin=io.StringIO("where\\nquit\\n"), stdout=output, readrc=False)
debugger.reset()
try:
    debugger.interaction(None, error.__traceback__)
except Exception as quit:
    pass
"fault_to_debug" in output.getvalue()
""",
        "True",
    ),
)
