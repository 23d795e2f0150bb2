"""Which bundles a change touches, in one row whatever the number of services."""

from django.db import models


class Publication(models.Model):
    """The newest audit event that touches the bundles of (service or all, environment or all).

    A bundle's version is the largest of the four rows that concern it, so a change for every service writes one row.
    """

    audience = models.CharField(
        max_length=130, primary_key=True
    )  # "reports/production", "reports/*", "*/production", "*/*"
    version = models.BigIntegerField()
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.audience} {self.version}"
