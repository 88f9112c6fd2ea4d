"""Task functions of the load test and the soak. Imported in every worker, so it imports little."""

import tasks


def block_and_fail(started, release):
    """An initializer that fails when it is let go."""
    tasks.block(started, release)
    raise LookupError
