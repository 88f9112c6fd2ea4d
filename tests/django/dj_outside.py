"""What an interpreter does that is no task's, such as a web worker's."""

import os


def enqueue():
    """Set up the site, as a web worker does, and enqueue a task; give its number."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "dj_settings"
    import django

    django.setup()
    from dj_app import tasks

    result = tasks.where.using(backend="single").enqueue()
    assert tasks.where.using(backend="single").get_result(result.id).id == result.id
    return result.id


def enqueue_members():
    """Do so with values of the site's classes, which main does not have; give the result's."""
    from dj_app import tasks
    from dj_app.models import Color

    result = tasks.echo.using(backend="single").enqueue(Color.RED)
    given = tasks.give.using(backend="single").enqueue("members")
    for one in (result, given):
        while not one.is_finished:
            one.refresh()
    return [result.return_value, given.return_value]


def wait_for(number):
    """Wait for a task's end, as a page that asks for it would."""
    from dj_app import tasks

    one = tasks.where.using(backend="single")
    while not (result := one.get_result(number)).is_finished:
        pass
    return str(result.status)
