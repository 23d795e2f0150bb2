"""The audit trail: an append-only chain of events."""

from django.db import models


class AuditEvent(models.Model):
    """One link. `hash` is the SHA-256 of `prev` + `event`; the other columns repeat parts of `event` for searching.

    No foreign keys: what happened stays told whatever becomes of the rows that it tells of. Each index ends with `seq`,
    so that the newest of one person or policy are found without sorting, however long the trail is.
    """

    seq = models.BigIntegerField(primary_key=True)
    event = models.TextField()
    prev = models.CharField(max_length=64)
    hash = models.CharField(max_length=64, unique=True)
    at = models.DateTimeField(db_index=True)
    actor = models.CharField(max_length=160)
    door = models.CharField(max_length=16)
    verb = models.CharField(max_length=40)
    object = models.CharField(max_length=120)
    policy = models.CharField(max_length=16, blank=True)
    service = models.CharField(max_length=63, blank=True)
    environment = models.CharField(max_length=63, blank=True)
    reason = models.TextField(blank=True)

    class Meta:
        ordering = ["-seq"]
        verbose_name = "audit event"
        indexes = [
            models.Index(fields=["actor", "seq"], name="audit_by_actor"),
            # Of the kind that finds what begins with `policy.`, too.
            models.Index(fields=["verb", "seq"], name="audit_by_verb", opclasses=["varchar_pattern_ops", "int8_ops"]),
            models.Index(fields=["object", "seq"], name="audit_by_object"),
            models.Index(fields=["policy", "seq"], name="audit_by_policy"),
            models.Index(fields=["service", "seq"], name="audit_by_service"),
            models.Index(fields=["environment", "seq"], name="audit_by_environment"),
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.verb} {self.object}"


class AuditHead(models.Model):
    """The end of the chain: one row, locked last in every change, so that links come one after another."""

    seq = models.BigIntegerField(default=0)
    hash = models.CharField(max_length=64, default="0" * 64)

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"
