from django.db import models


class Note(models.Model):  # noqa: DJ008
    text = models.CharField(max_length=200)


class Color(models.TextChoices):
    RED = "red"
