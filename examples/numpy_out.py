"""Interpreters that write into a numpy array of the main one.

numpy cannot be imported in a subinterpreter, but its arrays export their memory.  The main
interpreter makes the array and passes views of it; each task gets some rows as a
`memoryview` and writes its pixels there.  Nothing is copied and nothing comes back but a
number.  (No two tasks write to the same rows: there is no lock.)

    python examples/numpy_out.py [--size N] [--save picture.pgm]

needs numpy.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from subpool import InterpreterPoolExecutor

DEEPEST = 255


def draw(rows: memoryview, first: int, size: int) -> int:
    """Draw rows of the Mandelbrot set, `first` being the number of the first one.

    `rows` has two dimensions and unsigned bytes: rows[y, x].  Gives the number of pixels
    that belong to the set.
    """
    inside = 0
    for y in range(rows.shape[0]):
        imaginary = 2.4 * (first + y) / size - 1.2
        for x in range(rows.shape[1]):
            point = complex(2.4 * x / size - 1.8, imaginary)
            z = 0j
            steps = 0
            while steps < DEEPEST and z.real * z.real + z.imag * z.imag <= 4:
                z = z * z + point
                steps += 1
            rows[y, x] = steps
            inside += steps == DEEPEST
    return inside


def main() -> None:
    """Draw in parallel, then look at the picture with numpy."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=300, help="pixels in each direction")
    parser.add_argument("--save", type=Path, help="write the picture as a PGM file")
    options = parser.parse_args()

    picture = np.zeros((options.size, options.size), dtype=np.uint8)
    rows_per_task = max(1, options.size // 16)
    with InterpreterPoolExecutor() as executor:
        futures = [
            executor.submit(draw, memoryview(picture[top : top + rows_per_task]), top, options.size)
            for top in range(0, options.size, rows_per_task)
        ]
        inside = sum(future.result() for future in futures)

    seen = np.count_nonzero(picture == DEEPEST)
    print(f"{options.size} x {options.size} pixels, {inside} of them in the set (numpy: {seen})")
    print(f"the mean is {picture.mean():.2f} steps, the median {np.median(picture):.0f}")
    if options.save:
        options.save.write_bytes(b"P5 %d %d 255\n" % picture.shape[::-1] + picture.tobytes())


if __name__ == "__main__":
    main()
