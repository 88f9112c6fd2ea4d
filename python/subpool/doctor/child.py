"""The doctor's child process: one library, in a pool of one interpreter.

``python -m subpool.doctor.child JOB FD``: writes one line of JSON to the descriptor FD after each
stage, so that the parent knows which was the last to end if this process dies.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Any

from subpool import InterpreterPoolExecutor
from subpool.doctor.inside import examine


def main(job: dict[str, Any], report: int) -> None:
    """Examine a library: in this interpreter first if the job says so, then in one of a pool."""
    work = job["path"], job["modules"], job["use"], job["parts"]

    def say(at: str, /, **findings: object) -> None:
        os.write(report, json.dumps({"at": at, **findings}).encode() + b"\n")

    if job["main"]:
        say("main", **examine(*work))
    if job["interpreter"]:
        pool = InterpreterPoolExecutor(1)
        say("start", **pool.submit(examine, [], [], "", []).result())
        say("interpreter", **pool.submit(examine, *work).result())
        pool.shutdown()
    say("closed")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is a finding, and needs no dump
    main(json.loads(sys.argv[1]), int(sys.argv[2]))
