"""Work for the examples of web servers: "did you mean ...", in pure Python.

Compares a misspelt word with each word of Python's language reference (the one that `help()`
shows) and ranks them by the number of typing errors between.  A call takes 10 to 30 ms, all of it
in bytecode, so it holds its interpreter's GIL.

It is a module of its own because the workers import it: they cannot import the module that makes
a FastAPI app, which needs pydantic-core.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from pydoc_data.topics import topics


@functools.cache
def vocabulary() -> Counter[str]:
    """Count the words of the reference; each interpreter has a vocabulary of its own."""
    words = Counter(re.findall(r"[a-z]{3,}", " ".join(topics.values()).lower()))
    return Counter({word: count for word, count in words.items() if count > 1})


def errors(typed: str, meant: str) -> int:
    """Count the letters to insert, drop, replace or swap with their neighbour."""
    before: list[int] = []
    row = list(range(len(meant) + 1))
    for y, letter in enumerate(typed, 1):
        before, above, row = row, before, [y]
        for x, wanted in enumerate(meant, 1):
            cost = min(before[x] + 1, row[x - 1] + 1, before[x - 1] + (letter != wanted))
            if x > 1 and y > 1 and letter == meant[x - 2] and wanted == typed[y - 2]:
                cost = min(cost, above[x - 2] + 1)
            row.append(cost)
    return row[-1]


def suggest(typed: str, most: int = 5) -> list[tuple[str, int]]:
    """Find the words most like this one: pairs of word and errors, the likeliest first."""
    known = vocabulary()
    near = [word for word in known if abs(len(word) - len(typed)) <= 1]
    ranked = sorted((errors(typed, word), -known[word], word) for word in near)
    return [(word, count) for count, _, word in ranked[:most] if count <= 3]


def unknown(text: str) -> list[str]:
    """List the words of a text that the reference does not have, each once."""
    words = re.findall(r"[a-z]{3,}", text.lower())
    return [word for word in dict.fromkeys(words) if word not in vocabulary()]
