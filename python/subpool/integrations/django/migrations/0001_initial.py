"""The table of the database store."""

from typing import Any, ClassVar

from django.db import migrations, models
from django.db.models import Q

from subpool.integrations.django.models import JSONTextField


class Migration(migrations.Migration):
    """Makes it."""

    initial = True
    dependencies: ClassVar[list[Any]] = []
    operations: ClassVar[list[Any]] = [
        migrations.CreateModel(
            name="StoredTask",
            fields=[
                (
                    "id",
                    models.CharField(
                        editable=False, max_length=64, primary_key=True, serialize=False
                    ),
                ),
                ("backend", models.CharField(max_length=64)),
                ("task", models.TextField()),
                ("args", JSONTextField(default=list)),
                ("kwargs", JSONTextField(default=dict)),
                ("queue", models.CharField(max_length=128)),
                ("priority", models.SmallIntegerField(default=0)),
                ("run_after", models.DateTimeField(blank=True, null=True)),
                ("takes_context", models.BooleanField(default=False)),
                ("status", models.CharField(max_length=10)),
                ("enqueued_at", models.DateTimeField()),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("last_attempted_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("return_value", JSONTextField(default=None)),
                ("errors", JSONTextField(default=list)),
                ("worker_ids", JSONTextField(default=list)),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("due", models.BigIntegerField()),
                ("lease", models.BigIntegerField(default=0)),
                ("claimant", models.CharField(blank=True, default="", max_length=128)),
            ],
            options={
                "verbose_name": "task",
                "db_table": "subpool_task",
                "indexes": [
                    models.Index(
                        fields=["backend", "-priority", "due", "queue"],
                        name="subpool_task_waiting",
                        condition=Q(status="READY", claimant=""),
                    ),
                    models.Index(
                        fields=["backend", "due"],
                        name="subpool_task_due",
                        condition=Q(status="READY", claimant=""),
                    ),
                    models.Index(
                        fields=["lease"], name="subpool_task_claimed", condition=Q(lease__gt=0)
                    ),
                    models.Index(
                        fields=["finished_at"],
                        name="subpool_task_finished",
                        condition=Q(finished_at__isnull=False),
                    ),
                ],
            },
        ),
    ]
