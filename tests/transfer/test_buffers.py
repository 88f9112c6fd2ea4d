"""What travels beside the pickle: memory by reference, and large values copied once.

Each test would fail if the memory were copied where it should be shared, or shared where it should
be copied; that it is given back in the end is proven by resizing main's bytearray, which CPython
refuses while anybody sees its memory.
"""

import array
import pickle
import random
import struct
from functools import partial

import pytest

import tasks
from subpool import NotTransferableError
from support import eventually, resizable

LARGE = 64 << 10  # from this size on, values leave the pickle


def views():
    """Name memoryviews of every kind, and give each to a test."""
    for code in "bBhHiIlLqQnN":
        yield f"format {code}", lambda c=code: memoryview(bytearray(range(48))).cast(c)
    for code in "fd":
        yield f"format {code}", lambda c=code: memoryview(array.array(c, [0.5, -1.25, 3.0]))
    yield "format c", lambda: memoryview(b"abc").cast("c")
    yield "format ?", lambda: memoryview(b"\0\1\1").cast("?")
    yield "format w", lambda: memoryview(array.array("w", "dot \N{SNOWMAN}")).cast("B")
    base = bytes(range(96))
    yield "read-only", lambda: memoryview(base)
    yield "read-only by request", lambda: memoryview(bytearray(base)).toreadonly()
    yield "empty", lambda: memoryview(b"")
    yield "empty part", lambda: memoryview(base)[5:5]
    yield "no dimension", lambda: memoryview(b"\x07\0\0\0").cast("i", [])
    yield "two dimensions", lambda: memoryview(bytearray(base)).cast("B", [8, 12])
    yield "three dimensions", lambda: memoryview(bytearray(base)).cast("H", [4, 3, 4])
    yield "step", lambda: memoryview(bytearray(base))[3:90:7]
    yield "backwards", lambda: memoryview(base)[::-1]
    yield "backwards in steps", lambda: memoryview(bytearray(base)).cast("i")[20:1:-3]
    yield "rows in steps", lambda: memoryview(bytearray(base)).cast("B", [8, 12])[6:0:-2]


VIEWS = dict(views())


@pytest.mark.parametrize("kind", VIEWS)
def test_a_view_arrives_as_it_is(pool, kind):
    """A format, shape, stride or read-only flag would be lost, or the content moved."""
    view = VIEWS[kind]()
    assert pool.submit(tasks.layout, view).result() == tasks.layout(view)


@pytest.mark.parametrize("kind", VIEWS)
def test_a_view_comes_back_as_it_went(pool, kind):
    view = VIEWS[kind]()
    back = pool.submit(tasks.identity, view).result()
    assert tasks.layout(back) == tasks.layout(view)
    if not view.readonly and view.ndim == 1:
        tasks.fill(back, 3)
        assert view.tolist() == [3] * len(view), "it came back as a copy"


def test_a_worker_writes_into_mains_memory(pool):
    memory = bytearray(10)
    pool.submit(tasks.fill, memoryview(memory)[2:8:2], 255).result()
    assert memory == bytearray([0, 0, 255, 0, 255, 0, 255, 0, 0, 0])


def test_a_read_only_view_refuses_writes(pool):
    memory = bytearray(3)
    with pytest.raises(TypeError, match="read-only"):
        pool.submit(tasks.fill, memoryview(memory).toreadonly(), 1).result()
    assert memory == bytearray(3)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda view: ((view,), {}),
        lambda view: ((), {"key": view}),
        lambda view: (({"a": [1, (view, "x")]},), {}),
        lambda view: ((tasks.Box([view]),), {"also": {1: tasks.Box(2)}}),
        lambda view: ((tasks.Box(tasks.Box({"v": view})),), {}),
    ],
    ids=["args", "kwargs", "containers", "object", "object in an object"],
)
def test_a_view_goes_by_reference_wherever_it_stands(pool, wrap):
    memory = bytearray(3)
    args, kwargs = wrap(memoryview(memory))
    assert pool.submit(tasks.fill_deep, *args, **kwargs).result() == 1
    assert memory == bytearray([7] * 3)
    del args, kwargs
    memory.append(1)


def test_the_memory_is_given_back_with_the_result(pool):
    """The caller would find its bytearray locked although the task is over."""
    memory = bytearray(100)
    pool.submit(len, memoryview(memory)).result()
    memory.append(1)


def test_a_stashed_view_outlives_everything_in_main(pool):
    """The worker would read freed memory."""
    memory = bytearray(b"stashed" * 1000)
    pool.submit(tasks.put, "view", memoryview(memory)[7:14]).result()
    del memory
    assert [bytearray(7000) for _ in range(100)]  # what was freed would be used again
    assert pool.submit(tasks.content_of_stashed, "view").result() == b"stashed"
    pool.submit(tasks.put, "view", None).result()


def test_a_stashed_view_holds_the_memory_until_it_goes(pool):
    memory = bytearray(100)
    pool.submit(tasks.put, "view", memoryview(memory)).result()
    assert not resizable(memory)
    pool.submit(tasks.put, "view", None)
    eventually(lambda: resizable(memory), "the release of a view in a worker's global")


def test_a_lifted_value_that_crosses_to_another_worker_and_back(pool2):
    """A view of a result's memory is main's own, and goes on by reference."""
    first = pool2.submit(tasks.own_view, b"12345678", "B", [8]).result()
    second = pool2.submit(tasks.identity, first).result()
    second[0] = ord("X")
    assert first.tobytes() == b"X2345678"


def test_results_are_memory_of_their_own(closing):
    """The worker that made it is gone."""
    from subpool import InterpreterPoolExecutor

    executor = closing(InterpreterPoolExecutor(1))
    view = executor.submit(tasks.own_view, bytes(range(24)), "H", [3, 4]).result()
    assert (view.format, view.shape, view.readonly) == ("H", (3, 4), False)
    executor.shutdown()
    assert view.tobytes() == bytes(range(24))
    view[2, 3] = 513
    assert view.tobytes()[-2:] == b"\1\2"


def test_a_part_of_an_argument_comes_back_by_reference(pool):
    memory = bytearray(range(20))
    back = pool.submit(tasks.part, memoryview(memory), 10, 2, -2).result()["part"][0]
    assert back.tolist() == [10, 8, 6, 4]
    back[1] = 99
    assert memory[8] == 99
    assert not resizable(memory)
    back.release()
    assert resizable(memory)


def test_suboffsets(pool):
    """Such memory is scattered: its pointers mean nothing that a layout could carry."""
    testbuffer = pytest.importorskip("_testbuffer")
    scattered = testbuffer.ndarray(list(range(6)), shape=[2, 3], flags=testbuffer.ND_PIL)
    with pytest.raises(NotTransferableError, match="suboffsets") as caught:
        pool.submit(tasks.layout, memoryview(scattered)).result()
    assert caught.value.path == "args[0]"


def test_a_released_view_is_refused_by_name(pool):
    view = memoryview(b"released")
    view.release()
    for args, path in (((view,), "args[0]"), ((1, {"deep": [view]}), "args[1]['deep'][0]")):
        with pytest.raises(NotTransferableError, match="released") as caught:
            pool.submit(tasks.echo, *args).result()
        assert caught.value.path == path


def test_the_culprit_is_not_the_view(pool):
    """Looking for what cannot be pickled, the search would stop at what travels beside it."""
    import threading

    value = {"view": memoryview(bytearray(10)), "large": b"x" * LARGE, "lock": threading.Lock()}
    with pytest.raises(NotTransferableError) as caught:
        pool.submit(tasks.echo, value).result()
    assert caught.value.path == "args[0]['lock']"


def test_pickle_buffers_go_by_reference(pool):
    memory = bytearray(5)
    pool.submit(tasks.fill, pickle.PickleBuffer(memory), 4).result()
    assert memory == bytearray([4] * 5)
    pool.submit(tasks.fill, pickle.PickleBuffer(memoryview(memory)[::-2]), 6).result()
    assert memory == bytearray([6, 4, 6, 4, 6])
    back = pool.submit(tasks.identity, tasks.Picture(memory)).result()
    back.pixels[0] = 9
    assert memory[0] == 9, "the pixels came back as a copy"
    del back
    assert resizable(memory)


LIFTED = {
    "bytes": lambda: b"l" * LARGE,
    "bytearray": lambda: bytearray(b"l" * LARGE),
    "array": lambda: array.array("d", range(LARGE // 8)),
    "memoryview": lambda: memoryview(b"l" * LARGE),
}


@pytest.mark.parametrize("kind", LIFTED)
@pytest.mark.parametrize("wrap", [list, lambda pair: tasks.Box(pair)], ids=["list", "object"])
def test_one_object_stays_one_object(pool, kind, wrap):
    value = LIFTED[kind]()
    back = pool.submit(tasks.identity, wrap([value, value])).result()
    first, second = back if wrap is list else back.content
    assert first is second
    assert type(first) is type(value)
    assert first == value


@pytest.mark.parametrize("kind", LIFTED)
def test_equal_objects_stay_two(pool, kind):
    pair = [LIFTED[kind](), LIFTED[kind]()]
    assert pool.submit(tasks.same_twice, pair).result() == (False, kind, len(pair[0]))
    pair[1] = pair[0]
    assert pool.submit(tasks.same_twice, pair).result() == (True, kind, len(pair[0]))


@pytest.mark.parametrize("kind", ["bytes", "bytearray", "array", "memoryview"])
def test_large_results(pool, kind):
    result = pool.submit(tasks.large, kind, 2 * LARGE).result()
    first, second = result["twice"]
    assert first is second
    assert type(first).__name__ == kind
    assert first == tasks.large(kind, 2 * LARGE)["twice"][0]


@pytest.mark.parametrize("kind", ["bytearray", "array"])
def test_a_change_after_submit_is_not_seen(pool, gate, kind):
    """What may change is copied when it is submitted, as by pickle."""
    pool.submit(tasks.block, *gate.fds)
    gate.wait()
    value = LIFTED[kind]()
    future = pool.submit(tasks.identity, [value])
    before, value[0] = value[0], 1
    value.append(1)
    gate.open()
    assert future.result()[0][0] == before
    assert len(future.result()[0]) == len(value) - 1


@pytest.mark.parametrize("code", "bBhHiIlLqQfdw")
def test_arrays_of_every_type(pool, code):
    items = "s\N{SNOWMAN}" * LARGE if code == "w" else [1, 2, 3] * LARGE
    value = array.array(code, items)
    back = pool.submit(tasks.identity, value).result()
    assert type(back) is array.array
    assert (back.typecode, back) == (code, value)


class Bytes(bytes):
    pass


class Bytearray(bytearray):
    pass


class Array(array.array):
    pass


@pytest.mark.parametrize(
    "value",
    [
        Bytes(b"s" * LARGE),
        Bytearray(b"s" * LARGE),
        Array("d", [0.5] * LARGE),
        "a text of no small size" * LARGE,
        "\N{SNOWMAN}" * LARGE,
        "\ud800 alone" * LARGE,
    ],
    ids=["bytes", "bytearray", "array", "str", "wide str", "surrogates"],
)
def test_what_is_only_alike_is_not_lifted(pool, value):
    back = pool.submit(tasks.identity, [value, b"x" * LARGE, value]).result()
    assert type(back[0]) is type(value)
    assert back[0] == value
    assert back[0] is back[2]


def sizes():
    return [0, 1, 255, 256, LARGE - 1, LARGE, LARGE + 1, 3 * LARGE]


@pytest.mark.parametrize("seed", range(30))
def test_anything_with_large_parts_arrives_as_by_pickle(pool, seed):
    """The sink would take a frame for a payload, or a payload for a frame."""
    rng = random.Random(seed)  # noqa: S311 - reproducible
    shared = []

    def make(depth):
        kind = rng.randrange(10 if depth else 6)
        size = rng.choice(sizes())
        match kind:
            case 0:
                value = rng.randbytes(size)
            case 1:
                value = bytearray(rng.randbytes(size))
            case 2:
                value = array.array("b", rng.randbytes(size))
            case 3:
                value = rng.choice(["x", "\N{SNOWMAN}"]) * size
            case 4:
                value = [float(n) for n in range(rng.randrange(20_000))]
            case 5:
                value = rng.choice(shared) if shared else None
            case 6:
                value = {n: make(depth - 1) for n in range(rng.randrange(5))}
            case 7:
                value = tuple(make(depth - 1) for _ in range(rng.randrange(5)))
            case _:
                value = [make(depth - 1) for _ in range(rng.randrange(6))]
        shared.append(value)
        return value

    value = make(4)
    back = pool.submit(tasks.identity, tasks.Box(value)).result().content
    # Equal pickles: equal content, and the same aliasing.
    assert pickle.dumps(back, 5) == pickle.dumps(pickle.loads(pickle.dumps(value, 5)), 5)


def test_content_that_imitates_headers(pool):
    """A float's bytes at the end of a frame would be taken for an opcode with a size."""
    for size in (LARGE, LARGE + 9, 70_000):
        header = b"B" + size.to_bytes(4, "little")
        number = struct.unpack(">d", b"\x3f\0\0" + header)[0]
        text = "é" + header.decode("latin1") * LARGE
        value = tasks.Box([[number] * 30_000, header * LARGE, text])
        back = pool.submit(tasks.identity, value).result()
        assert back.content == value.content


def test_by_value(pool):
    """A call that goes by value would copy its memory, or fail."""
    memory = bytearray(6)
    large = bytearray(b"c" * LARGE)
    view = memoryview(memory)

    def task(*more):
        view[0] = 1
        more[0][1] = 2
        return len(large), large is more[1], type(more[2]).__name__

    future = pool.submit(task, memoryview(memory), large, b"x" * LARGE)
    assert future.result() == (LARGE, True, "bytes")
    assert memory[:2] == b"\1\2"
    future = pool.submit(partial(lambda sent: sent[:2], view))
    assert future.result() == b"\1\2"
    back = pool.submit(lambda sent: {"back": sent[1:]}, view).result()["back"]
    back[0] = 77
    assert memory[1] == 77
