"""Refusals are recognised by their root cause, and nothing else is taken for one."""

import importlib.util
import pickle
import sys
from pathlib import Path

import pytest

import tasks_doctor
from subpool import _incompatible
from subpool._incompatible import Refusal, distribution, explain

NUMPY = "numpy._core._multiarray_umath"
POLARS = "_polars_runtime_32._polars_runtime"
CYAML = "yaml._yaml"


def available(source):
    """PyYAML is not there on every Python."""
    return "yaml" not in source or importlib.util.find_spec("yaml") is not None


# What a library says that goes on without, and is then asked for what it lacks.
QUOTED = """exec(compile(
    "raise ValueError('it needs x: module _x does not support loading in subinterpreters')",
    "/lib/site-packages/library.py", "exec"
))"""

# What runs, the type of what it raises, and the extension module behind it.
CASES = [
    # The refusal itself, as the error or as its root cause.
    ("import numpy", "ImportError", NUMPY),
    ("import pydantic", "ImportError", "pydantic_core._pydantic_core"),
    ("import orjson", "ImportError", "orjson.orjson"),
    ("import sqlalchemy", "ImportError", "sqlalchemy.util._collections_cy"),
    ("import cryptography.fernet", "ImportError", "cryptography.hazmat.bindings._rust"),
    ("import faulthandler", "ImportError", "faulthandler"),
    ("from lxml import etree", "ImportError", "lxml.etree"),
    (
        "try: import orjson\nexcept ImportError as e: raise RuntimeError('no orjson') from e",
        "RuntimeError",
        "orjson.orjson",
    ),
    (
        "try: import orjson\nexcept ImportError: raise RuntimeError('no orjson') from None",
        "RuntimeError",
        "orjson.orjson",
    ),
    (
        "try: import orjson\nexcept ImportError as e: raise ExceptionGroup('g', [KeyError(1), e])",
        "ExceptionGroup",
        "orjson.orjson",
    ),
    (
        "try: import orjson\nexcept ImportError: import not_there_either",
        "ModuleNotFoundError",
        "orjson.orjson",
    ),
    ("a, b = KeyError(), OSError()\na.__cause__, b.__context__ = b, a\nraise a", "KeyError", None),
    (QUOTED, "ValueError", "_x"),
    # Swallowed by the library, which then lacks a name.
    ("import polars\npolars.DataFrame({'a': [1]})", "NameError", POLARS),
    ("import polars\npolars.col('a') + 1", "NameError", POLARS),
    ("import yaml\nyaml.CSafeLoader", "AttributeError", CYAML),
    ("from yaml import CSafeLoader", "ImportError", CYAML),
    # The user's own mistakes, with or without such a library in sight.
    ("undefined", "NameError", None),
    ("1 / 0", "ZeroDivisionError", None),
    ("None.attribute", "AttributeError", None),
    ("import nothing_of_this_name", "ModuleNotFoundError", None),
    ("from json import nothing", "ImportError", None),
    ("raise ValueError('x does not support loading in subinterpreters')", "ValueError", None),
    ("import yaml\nyaml.safe_laod('')", "AttributeError", None),
    ("import yaml\nyaml.safe_load('{')", "ParserError", None),
    ("import yaml\nyaml.load(None, yaml.SafeLoader)", "AttributeError", None),
    ("import json\njson.loads(None)", "TypeError", None),
    (
        "try: import orjson\nexcept ImportError:\n import json\n json.loads('{')",
        "JSONDecodeError",
        None,
    ),
    ("import subpool\nsubpool.nothing", "AttributeError", None),
]  # fmt: skip


@pytest.fixture(scope="module")
def recognised():
    """All cases, run in one worker: a library is imported once."""
    from subpool import InterpreterPoolExecutor

    sources = [source for source, _, _ in CASES if available(source)]
    with InterpreterPoolExecutor(1) as pool:
        return dict(zip(sources, pool.map(tasks_doctor.recognise, sources), strict=True))


@pytest.mark.parametrize(("source", "kind", "extension"), CASES, ids=[case[0] for case in CASES])
def test_what_is_recognised(recognised, source, kind, extension):
    """A refusal that is missed gets no fallback; a mistake taken for one is never found."""
    if not available(source):
        pytest.skip("PyYAML has no wheel for this Python")
    found, raised = recognised[source]
    assert raised.startswith(f"{kind}:"), raised
    if extension is None:
        assert found is None
        return
    name, path, text, modules = found
    assert name == extension
    assert "does not support loading in subinterpreters" in text
    assert modules[0] == "somebody"
    if extension in {"faulthandler", "_x"}:  # built in, or not there at all
        assert path is None or Path(path).is_file()
    else:
        assert Path(path).is_file()


def test_the_modules_that_led_there(recognised):
    """Who imports it decides what can be done; the library's own modules are no part of that."""
    assert recognised["import numpy"][0][3] == ("somebody",)
    assert recognised["import pydantic"][0][3][:2] == ("somebody", "pydantic")
    assert "pydantic_core" not in recognised["import pydantic"][0][3]


@pytest.mark.parametrize(
    "words",
    [
        "cannot load module more than once per process",
        "Interpreter change: this module can only be loaded into one interpreter per process.",
        "PyO3 modules do not yet support subinterpreters, see https://github.com/PyO3/pyo3",
        "failed to import from subinterpreter due to exception",
        "module _fast does not support loading in subinterpreters",
    ],
)
def test_words_that_do_not_name_the_module(pool, words):
    """numpy, Cython and PyO3 have words of their own, and CPython leaves out the package."""
    name, path, text, _ = pool.submit(tasks_doctor.recognise_nameless, words).result()
    assert name == "package._fast"
    assert path.endswith(f"/package/_fast{tasks_doctor.SUFFIX}")
    assert text == words


def test_a_refusal_is_plain():
    """It travels from the worker to main, and compares as what it is."""
    plain = Refusal("a.b", None, "words", ("m",))
    again = pickle.loads(pickle.dumps(plain))
    assert again == plain == ("a.b", None, "words", ("m",))
    assert type(again) is Refusal
    assert (again.name, again.path, again.text, again.modules) == tuple(plain)


def test_the_distribution_of_an_extension():
    """By its file: the name of a module says little about who brought it."""
    import orjson

    file = Path(orjson.__file__).parent / f"orjson{tasks_doctor.SUFFIX}"
    assert distribution("orjson.orjson", str(file))[0] == "orjson"
    assert distribution("orjson.orjson", None)[0] == "orjson"
    assert distribution("psycopg_binary.pq", None)[0] == "psycopg-binary"
    assert distribution("readline", None) is None
    assert distribution("nobody_has_this", "/nowhere/nobody_has_this.so") is None


def test_the_explanation(monkeypatch, tmp_path):
    """It names everything, and what to do: that is all that most users will read."""
    module = type(sys)("users_module")
    module.__file__ = str(tmp_path / "users_module.py")
    monkeypatch.setitem(sys.modules, "users_module", module)
    words = f"module {NUMPY} does not support loading in subinterpreters"

    text = explain(Refusal(NUMPY, None, words, ("users_module",)), "users_module.mean")
    version = distribution(NUMPY, None)[1]
    assert text.startswith(
        f"users_module.mean needs the extension module {NUMPY} of numpy {version}"
    )
    words = "does not support loading in subinterpreters"
    for part in (words, 'fallback="process"', 'fallback="thread"', "memoryview(array)"):
        assert part in text
    assert "subpool.register_by_value (users_module)" in text

    # A library's module is none to register.
    text = explain(Refusal("pydantic_core._pydantic_core", None, words, ("pydantic",)), "f")
    assert "register_by_value" not in text
    assert "pydantic_core" in text
    # Nothing is known but the words.
    text = explain(Refusal("", None, "its own words", ()), "f")
    assert "(unknown)" in text
    assert "its own words" in text


def test_broken_metadata_is_no_error(monkeypatch):
    """The text of an error must not fail because some package is badly installed."""
    from importlib import metadata

    def broken():
        raise OSError("unreadable")

    monkeypatch.setattr(metadata, "distributions", broken)
    monkeypatch.setattr(_incompatible, "_distributions", {})
    assert distribution("a.b", "/x/a/b.so") is None
