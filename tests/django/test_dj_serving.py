"""`subpool_serve`, without its server: which app it serves, and whose tasks it runs.

The whole of it is tested with the example's site (tests/examples/test_django_site.py).
"""

import io

import dj_asgi
import pytest
from dj_fakes import LeasedStore, record, runs, with_fakes
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIHandler
from django.core.management import call_command
from django.test import override_settings

from subpool.integrations.django import dispatcher, registry, serving

pytest.importorskip("hypercorn")


@pytest.mark.parametrize(
    ("settings", "app"),
    [
        ({"ASGI_APPLICATION": "dj_asgi.other", "ROOT_URLCONF": "dj_site.urls"}, dj_asgi.other),
        # The module `asgi` of the project's package; and a project that has none.
        ({"ROOT_URLCONF": "dj_site.urls"}, dj_asgi.application),
        ({"ROOT_URLCONF": "dj_outside"}, ASGIHandler),
        ({}, ASGIHandler),
    ],
    ids=["named", "the project's", "no module", "nothing"],
)
def test_which_app(settings, app):
    with override_settings(**settings):
        found = serving._project()
    assert found is app or type(found) is app


def test_an_app_that_is_not_there_is_named():
    with (
        override_settings(ASGI_APPLICATION="dj_asgi.another"),
        pytest.raises(ImproperlyConfigured, match=r"no app at dj_asgi\.another"),
    ):
        serving._project()


def test_no_tasks_leaves_those_of_databases_to_others(monkeypatch):
    from subpool.integrations.hypercorn import _main

    # Tasks for another day, of other tests, would be lost with this one's end.
    monkeypatch.setattr(registry, "_dispatchers", {})
    served = []
    monkeypatch.setattr(_main, "serve", lambda config, *_, **__: served.append(config) or 0)
    said = io.StringIO()
    call_command("subpool_serve", "--no-tasks", stdout=said)
    assert [config.application_path for config in served] == [serving.PATH]
    whose = [line.split("'")[1] for line in said.getvalue().splitlines()]
    assert whose == ["default", "single", "two each", "idle"]


@pytest.mark.parametrize("workers", [0, 1])
def test_tasks_of_databases_begin_and_end_with_the_server(monkeypatch, workers):
    """A second server by mistake, its port in use, began a task; so did one that was ending."""
    from subpool.integrations.django.management.commands import subpool_serve
    from subpool.integrations.hypercorn import _main

    class Serving(subpool_serve.ServingDispatcher):
        def __init__(self, config):
            super().__init__(config)
            with_fakes(self)

    store = LeasedStore()
    monkeypatch.setattr(dispatcher, "_make_store", lambda _: store)
    monkeypatch.setattr(registry, "_dispatchers", {})
    monkeypatch.setattr(subpool_serve, "ServingDispatcher", Serving)
    began = []

    def serve(config, kind, on_reload, on_ready, *, is_last, on_stop):
        one = registry.find("default")
        store.add(record("a"))
        assert (one._thread is None) == (workers > 0)
        if workers:
            on_ready()
        call = runs(one, "a")
        on_stop()
        store.add(record("b"))
        call.set_result(True)
        one.join()
        began.extend(one._pools.calls)
        return 0

    monkeypatch.setattr(_main, "serve", serve)
    options = {"store": "database", "max_interpreters": 1}
    backend = "subpool.integrations.django.InterpreterBackend"
    with override_settings(TASKS={"default": {"BACKEND": backend, "OPTIONS": options}}):
        call_command("subpool_serve", f"--workers={workers}", stdout=io.StringIO())
    assert began == ["a"]
