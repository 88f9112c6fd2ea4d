"""The admin page of the database store, on a site of its own."""

PROGRAM = """
import django
from django.conf import settings
from django.urls import path

settings.configure(
    SECRET_KEY="none",
    ALLOWED_HOSTS=["testserver"],
    ROOT_URLCONF=__name__,
    STATIC_URL="static/",
    DATABASES={
        name: {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
        for name in ("default", "queue")
    },
    TASKS={"default": {
        "BACKEND": "subpool.integrations.django.InterpreterBackend",
        "OPTIONS": {"store": "database", "database": "queue"},
    }},
    INSTALLED_APPS=[
        "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes",
        "django.contrib.messages", "django.contrib.sessions", "subpool.integrations.django",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[{
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": [
            "django.template.context_processors.request",
            "django.contrib.auth.context_processors.auth",
            "django.contrib.messages.context_processors.messages",
        ]},
    }],
    USE_TZ=True,
)
django.setup()
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.tasks import task_backends
from django.test import Client
from django.utils import timezone
from subpool.integrations.django.management.commands.subpool_worker import Command
from subpool.integrations.django.models import StoredTask

urlpatterns = [path("admin/", admin.site.urls)]
assert not run_checks(), run_checks()
call_command("migrate", verbosity=0)
check_table = Command().check_table
config = task_backends["default"].config
try:
    check_table(config)
except CommandError as error:
    assert "run `manage.py migrate --database queue`" in str(error), error
else:
    raise AssertionError("there is no table there")
call_command("migrate", "subpool", database="queue", verbosity=0)
check_table(config)
rows = StoredTask.objects.using("queue")
now = timezone.now()
common = {"backend": "default", "queue": "default", "due": 1, "enqueued_at": now}
ended = {"started_at": now, "last_attempted_at": now, "finished_at": now, "attempts": 1}
rows.create(
    id="good", task="a.good", status="SUCCESSFUL", args=[1], kwargs={"b": "<b>"},
    return_value={"x": ["<i>"]}, worker_ids=["w"], **common, **ended)
rows.create(
    id="bad", task="a.bad", status="FAILED", errors=[["x.Y", "Traceback <t>"]], **common, **ended)
rows.create(id="waits", task="a.waits", status="READY", **common)

client = Client()
client.force_login(User.objects.create_superuser("boss"))

def page(address, **data):
    answer = client.post(address, data, follow=True) if data else client.get(address)
    assert answer.status_code == 200, (address, answer.status_code)
    return answer.content.decode()

tasks = "/admin/subpool/storedtask/"
listed = page(tasks + "?status=FAILED&q=a.")
assert "a.bad" in listed and "a.good" not in listed
good = page(tasks + "good/change/")
assert "1, b=&#x27;&lt;b&gt;&#x27;" in good and "&lt;i&gt;" in good and "0.000 s" in good
assert "Traceback &lt;t&gt;" in page(tasks + "bad/change/")
assert 'name="_save"' not in good
assert client.get(tasks + "add/").status_code == 403
done = page(tasks, action="run_again", _selected_action=["good", "bad", "waits"])
assert "2 tasks will run again." in done
assert set(rows.values_list("status", flat=True)) == {"READY"}
bad = rows.get(pk="bad")
assert (bad.attempts, bad.errors, bad.finished_at) == (0, [["x.Y", "Traceback <t>"]], None)
page(tasks + "waits/delete/", post="yes")
assert rows.count() == 2

User.objects.create_user("guest", is_staff=True)
client.force_login(User.objects.get(username="guest"))
assert client.get(tasks).status_code == 403
"""


def test_admin(check):
    """What it shows is escaped, what it offers is done, and who may not, does not.

    It shows the tasks of the database that the options name: it had asked the router.
    """
    check(PROGRAM)
