"""numpy arrays of the main interpreter as out-parameters: numpy itself cannot load in a worker."""

import subprocess
import sys
from pathlib import Path

import pytest

import tasks
from subpool import NotTransferableError

numpy = pytest.importorskip("numpy")

EXAMPLE = Path(__file__).parents[2] / "examples" / "numpy_out.py"


def test_the_example(tmp_path):
    """The workers would draw into copies, and the picture stay black."""
    saved = tmp_path / "picture.pgm"
    command = [sys.executable, EXAMPLE, "--size", "40", "--save", saved]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    counted = done.stdout.splitlines()[0].split(" pixels, ")[1].split()
    assert counted[0] == counted[-1].rstrip(")") != "0"
    header, _, pixels = saved.read_bytes().partition(b"\n")
    assert header == b"P5 40 40 255"
    assert len(pixels) == 1600
    assert len(set(pixels)) > 20


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "i8", "f4", "f8", "?"])
def test_arrays_are_seen_as_they_are(pool, dtype, order):
    array = numpy.arange(24).reshape(4, 6).astype(dtype, order=order)
    for part in (array, array[1:3], array[::2, ::-3], array.T):
        view = memoryview(part)
        assert pool.submit(tasks.layout, view).result() == tasks.layout(view)


def test_a_column_is_written_to(pool):
    array = numpy.zeros((3, 4), dtype="f8")
    pool.submit(tasks.fill, memoryview(array[:, 1]), 2.5).result()
    assert array.sum() == array[:, 1].sum() == 7.5


def test_a_result_becomes_an_array_without_a_copy(pool):
    array = numpy.zeros(4, dtype="i4")
    back = numpy.asarray(pool.submit(tasks.identity, memoryview(array)).result())
    back[2] = 5
    assert array.tolist() == [0, 0, 5, 0]
    assert numpy.shares_memory(array, back)


@pytest.mark.parametrize("dtype", ["O", [("O", "i4"), ("x", "O")]])
def test_arrays_of_objects_are_refused(pool, dtype):
    """A worker would get pointers to objects of main."""
    with pytest.raises(NotTransferableError, match="Python objects"):
        pool.submit(tasks.take, memoryview(numpy.zeros(2, dtype=dtype))).result()
    fine = numpy.zeros(2, dtype=[("O", "i4"), ("x", "f8")])
    assert pool.submit(len, memoryview(fine)).result() == 2


def test_a_read_only_array_stays_read_only(pool):
    array = numpy.zeros(4, dtype="u1")
    array.flags.writeable = False
    with pytest.raises(TypeError, match="read-only"):
        pool.submit(tasks.fill, memoryview(array), 1).result()
