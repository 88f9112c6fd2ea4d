"""What `subpool serve` does with its log's files when it reloads."""

import logging

import pytest

from subpool.integrations.hypercorn import _logs


@pytest.fixture
def loggers():
    """Give a logger and the one above it, without handlers."""
    above, logger = logging.getLogger("serve-logs"), logging.getLogger("serve-logs.error")
    logger.setLevel(logging.INFO)
    yield above, logger
    for each in (above, logger):
        each.propagate = True
        for handler in list(each.handlers):
            each.removeHandler(handler)
            handler.close()


@pytest.mark.parametrize("mode", ["a", "w"])
@pytest.mark.parametrize("which", [0, 1])
def test_files_that_were_moved_are_opened_anew(loggers, tmp_path, mode, which):
    """Guards against a log that is silent after a reload, loses what it had, or stays where it was.

    As that of a handler which overwrites its file, and of one of the root logger's.
    """
    logger = loggers[1]
    file, moved = tmp_path / "log", tmp_path / "log.1"
    loggers[which].addHandler(logging.FileHandler(file, mode=mode))
    logger.info("one")
    _logs.reopen(logger)
    logger.info("two")
    file.rename(moved)
    logger.info("three")
    _logs.reopen(logger)
    logger.info("four")
    assert moved.read_text().split() == ["one", "two", "three"]
    assert file.read_text().split() == ["four"]


def test_handlers_that_do_not_see_the_log_stay(loggers, tmp_path):
    """Guards against files of others' that are opened anew."""
    above, logger = loggers
    logger.propagate = False
    handler = logging.FileHandler(tmp_path / "log")
    above.addHandler(handler)
    stream = handler.stream
    _logs.reopen(logger)
    assert handler.stream is stream
