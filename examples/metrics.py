"""Metrics of one Python source file, from its syntax tree.

A module of its own, so that every kind of worker (thread, process or interpreter)
imports `analyse` by name and nothing else.  It needs no extension module and imports
little: each worker pays for its imports once.
"""

from __future__ import annotations

import ast
import heapq
import warnings
from typing import NamedTuple

# Some files of the test suite hold invalid escapes and the like on purpose; the parser
# warns about each.  Set here, once for each process or interpreter that imports the module:
# `warnings.catch_warnings()` in the task itself would race between threads.
warnings.simplefilter("ignore", SyntaxWarning)

WORST_PER_FILE = 10

type Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class FunctionMetrics(NamedTuple):
    """One function: its place and its cyclomatic complexity."""

    complexity: int
    path: str
    line: int
    name: str  # with the names of enclosing classes and functions


class FileMetrics(NamedTuple):
    """One file.  `skipped` says why it could not be parsed; all counts are 0 then."""

    path: str
    lines: int = 0
    code_lines: int = 0
    functions: int = 0
    classes: int = 0
    complexity: int = 0  # the sum over all functions
    worst: tuple[FunctionMetrics, ...] = ()  # the most complex first, at most WORST_PER_FILE
    skipped: str = ""


def rank(function: FunctionMetrics) -> tuple[int, str, int]:
    """Sort key: the most complex first, then by place, so that ties have one order."""
    return -function.complexity, function.path, function.line


def analyse(path: str) -> FileMetrics:
    """Measure the file at `path`.

    A file that Python refuses, for its encoding or its syntax, is no error here: the
    result then says so in `skipped`.  Raises OSError if the file cannot be read.
    """
    with open(path, "rb") as file:  # noqa: PTH123 - pathlib is an import for each worker
        source = file.read()
    try:
        tree = ast.parse(source)  # from bytes, so that a coding comment counts
    except (SyntaxError, ValueError) as error:  # ValueError: what cannot be decoded
        return FileMetrics(path, skipped=type(error).__name__)

    functions: list[FunctionMetrics] = []
    classes = 0
    docstring_lines: set[int] = set()
    # A stack of (scope, qualified name) stands for recursion: how deep a file nests is
    # then no matter of how large the stack of this kind of worker is.
    scopes: list[tuple[ast.Module | Scope, str]] = [(tree, "")]
    while scopes:
        scope, name = scopes.pop()
        complexity, inner = _scan(scope)
        if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
            functions.append(FunctionMetrics(complexity, path, scope.lineno, name))
        elif isinstance(scope, ast.ClassDef):
            classes += 1
        docstring_lines.update(_docstring_lines(scope))
        prefix = f"{name}." if name else ""
        scopes += [(child, prefix + child.name) for child in inner]

    lines = source.splitlines()
    return FileMetrics(
        path=path,
        lines=len(lines),
        code_lines=_code_lines(lines, docstring_lines),
        functions=len(functions),
        classes=classes,
        complexity=sum(function.complexity for function in functions),
        worst=tuple(heapq.nsmallest(WORST_PER_FILE, functions, key=rank)),
    )


_ONE_DECISION = frozenset({ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler})


def _scan(scope: ast.Module | Scope) -> tuple[int, list[Scope]]:
    """Count the cyclomatic complexity of one scope's body, and list the scopes found in it.

    McCabe's number for a single routine is its decisions plus one (T. J. McCabe, "A
    Complexity Measure", IEEE Transactions on Software Engineering SE-2(4), 1976).  What
    is a decision in Python follows radon (https://radon.readthedocs.io/en/latest/intro.html):
    `if`, `elif`, the ternary, `for`, `while`, each `except`, each `for` and `if` of a
    comprehension, each `and` and `or`, each `case` but one that matches anything.  Unlike
    radon, a `case`'s guard counts too, and neither `assert` nor the `else` of a loop or of
    a `try` does.  A nested function or class counts for itself, not for this scope;
    decorators and default arguments, which run when it is defined, count for none.
    """
    complexity = 1
    inner: list[Scope] = []
    nodes: list[ast.AST] = [*scope.body]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner.append(node)
            continue
        if type(node) in _ONE_DECISION:
            complexity += 1
        elif isinstance(node, ast.BoolOp):
            complexity += len(node.values) - 1
        elif isinstance(node, ast.comprehension):
            complexity += 1 + len(node.ifs)
        elif isinstance(node, ast.match_case):
            catches_all = isinstance(node.pattern, ast.MatchAs) and node.pattern.pattern is None
            complexity += (not catches_all) + (node.guard is not None)
        nodes += ast.iter_child_nodes(node)
    return complexity, inner


def _docstring_lines(scope: ast.Module | Scope) -> range:
    match scope.body:
        case [ast.Expr(value=ast.Constant(value=str())) as first, *_]:
            return range(first.lineno, (first.end_lineno or first.lineno) + 1)
    return range(0)


def _code_lines(lines: list[bytes], docstring_lines: set[int]) -> int:
    """Count the lines that are neither blank, nor a comment, nor part of a docstring."""
    count = 0
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if text and not text.startswith(b"#") and number not in docstring_lines:
            count += 1
    return count
