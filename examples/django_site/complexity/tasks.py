"""The work: pure Python that keeps a core busy for some seconds."""

import sysconfig
from itertools import islice
from pathlib import Path

from django.tasks import task

from complexity.models import Survey
from metrics import analyse

# Files between two notes of how far it is.
STEP = 10


@task
def survey(pk: int) -> dict[str, int]:
    """Measure files of the standard library, and note how far it is."""
    one = Survey.objects.get(pk=pk)
    # An attempt that died may have noted a part: tasks in the database are run at least once.
    one.done = one.lines = one.worst_complexity = 0
    one.worst = ""
    library = Path(sysconfig.get_path("stdlib"))
    files = sorted(path for path in library.rglob("*.py") if "-packages" not in str(path))
    for number, path in enumerate(islice(files, one.files), 1):
        found = analyse(str(path))
        one.done = number
        one.lines += found.lines
        for function in found.worst[:1]:
            if function.complexity > one.worst_complexity:
                one.worst_complexity = function.complexity
                one.worst = f"{function.name} in {path.relative_to(library)}"
        if number % STEP == 0:
            one.save()
    one.files = one.done
    one.save()
    return {"files": one.done, "lines": one.lines}
