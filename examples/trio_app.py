"""A trio program that corrects a text in interpreters and stays awake meanwhile.

    python examples/trio_app.py [FILE]

Prints the unknown words as their suggestions come, and the longest time for which the program's
own loop stood still; then it ends.  Needs trio.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import trio

import spelling
from subpool import InterpreterPoolExecutor

TEXT = """
A genrator is an itarable that gives its items when they are asked for. If it raises an
exeption, the asyncronous caller recieves it; a decorated funciton keeps its anotations.
"""
TICK = 0.005


async def correct(executor: InterpreterPoolExecutor, word: str) -> None:
    """Have one word looked up in an interpreter."""
    found = await executor.run(spelling.suggest, word)
    print(f"{word}: {', '.join(known for known, _ in found) or 'no idea'}")


async def watch(pauses: list[float]) -> None:
    """Note for how long the loop was not free."""
    while True:
        start = trio.current_time()
        await trio.sleep(TICK)
        pauses.append(trio.current_time() - start - TICK)


async def check(text: str) -> None:
    """Correct all words at once: as many run as there are interpreters, the others wait."""
    pauses: list[float] = []
    with InterpreterPoolExecutor() as executor:
        async with trio.open_nursery() as watching:
            watching.start_soon(watch, pauses)
            words = await executor.run(spelling.unknown, text)
            async with trio.open_nursery() as correcting:
                for word in words:
                    correcting.start_soon(correct, executor, word)
            watching.cancel_scope.cancel()
    longest = max(pauses, default=0) * 1e3
    print(f"{len(words)} words; the loop stood still for {longest:.1f} ms at most")


def main() -> None:
    """Read the text and check it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path, nargs="?", help="instead of a text of its own")
    options = parser.parse_args()
    trio.run(check, options.file.read_text() if options.file else TEXT)


if __name__ == "__main__":
    main()
