"""Whether an interpreter still does what a new one does, in a worker in which something failed.

Not imported there: whoever has harmed an interpreter may have taken its imports away. The native
side (src/worker/health.rs) runs this code with the builtins that the interpreter began with, so it
uses nothing but those and what it is given.
"""

TYPE_CHECKING = False  # type checkers take it for true, as they do typing's
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

# How deep a call must be able to go.
_DEPTH = 100

# Run as any module's code is: with the builtins that there are now.
_EVERYDAY = """
class Class:
    def method(self, *args, **kwargs):
        return [str(arg) for arg in args], {**kwargs}

try:
    raise ValueError("told")
except Exception as error:
    told = isinstance(error, ValueError) and f"{error}"

works = told == "told" and Class().method(1, key=2) == (["1"], {"key": 2})
"""


def examine(kept: "dict[str, Any]", modules: "dict[str, Any]", interrupt: type) -> str:
    """Tell in a few words what is wrong; an empty string if nothing is.

    Args:
        kept: What the interpreter began with (`Health::start`).
        modules: Those that it has, wherever `sys.modules` leads to.
        interrupt: What an interrupt raises.

    """
    for missing in _missing(kept, modules):
        return missing
    core, system = kept["core"], vars(kept["core"]["sys"])
    for what, attempt in _ATTEMPTS:
        try:
            wrong = attempt(core, system)
        except BaseException as error:
            if type(error) is interrupt:
                raise
            wrong = f"{type(error).__name__}: {_text_of(error)}"
        if wrong:
            return f"{what} fails ({wrong})"
    return ""


def _missing(kept: "dict[str, Any]", modules: "dict[str, Any]") -> "Iterator[str]":
    """Give what is not there any more, or is another."""
    core = kept["core"]
    for name, module in core.items():
        if modules.get(name) is not module:
            yield f"sys.modules has lost {name}"
    now = vars(core["builtins"])
    for name, value in kept["builtins"].items():
        if name not in now:
            yield f"builtins.{name} is gone"
        elif now[name] is not value and name not in _REPLACED_BY_LIBRARIES:
            yield f"builtins.{name} is another one"
    now = vars(core["sys"])
    for name in kept["sys"]:
        if name not in now:
            yield f"sys.{name} is gone"
    if now["modules"] is not modules:
        yield "sys.modules is another one"
    kind = type(core["sys"])
    everything = list(modules.items())  # at once: other threads may import
    ours = [(name, module) for name, module in everything if type(module) is kind]
    yield from (f"the module {name} is empty" for name, module in ours if not _is_named(module))


def _is_named(module: object) -> bool:
    return "__name__" in vars(module)


# By profilers, tracers, notebooks and tests.
_REPLACED_BY_LIBRARIES = frozenset(
    (
        *(
            "__import__",
            "_",
            "breakpoint",
            "compile",
            "copyright",
            "credits",
            "eval",
            "exec",
            "exit",
        ),
        *("help", "input", "license", "open", "print", "quit", "__debug__", "__build_class__"),
    )
)


def mend(kept: "dict[str, Any]", modules: "dict[str, Any]") -> None:
    """Put back what was there at the beginning, so that what has happened can be told.

    That is no cure: nobody knows what else has changed.
    """
    core = kept["core"]
    modules.update(core)
    vars(core["builtins"]).update(kept["builtins"])
    now = vars(core["sys"])
    for name, value in kept["sys"].items():
        if name not in now or name not in _SET_BY_TASKS:
            now[name] = value
    now["modules"] = modules
    for name in ("meta_path", "path_hooks"):
        now[name][:] = kept[name]


_SET_BY_TASKS = frozenset(("argv", "path", "stdout", "stderr", "stdin", "excepthook", "ps1", "ps2"))


def _deep(left: int) -> int:
    return _deep(left - 1) if left else 0


def _runs(core: "dict[str, Any]", _system: "dict[str, Any]") -> object:
    space = {"__builtins__": vars(core["builtins"]), "__name__": "_subpool_health"}
    exec(_EVERYDAY, space)  # noqa: S102 - our own
    return "" if space["works"] else "it gives something else"


def _goes_deep(_core: "dict[str, Any]", _system: "dict[str, Any]") -> object:
    return _deep(_DEPTH)


def _finds(_core: "dict[str, Any]", system: "dict[str, Any]") -> object:
    for finder in system["meta_path"]:
        if finder.find_spec("subpool", None) is not None:
            return ""
    return "subpool is not found"


def _pickles(_core: "dict[str, Any]", _system: "dict[str, Any]") -> object:
    from _pickle import loads  # noqa: PLC0415 - not before

    from subpool._exceptions import encode  # noqa: PLC0415 - not before
    from subpool._pickler import dumps  # noqa: PLC0415 - not before

    there_and_back = loads(dumps(OSError(2, "told")))
    if type(there_and_back) is not FileNotFoundError:
        return "it gives something else"
    return "" if type(encode(ValueError("told"))) is bytes else "it gives something else"


def _tells(_core: "dict[str, Any]", _system: "dict[str, Any]") -> object:
    from subpool._bootstrap import format_error  # noqa: PLC0415 - not before

    return "" if format_error(ValueError("told")).endswith("ValueError: told\n") else "it is wrong"


def _can_print(_core: "dict[str, Any]", system: "dict[str, Any]") -> object:
    for name in ("stdout", "stderr"):
        # A task may have set one that is no file at all.
        if getattr(system[name], "closed", False):
            return f"sys.{name} is closed"
    return ""


_ATTEMPTS = (
    ("everyday code", _runs),
    (f"a call {_DEPTH} deep", _goes_deep),
    ("finding a module", _finds),
    ("pickling", _pickles),
    ("telling of an error", _tells),
    ("printing", _can_print),
)


def _text_of(error: BaseException) -> str:
    try:
        return str(error)[:200]
    except Exception as failed:  # noqa: BLE001 - a user's __str__ may raise anything
        return f"its str() failed with {type(failed).__name__}"
