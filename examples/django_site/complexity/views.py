"""The page, what starts a survey, and what the page asks for."""

from typing import TYPE_CHECKING

from django.db import transaction
from django.http import HttpResponseBadRequest, JsonResponse
from django.shortcuts import redirect, render
from django.tasks.exceptions import TaskResultDoesNotExist
from django.views.decorators.http import require_GET, require_POST

from complexity.models import Survey
from complexity.tasks import survey

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

MOST = 2000


@require_GET
def page(request: "HttpRequest") -> "HttpResponse":
    """Show the surveys; a script keeps them up to date."""
    return render(request, "complexity/page.html", {"most": MOST})


@require_POST
def start(request: "HttpRequest") -> "HttpResponse":
    """Start a survey: the task is enqueued when its row is there."""
    try:
        files = int(request.POST["files"])
    except (KeyError, ValueError):
        files = 0
    if not 1 <= files <= MOST:
        return HttpResponseBadRequest(f"files: a number from 1 to {MOST}")
    with transaction.atomic():
        one = Survey.objects.create(files=files)
        one.task = survey.enqueue(one.pk).id
        one.save()
    return redirect("page")


@require_GET
def surveys(_request: "HttpRequest") -> "HttpResponse":
    """Tell how far the last surveys are."""
    return JsonResponse(
        {
            "surveys": [
                {
                    "id": one.pk,
                    "files": one.files,
                    "done": one.done,
                    "lines": one.lines,
                    "worst": one.worst and f"{one.worst} ({one.worst_complexity})",
                    "status": status(one.task),
                }
                for one in Survey.objects.order_by("-pk")[:10]
            ]
        }
    )


def status(number: str) -> str:
    """Tell what became of a task; those of an earlier process are forgotten."""
    try:
        return str(survey.get_result(number).status)
    except TaskResultDoesNotExist:
        return "UNKNOWN"
