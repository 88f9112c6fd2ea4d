"""Event loops of all kinds that the bridge knows."""

import asyncio

import pytest

uvloop = pytest.importorskip("uvloop", reason="no uvloop for this Python")


class LoopWithoutReaders(asyncio.SelectorEventLoop):
    """A loop that watches no descriptors for others, as Windows' proactor does not."""

    def add_reader(self, *_):
        raise NotImplementedError


LOOPS = {
    "selector": asyncio.SelectorEventLoop,
    "uvloop": uvloop.new_event_loop,
    "without readers": LoopWithoutReaders,
}


@pytest.fixture(params=LOOPS)
def new_loop(request):
    """A loop's factory."""
    return LOOPS[request.param]


@pytest.fixture
def run(new_loop):
    """`asyncio.run` in a loop of each kind, in debug mode: it complains of what is left over."""

    def run(main):
        with asyncio.Runner(loop_factory=new_loop, debug=True) as runner:
            return runner.run(main)

    return run
