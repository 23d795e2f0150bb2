"""The audit trail: an append-only chain of events."""

from django.db import models


class AuditEvent(models.Model):
    """One link. `hash` is the SHA-256 of `prev` + `event`; the other columns repeat parts of `event` for searching.

    No foreign keys: what happened stays told whatever becomes of the rows that it tells of.
    """

    seq = models.BigIntegerField(primary_key=True)
    event = models.TextField()
    prev = models.CharField(max_length=64)
    hash = models.CharField(max_length=64, unique=True)
    at = models.DateTimeField(db_index=True)
    actor = models.CharField(max_length=160, db_index=True)
    door = models.CharField(max_length=16)
    verb = models.CharField(max_length=40, db_index=True)
    object = models.CharField(max_length=120, db_index=True)
    policy = models.CharField(max_length=16, blank=True, db_index=True)
    service = models.CharField(max_length=63, blank=True, db_index=True)
    environment = models.CharField(max_length=63, blank=True)
    reason = models.TextField(blank=True)

    class Meta:
        ordering = ["-seq"]
        verbose_name = "audit event"

    def __str__(self) -> str:
        return f"{self.seq} {self.verb} {self.object}"


class AuditHead(models.Model):
    """The end of the chain: one row, locked last in every change, so that links come one after another."""

    seq = models.BigIntegerField(default=0)
    hash = models.CharField(max_length=64, default="0" * 64)

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"
