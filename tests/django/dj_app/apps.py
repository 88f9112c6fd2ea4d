import os

from django.apps import AppConfig

# How often Django was set up in this interpreter.
ready = 0
signals = []


def note(*, signal, sender, task_result, **_):
    from django.tasks import signals as theirs

    for name in ("task_enqueued", "task_started", "task_finished"):
        if signal is getattr(theirs, name):
            # What others see at this moment.
            stored = None
            if name == "task_finished":
                stored = task_result.task.get_result(task_result.id).status
            kind = f"{sender.__module__}.{sender.__qualname__}"
            signals.append((name, kind, task_result.id, task_result.status, stored))


def fail(*, task_result, **_):
    if task_result.backend == "single":
        raise RuntimeError("a receiver that fails")


class DjAppConfig(AppConfig):
    name = "dj_app"

    def ready(self):
        global ready
        ready += 1
        from django.tasks.signals import task_enqueued, task_finished, task_started

        import subpool

        for signal in (task_enqueued, task_started, task_finished):
            signal.connect(note)
        if subpool.worker() is not None:
            if "DJ_REFUSE" in os.environ:
                raise RuntimeError("the app refuses to start here")
            if "DJ_FAIL" in os.environ:
                task_started.connect(fail)
                task_finished.connect(fail)
