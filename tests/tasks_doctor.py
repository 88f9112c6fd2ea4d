"""Tasks of the tests of tests/doctor."""

import importlib.machinery
import linecache
import sys
import warnings

SUFFIX = importlib.machinery.EXTENSION_SUFFIXES[0]


def recognise(source, name="somebody"):
    """Run a module's code; tell what is recognised in what it raises, and that."""
    from subpool._incompatible import refusal

    path = list(sys.path)
    try:
        # pytest makes errors of warnings, such as polars' about its missing part.
        with warnings.catch_warnings(action="ignore"):
            exec(compile(source, f"<{name}>", "exec"), {"__name__": name})  # noqa: S102
    except BaseException as error:
        found = refusal(error)
        return None if found is None else tuple(found), f"{type(error).__name__}: {error}"
    finally:
        sys.path[:] = path
    return None, "nothing"


def recognise_nameless(words):
    """The same for an extension module whose own words do not name it, as numpy's do not."""
    source = "from ._fast import *\n"
    file = "/somewhere/site-packages/package/__init__.py"
    linecache.cache[file] = len(source), None, [source], file

    class Loader:
        def create_module(self, spec):
            raise ImportError(words)

        def exec_module(self, module):
            raise NotImplementedError

    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "package":
                spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
                spec.submodule_search_locations = ["/somewhere/site-packages/package"]
                return spec
            if name == "package._fast":
                origin = f"/somewhere/site-packages/package/_fast{SUFFIX}"
                return importlib.machinery.ModuleSpec(name, Loader(), origin=origin)
            return None

    from subpool._incompatible import refusal

    finder = Finder()
    sys.meta_path.insert(0, finder)
    package = sys.modules["package"] = type(sys)("package")
    package.__path__, package.__package__ = ["/somewhere/site-packages/package"], "package"
    try:
        exec(compile(source, file, "exec"), package.__dict__)  # noqa: S102
    except ImportError as error:
        found = refusal(error)
        return found and tuple(found)
    finally:
        sys.meta_path.remove(finder)
        del sys.modules["package"], linecache.cache[file]
    return None
