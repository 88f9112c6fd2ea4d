"""CPython's own tests of ``concurrent.futures`` and ``asyncio``, run against subpool's classes.

Nothing of CPython is copied: the tests come from the running Python's ``test`` package.

* ``substitution`` loads them and puts our classes in the place of the standard ones,
* ``scripts`` does the same for the programs that some of them start in a child process,
* ``guard`` fails a test that would use a standard class all the same (a vacuous pass),
* ``exceptions`` is the one list of tests that we fail on purpose,
* ``test_cpython`` is what pytest collects, ``test_harness`` tests the machinery itself.

Those of asyncio, with our executor behind every event loop:

* ``asyncio_child`` runs tests in a process of its own, and says of each what became of it,
* ``asyncio_suite`` says which modules, and starts the processes,
* ``test_asyncio_cpython`` is what pytest collects, and tests this machinery.
"""
