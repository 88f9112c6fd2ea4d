"""The tests of CPython that we fail on purpose: the one list, with a reason each.

Allowed here is only a test that asserts a limit of the standard pool which we remove, or the text
of its private exceptions. Each is a strict xfail, so an entry that has become needless fails.
"""

_BY_VALUE = (
    "asserts that the standard pool refuses a {what} as not shareable; we ship it by value, "
    "with cloudpickle"
)
_CAUSE = (
    "asserts concurrent.interpreters.ExecutionFailed as {where}; ours is the exception itself, "
    "with the worker's frames in its traceback"
)

_POOL = "InterpreterPoolExecutorTest"

EXCEPTIONS: dict[str, str] = {
    f"{_POOL}::test_init_closure": _BY_VALUE.format(what="closure as the initializer"),
    f"{_POOL}::test_init_instance_method": _BY_VALUE.format(
        what="method of a local class's instance as the initializer"
    ),
    f"{_POOL}::test_submit_closure": _BY_VALUE.format(what="closure"),
    f"{_POOL}::test_submit_instance_method": _BY_VALUE.format(
        what="method of a local class's instance"
    ),
    f"{_POOL}::test_submit_local_instance": _BY_VALUE.format(what="local class"),
    f"{_POOL}::test_init_exception_in_func": _CAUSE.format(where="the text logged"),
    f"{_POOL}::test_submit_exception_in_func": _CAUSE.format(where="the exception's cause"),
    f"{_POOL}::test_pickle_errors_propagate": (
        "asserts the text 'args not shareable'; our NotTransferableError, a subclass of the "
        "NotShareableError asserted, names the value and the cause instead"
    ),
}

# Not failing, but saying nothing about our classes: these test that the module
# concurrent.futures leaves its InterpreterPoolExecutor out where `_interpreters` is missing.
# Their scripts stay as they are.
ABOUT_THE_STANDARD_MODULE = frozenset({f"{_POOL}::test_import_interpreter_pool_executor"})
