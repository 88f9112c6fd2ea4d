"""The native codec gives what pickle gives, down to which parts of a value are one object."""

import contextlib
import math
import pickle
import struct
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tasks
from subpool._subpool import codec_dumps, codec_loads

SHARED_BY_IDENTITY = (
    str, bytes, bytearray, tuple, list, dict, set, frozenset, complex, range, slice, memoryview,
)  # fmt: skip


def graph(value):  # noqa: C901 - one branch a type
    """Write a value down so that two are equal only if they have the same parts, shared alike."""
    numbers, out, left = {}, [], [value]
    keep = []
    while left:
        item = left.pop()
        keep.append(item)
        kind = type(item)
        out.append(kind.__name__)
        if kind in SHARED_BY_IDENTITY:
            if id(item) in numbers:
                out.append(("again", numbers[id(item)]))
                continue
            numbers[id(item)] = len(numbers)
        if kind in (tuple, list):
            out.append(len(item))
            left.extend(reversed(item))
        elif kind in (set, frozenset):
            # As the receiver's own order may be another: by the elements' own graphs.
            out.append(sorted(repr(graph(element)) for element in item))
        elif kind is dict:
            out.append(len(item))
            left.extend(part for pair in reversed(item.items()) for part in reversed(pair))
        elif kind is slice:
            left.extend((item.step, item.stop, item.start))
        elif kind is float:
            out.append(struct.pack("d", item))
        elif kind is complex:
            out.append(struct.pack("dd", item.real, item.imag))
        elif kind is str:
            out.append(item.encode("utf-8", "surrogatepass"))
        else:
            out.append(bytes(item) if kind is bytearray else repr(item))
    return out


def natively(value):
    encoded = codec_dumps(value)
    assert encoded is not None, "the codec refused it"
    return codec_loads(encoded)


def by_pickle(value):
    return pickle.loads(pickle.dumps(value, 5))


def agree(value):
    assert graph(natively(value)) == graph(by_pickle(value))


texts = st.text(st.characters(), max_size=6)  # lone surrogates too
atoms = st.one_of(
    st.none(), st.booleans(), st.just(...), st.integers(), st.integers(-300, 300),
    st.integers(-(1 << 80), 1 << 80), st.floats(), st.complex_numbers(), texts,
    st.binary(max_size=6),
)  # fmt: skip
ranges = st.builds(range, st.integers(-9, 1 << 70), st.integers(), st.integers(1, 9))
hashable = st.recursive(
    atoms | ranges,
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.frozensets(inner, max_size=4),
    max_leaves=8,
)
values = st.recursive(
    hashable | st.binary(max_size=6).map(bytearray),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(hashable, inner, max_size=4),
        st.sets(hashable, max_size=4),
        st.builds(slice, inner, inner, inner),
        inner.map(lambda item: [item, item]),
        inner.map(lambda item: {"a": item, "b": (item, [item])}),
    ),
    max_leaves=25,
)
thorough = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))


@thorough
@given(values)
def test_plain_values(value):
    """Whatever is plain is taken, and comes out as pickle would bring it."""
    agree(value)


@st.composite
def webs(draw):
    """Containers that hold each other and themselves, in any way that Python allows."""
    made = [draw(atoms) for _ in range(3)] + [[], {}, [], bytearray(b"x"), {}]
    for _ in range(draw(st.integers(1, 12))):
        parts = draw(st.lists(st.sampled_from(range(len(made))), max_size=4))
        parts = [made[part] for part in parts]
        kind = draw(st.sampled_from(["tuple", "list", "fill", "dict", "set", "slice"]))
        if kind == "tuple":
            made.append(tuple(parts))
        elif kind == "list":
            made.append(parts)
        elif kind == "slice":
            made.append(slice(*(parts + [None] * 3)[:3]))
        elif kind == "set":
            made.append({part for part in parts if type(part) in (str, bytes, int, bool, float)})
        else:
            lists = [item for item in made if type(item) in (list, dict)]
            target = lists[draw(st.integers(0, len(lists) - 1))]
            if type(target) is list:
                target.extend(parts)
            else:
                target.update({str(len(target) + n): part for n, part in enumerate(parts)})
    return made[3:]


@thorough
@given(webs())
def test_webs(value):
    """Shared parts and cycles. A tuple within itself is refused, for pickle to write."""
    encoded = codec_dumps(value)
    if encoded is not None:
        assert graph(codec_loads(encoded)) == graph(by_pickle(value))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(value=st.lists(values | webs() | st.builds(tasks.Accumulator, st.integers()), max_size=30))
def test_through_a_worker(pool, value):
    """There and back through a real worker, with things among them that only pickle can carry."""
    back = pool.submit(tasks.identity, value).result()
    expected = by_pickle(by_pickle(value))
    if any(type(item) is tasks.Accumulator for item in value):
        assert repr([type(item) for item in back]) == repr([type(item) for item in expected])
    else:
        assert graph(back) == graph(expected)


@thorough
@given(values, st.data())
def test_malformed_bytes(value, data):
    """Any change of a message gives an error or another value, never a crash."""
    encoded = bytearray(codec_dumps(value))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(encoded) - 1))
        encoded[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError, TypeError, MemoryError, OverflowError, RecursionError):
        graph(codec_loads(bytes(encoded)))


@pytest.mark.parametrize("cut", range(40))
def test_a_message_cut_short(cut):
    """Each prefix is refused."""
    encoded = codec_dumps([1, "text", {b"k": (2.5, None, {1, 2})}, 1 << 90, "\ud800", "\U0001f600"])
    assert len(encoded) > 40
    with pytest.raises(ValueError, match="malformed"):
        codec_loads(encoded[:cut])


@pytest.mark.parametrize(
    "value",
    [
        0, 1, -1, 127, 128, -128, 2**31, -(2**31), 2**63 - 1, 2**63, -(2**63), -(2**63) - 1,
        2**64, 10**50, -(10**50), True, False, None, ..., 0.0, -0.0, math.inf, math.nan, 1j,
        complex(-0.0, math.nan), "", "a", "é", "ab", "日本", "\U0001f600", "\ud800", "\udfff\ud800",
        "\0", b"", b"a", bytes(range(256)), bytearray(), bytearray(b"ab"), (), ((),), [], {}, set(),
        frozenset(), range(0), range(5, -5, -2), range(1 << 70), slice(None), slice(1, "a", [2]),
        {True: 1, 2: False}, {(): frozenset({()})}, [[]] * 3, [()] * 2, ["ab"] * 2, [""] * 2,
    ],
    ids=repr,
)  # fmt: skip
def test_corner_values(value):
    """Each type's edges."""
    agree(value)


class Int(int):
    pass


class Str(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "value",
    [
        Int(1),
        Str("a"),
        [Int(1)],
        object,
        len,
        {"a": {1: Str("k")}},
        NotImplemented,
        memoryview(b""),
    ],
    ids=repr,
)
def test_what_is_not_plain_is_refused(value):
    """A subclass may pickle itself in its own way."""
    assert codec_dumps(value) is None


def test_cycles():
    """As pickle: containers that can hold themselves do, and a tuple in itself is left to it."""
    items = []
    items.append(items)
    again = natively(items)
    assert again[0] is again
    mapping = {}
    mapping["self"] = [mapping, mapping]
    again = natively(mapping)
    assert again["self"][0] is again["self"][1] is again
    inner = []
    pair = (inner, 1)
    inner.append(pair)
    assert codec_dumps(pair) is None


def test_a_tuple_within_itself_travels_all_the_same(pool):
    """What the codec refuses, pickle carries."""
    inner = []
    pair = (inner, 1)
    inner.append(pair)
    back = pool.submit(tasks.identity, pair).result()
    assert back[0][0] is back


@pytest.mark.parametrize("wrap", [lambda x: [x], lambda x: (x,), lambda x: {"k": x}], ids="[({")
def test_deep_nesting(pool, wrap):
    """Neither the encoder nor the decoder may run out of stack; pickle decides what is too deep."""
    value = None
    for _ in range(90):
        value = wrap(value)
    agree(value)
    for _ in range(200):
        value = wrap(value)
    assert codec_dumps(value) is None
    assert pool.submit(tasks.identity, value).result() == value
    for _ in range(sys.getrecursionlimit() * 20):
        value = wrap(value)
    assert codec_dumps(value) is None


def test_a_small_stack():
    """A thread of the user's may have the smallest stack there is."""
    import threading

    value = "bottom"
    for level in range(95):
        value = [value, {level: (value,)}] if level % 3 == 0 else [value]
    got = []
    before = threading.stack_size(256 << 10)
    try:
        thread = threading.Thread(target=lambda: got.append(natively(value)))
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert len(got) == 1


def test_references_are_neither_lost_nor_leaked():
    """A reference too few is a crash much later, one too many a leak."""
    part = object.__new__(type("Plain", (), {})).__class__.__name__ + "!"
    value = [part, (part, {part: bytearray(b"x")}), {part}, slice(part, part)]
    before = sys.getrefcount(part)
    for _ in range(50):
        natively(value)
        with pytest.raises(ValueError, match="malformed"):
            codec_loads(codec_dumps(value)[:-1])
        assert codec_dumps([value, object()]) is None
    assert sys.getrefcount(part) == before
