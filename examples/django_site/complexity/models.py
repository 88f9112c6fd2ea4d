"""What a survey has found so far."""

from django.db import models


class Survey(models.Model):
    """One survey: a task writes to it, the page reads it."""

    task = models.CharField(max_length=64, blank=True)
    files = models.PositiveIntegerField()
    done = models.PositiveIntegerField(default=0)
    lines = models.PositiveIntegerField(default=0)
    worst = models.CharField(max_length=200, blank=True)
    worst_complexity = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"survey {self.pk}: {self.done} of {self.files} files"
