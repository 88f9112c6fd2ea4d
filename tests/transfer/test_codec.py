"""The native codec gives what pickle gives: the same values, and the same `is` among them."""

import gc
import itertools
import math
import pickle
import struct
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tasks
from subpool import InterpreterPoolExecutor
from subpool._subpool import _native_decode, _native_encode

CONTAINERS = (tuple, list, dict, set, frozenset, slice)


def through_pickle(value):
    return pickle.loads(pickle.dumps(value, 5))


def parts(value):
    """What a container contains, in its order."""
    match value:
        case dict():
            return list(itertools.chain.from_iterable(value.items()))
        case slice():
            return [value.start, value.stop, value.step]
        case tuple() | list() | set() | frozenset():
            return list(value)
        case tasks.Accumulator():
            return [value.__dict__]
    return []


def content(value):
    """What a value is apart from its parts, so that equal means indistinguishable."""
    match value:
        case float():
            return struct.pack("d", value)
        case complex():
            return struct.pack("dd", value.real, value.imag)
        case range():
            return value.start, value.stop, value.step
        case bytearray():
            return bytes(value)
        case type() | tasks.Accumulator():
            return None
    return None if isinstance(value, CONTAINERS) else value


def graph(root):
    """A value with its identities: equal for two values that only `id` itself could tell apart."""
    numbers = {id(root): 0}
    found = [root]
    rows = []
    for value in found:
        row = [type(value), content(value)]
        for part in parts(value):
            if id(part) not in numbers:
                numbers[id(part)] = len(found)
                found.append(part)
            row.append(numbers[id(part)])
        rows.append(row)
    return rows


TEXT = st.text(st.characters(codec=None), max_size=6)
LEAVES = st.one_of(
    st.sampled_from([None, True, False, ..., 0, -16, -17, 111, 112, 255, 256, 257, 1024, 1025]),
    st.integers(),
    st.integers(-(2**300), 2**300),
    st.builds(
        lambda sign, bits, more: sign * 2**bits + more,
        st.sampled_from([1, -1]),
        st.sampled_from([7, 15, 30, 31, 62, 63, 64]),
        st.integers(-1, 1),
    ),
    st.floats(),
    st.complex_numbers(),
    TEXT,
    st.text(st.characters(max_codepoint=255), max_size=3),
    st.binary(max_size=3),
    st.binary(max_size=3).map(bytearray),
    st.builds(range, st.integers(), st.integers(), st.integers().filter(bool)),
)  # fmt: skip
PLACES = st.lists(st.integers(0, 63), max_size=6)
NODES = st.one_of(
    LEAVES.map(lambda leaf: (None, leaf)),
    st.tuples(st.sampled_from(CONTAINERS), PLACES),
)
LINKS = st.lists(st.tuples(st.integers(0, 63), st.integers(0, 63)), max_size=4)


def hashed_by_address(value):
    """Whether it is no number, or has one inside: its place in a set changes with each copy."""
    if isinstance(value, float | complex):
        return value != value  # noqa: PLR0124 - true of NaN alone
    if isinstance(value, tuple | frozenset):
        return any(map(hashed_by_address, value))
    if isinstance(value, slice):
        return any(map(hashed_by_address, (value.start, value.stop, value.step)))
    return False


def build(nodes, links, foreign=()):
    """Make a value of nodes that refer to earlier ones, then link some to later ones.

    Returns the last container, and whether a link was made (which may have made a cycle).
    """
    made = [*foreign, None]
    for kind, what in nodes:
        if kind is None:
            made.append(what)
            continue
        chosen = [made[-1 - place % len(made)] for place in what]
        if kind in {set, frozenset}:
            chosen = [item for item in chosen if not hashed_by_address(item)]
        try:
            if kind is dict:
                made.append(dict(zip(chosen[::2], chosen[1::2], strict=False)))
            elif kind is slice:
                made.append(slice(*(chosen + [None] * 3)[:3]))
            else:
                made.append(kind(chosen))
        except TypeError:  # not hashable
            made.append(chosen)
    linked = False
    for number, (place, other) in enumerate(links):
        holder, item = made[place % len(made)], made[other % len(made)]
        if type(holder) is list:
            holder.append(item)
            linked = True
        elif type(holder) is dict:
            holder[f"link {number}"] = item
            linked = True
    return made[-1], linked


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(NODES, min_size=1, max_size=24), LINKS)
def test_what_pickle_gives(nodes, links):
    """A value, an order or an identity that the codec does not keep as pickle does."""
    value, linked = build(nodes, links)
    encoded = _native_encode(value)
    if encoded is None:
        assert linked, "refused without a cycle"
        return
    assert graph(_native_decode(encoded)) == graph(through_pickle(value))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.lists(NODES, min_size=1, max_size=12), LINKS), min_size=8, max_size=8))
def test_there_and_back_through_a_pool(shared_pool, recipes):
    """The same, with a worker in between, and with foreign objects, which go by pickle."""
    values = []
    for number, (nodes, links) in enumerate(recipes):
        foreign = (tasks.Accumulator(number), tasks.Colour.RED, "shared") if number % 2 else ()
        values.append(build(nodes, links, foreign)[0])
    futures = [shared_pool.submit(tasks.identity, value) for value in values]
    together = shared_pool.submit(tasks.echo, *values, key=values[0])
    for value, future in zip(values, futures, strict=True):
        assert graph(future.result()) == graph(through_pickle(through_pickle((value,)))[0])
    expected = through_pickle(through_pickle((tuple(values), {"key": values[0]})))
    assert graph(together.result()) == graph(expected)


@pytest.fixture(scope="module")
def shared_pool():
    """One pool for all examples. (The check for left-over interpreters is told of it.)"""
    with InterpreterPoolExecutor(1) as pool:
        pool.submit(tasks.nothing).result()
        yield pool


DAMAGE = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 500), st.integers(0, 255)), min_size=1, max_size=4
)


def damage(encoded, changes):
    broken = bytearray(encoded)
    for what, place, byte in changes:
        place %= len(broken) + 1
        match what:
            case 0:
                del broken[place:]
            case 1:
                broken.insert(place, byte)
            case 2:
                broken += broken[:place]
            case 3 if place < len(broken):
                broken[place] ^= 1 << byte % 8
            case _:
                broken.append(byte % 64)
    return bytes(broken)


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(NODES, min_size=1, max_size=16), LINKS, DAMAGE)
def test_damaged_bytes_give_an_error_or_a_value(nodes, links, changes):
    """Half-made containers, forged counts and references that crash the interpreter later."""
    encoded = _native_encode(build(nodes, links)[0])
    if encoded is None:
        return
    try:
        value = _native_decode(damage(encoded, changes))
    except (ValueError, TypeError):
        return
    graph(value)


@pytest.mark.parametrize(
    "forged",
    [
        b"",
        b"\x00\x00",
        b"\x3f",
        b"\x11\xff\xff\xff\xff\x0f",  # a list of four billion
        b"\x0d\x01\xff\xff\xff\xff",  # no code point
        b"\x17\x00",  # an index into nothing
        b"\x18\x00",  # a reference to nothing
        b"\x50\x01\x18\x00",  # a tuple in itself
        b"\x53\x01\x18\x00",  # a set in itself
        b"\x52\x01\x18\x00\x00",  # a dict as its own key
        b"\x15\x00\x00\x00",  # a range of Nones
        b"\x15\x90\x90\x90",  # a range of step 0
        b"\x11\x01" * 1000 + b"\x00",
    ],
)
def test_forged_bytes_are_refused(forged):
    """What no encoder writes must not reach an interpreter as anything but an error."""
    with pytest.raises((ValueError, TypeError)):
        _native_decode(forged)


def test_an_error_leaves_no_list_with_holes():
    """A list that contains itself outlives the error; its empty places crash who looks at them."""
    marker = "subpool was here"
    forged = b"\x51\x04\x18\x00" + _native_encode(marker)[:1] + bytes([len(marker)])
    forged += marker.encode() + b"\x3f\x00\x00"
    gc.disable()
    try:
        with pytest.raises(ValueError, match="0x3f"):
            _native_decode(forged)
        left = [x for x in gc.get_objects() if type(x) is list and x[1:2] == [marker]]
        assert [len(found) for found in left] == [2]
        left[0].clear()
    finally:
        gc.enable()


def chain(kind, depth, inside=None):
    value = inside
    for _ in range(depth):
        value = kind([value]) if kind is not dict else {"k": value}
    return value


@pytest.mark.parametrize("kind", [list, tuple, dict, frozenset])
def test_depth(kind, shared_pool):
    """Recursion, on either side, overflows the stack; pickle's own limit is an error, not ours."""
    shallow, deep = chain(kind, 100), chain(kind, 300)
    assert graph(_native_decode(_native_encode(shallow))) == graph(shallow)
    assert _native_encode(deep) is None
    assert _native_encode(chain(kind, 100_000)) is None
    assert graph(shared_pool.submit(tasks.identity, deep).result()) == graph(deep)


@pytest.mark.parametrize(
    "inside", [(), [], {}, frozenset(), range(2), slice(1), (1,), [1], 1], ids=repr
)
def test_the_writer_goes_no_deeper_than_the_reader(inside):
    """What is encoded one level too deep cannot be decoded any more."""
    refused = 0
    for depth in range(120, 136):
        value = chain(list, depth, inside)
        encoded = _native_encode(value)
        if encoded is None:
            refused += 1
        else:
            assert graph(_native_decode(encoded)) == graph(value)
    assert 0 < refused < 16


def test_a_key_that_only_a_class_holds():
    """All dicts of a class share one reference to a key, as if it occurred once."""

    class Holder:
        pass

    dicts = [Holder().__dict__, Holder().__dict__]
    for number, mapping in enumerate(dicts):
        mapping[f"made {len(dicts)}"] = number
    assert graph(_native_decode(_native_encode(dicts))) == graph(through_pickle(dicts))


def test_sets_keep_their_order():
    """Order depends on how a set grew and what was deleted from it."""
    grown = set(range(0, 3000, 7))
    for number in range(0, 3000, 21):
        grown.discard(number)
    for value in [grown, frozenset(grown), {"a", "b", "c", ..., None, 1.5, (1, 2)}]:
        decoded = _native_decode(_native_encode(value))
        assert list(decoded) == list(through_pickle(value))
        assert type(decoded) is type(value)


@pytest.mark.parametrize(
    "count", [0, 1, 7, 8, 9, 31, 32, 33, 127, 128, 10_000], ids=lambda count: f"{count} objects"
)
def test_many_shared_objects(count):
    """The memo outgrows its first places, its first table, and what is kept of it."""
    shared = [[f"text {number}", number, float(number)] for number in range(count)]
    value = [shared, shared[::-1], [shared]]
    for _ in range(2):
        assert graph(_native_decode(_native_encode(value))) == graph(through_pickle(value))


@pytest.mark.parametrize(
    "foreign",
    [
        tasks.Accumulator(1),
        tasks.Colour.RED,
        type("Text", (str,), {})("x"),
        type("Number", (int,), {})(1),
        memoryview(b"x"),
        object(),
        len,
        sys,
    ],
    ids=lambda foreign: type(foreign).__name__,
)
def test_what_is_not_exactly_a_built_in_type_is_refused(foreign):
    """A subclass taken for its base arrives as another type. And a refusal sets no exception."""
    for value in (foreign, (1, foreign), [[{"k": foreign}]], slice(foreign)):
        assert _native_encode(value) is None


def test_a_refusal_leaves_nothing_behind():
    """Numbers or open containers of a refused value that are found in the next one."""
    shared = ["shared"]
    for _ in range(3):
        assert _native_encode([shared, [shared, {"k": [object()]}]]) is None
        value = [shared, shared]
        assert graph(_native_decode(_native_encode(value))) == graph(value)
    with pytest.raises(ValueError, match="left over"):
        _native_decode(_native_encode(value) + b"\x00")
    assert _native_decode(_native_encode(value)) == value


def test_cycles_through_tuples_go_by_pickle(shared_pool):
    """Pickle rebuilds them with a trick; a codec that numbers a tuple too early gives a hole."""
    inner = []
    value = (inner,)
    inner.append(value)
    assert _native_encode(value) is None
    got = shared_pool.submit(tasks.identity, value).result()
    assert got[0][0] is got
    # The same cycle entered at its list has a form.
    assert graph(_native_decode(_native_encode(inner))) == graph(through_pickle(inner))


def test_references_are_given_back():
    """Each decoded or refused value that keeps a reference is a leak."""
    value = [f"{1}text", (1.5, "x" * 50), {"k": {2**100}, "l": bytearray(b"x")}, slice([1], 2)]
    bad = [*value, object()]
    forged = _native_encode(value)[:-3] + b"\x3f"

    def turn():
        _native_decode(_native_encode([value, value]))
        assert _native_encode(bad) is None
        with pytest.raises(ValueError):
            _native_decode(forged)

    turn()
    counted = [value, *value, value[1][1], value[2]["k"]]
    before = [sys.getrefcount(x) for x in counted]
    blocks = []
    for _ in range(4):
        for _ in range(200):
            turn()
        gc.collect()
        blocks.append(sys.getallocatedblocks())
    assert [sys.getrefcount(x) for x in counted] == before
    assert blocks[-1] - blocks[1] < 200, blocks


def test_not_a_number_is_not_itself_made_one():
    """Float identity is not kept by pickle: one object twice comes out as two."""
    nan = math.nan
    first, second = _native_decode(_native_encode([nan, nan]))
    assert first is not second
    assert graph([first, second]) == graph(through_pickle([nan, nan]))
