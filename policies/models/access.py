"""What people may do where; keys of services and tokens of people, whose secrets are shown once and kept as hashes."""

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q

from policies.models.catalog import Environment, Service


class GrantRole(models.TextChoices):
    VIEWER = "viewer", "viewer: look"
    EDITOR = "editor", "editor: edit policies, release, roll back, switch"
    APPROVER = "approver", "approver: approve releases, set overrides"
    ADMIN = "admin", "admin: all of these, and keys, environments and grants"


class Grant(models.Model):
    """What a person may do where: one service or all (null), one environment or all (null)."""

    kind = "grant"
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="grants")
    role = models.CharField(max_length=8, choices=GrantRole)
    service = models.ForeignKey(Service, null=True, blank=True, on_delete=models.PROTECT, related_name="grants")
    environment = models.ForeignKey(Environment, null=True, blank=True, on_delete=models.PROTECT, related_name="grants")
    place = models.CharField(max_length=130, editable=False)  # "reports/production", a star for all
    granted_by = models.CharField(max_length=150, editable=False)
    granted_at = models.DateTimeField(editable=False)

    class Meta:
        ordering = ["user__username", "role", "id"]
        constraints = [
            models.UniqueConstraint(fields=["user", "role", "place"], name="grant_once"),
            models.CheckConstraint(condition=Q(role__in=GrantRole.values), name="grant_role_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user.get_username()}: {self.words}"

    @property
    def words(self) -> str:
        """The role and where: “editor of reports in all environments”."""
        service = self.service.slug if self.service else "all services"
        return f"{self.role} of {service} in {self.environment.slug if self.environment else 'all environments'}"

    @property
    def label(self) -> str:
        return f"grant:{self.pk}"

    def document(self) -> dict[str, Any]:
        """As the audit trail and REST tell of it."""
        return {
            "id": self.pk,
            "user": self.user.get_username(),
            "role": self.role,
            "service": self.service.slug if self.service else None,
            "environment": self.environment.slug if self.environment else None,
        }


class Scope(models.TextChoices):
    BUNDLE_READ = "bundle:read", "fetch the bundle"
    TELEMETRY_WRITE = "telemetry:write", "report what happened"
    CHECKS_WRITE = "checks:write", "send reports of checks"


class Credential(models.Model):
    """What keys and tokens share: a hashed secret with an end."""

    name = models.CharField(
        max_length=100, blank=True, help_text="What it is for. Example: “reports, Kubernetes secret”."
    )
    digest = models.CharField(max_length=64, unique=True, editable=False)
    hint = models.CharField(max_length=12, editable=False)
    created_by = models.CharField(max_length=150, editable=False)
    created_at = models.DateTimeField(editable=False)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="When it stops working; empty: never.")
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        abstract = True
        ordering = ["-id"]


class ServiceKey(Credential):
    """What a service identifies itself with: one service, one environment, few scopes."""

    service = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="keys")
    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="keys")
    scopes = models.JSONField(default=list)

    def __str__(self) -> str:
        return f"{self.hint}… of {self.service.slug} in {self.environment.slug}"

    @property
    def label(self) -> str:
        return f"key:{self.pk}"


class ApiToken(Credential):
    """What a person's script identifies itself with: it may do what the person may."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens")

    def __str__(self) -> str:
        return f"{self.hint}… of {self.user.get_username()}"

    @property
    def label(self) -> str:
        return f"token:{self.pk}"
