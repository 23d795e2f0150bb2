"""The newest events of a person, a verb or a policy are found by an index that ends with `seq`."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("policies", "0003_the_life_of_a_change"),
    ]

    operations = [
        migrations.AlterField(
            model_name="auditevent",
            name="actor",
            field=models.CharField(max_length=160),
        ),
        migrations.AlterField(
            model_name="auditevent",
            name="object",
            field=models.CharField(max_length=120),
        ),
        migrations.AlterField(
            model_name="auditevent",
            name="policy",
            field=models.CharField(blank=True, max_length=16),
        ),
        migrations.AlterField(
            model_name="auditevent",
            name="service",
            field=models.CharField(blank=True, max_length=63),
        ),
        migrations.AlterField(
            model_name="auditevent",
            name="verb",
            field=models.CharField(max_length=40),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["actor", "seq"], name="audit_by_actor"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(
                fields=["verb", "seq"], name="audit_by_verb", opclasses=["varchar_pattern_ops", "int8_ops"]
            ),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["object", "seq"], name="audit_by_object"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["policy", "seq"], name="audit_by_policy"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["service", "seq"], name="audit_by_service"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["environment", "seq"], name="audit_by_environment"),
        ),
    ]
