"""Tasks that the tests of Django enqueue."""

import os

import subpool
from django.tasks import task


@task
def where():
    return os.getpid(), subpool.worker().interpreter_id
