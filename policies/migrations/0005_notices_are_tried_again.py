"""A notice says from when on it is tried, and a run may have been killed."""

from django.db import migrations, models
from django.db.models import F, Q


def try_from_when_it_was_written(apps, schema_editor):
    apps.get_model("policies", "Notice").objects.update(next_at=F("written_at"))


class Migration(migrations.Migration):
    dependencies = [("policies", "0004_audit_filters_by_index")]

    operations = [
        migrations.AlterField(
            model_name="jobrun",
            name="outcome",
            field=models.CharField(
                choices=[("running", "running"), ("done", "done"), ("failed", "failed"), ("killed", "killed")],
                default="running",
                max_length=8,
            ),
        ),
        migrations.RemoveIndex(model_name="notice", name="notice_to_send"),
        migrations.AddField(model_name="notice", name="next_at", field=models.DateTimeField(null=True)),
        migrations.RunPython(try_from_when_it_was_written, migrations.RunPython.noop),
        migrations.AlterField(model_name="notice", name="next_at", field=models.DateTimeField()),
        migrations.AddIndex(
            model_name="notice",
            index=models.Index(condition=Q(("sent_at", None)), fields=["next_at"], name="notice_to_send"),
        ),
    ]
