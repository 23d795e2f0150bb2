"""What there is to protect, and who answers for it: teams, services, environments, endpoints."""

from typing import Any, ClassVar

from django.core.validators import MaxValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q

MOST_APPROVALS = 2

slug_format = RegexValidator(
    r"^[a-z0-9][a-z0-9-]{0,62}\Z",
    "Use 1 to 63 lower-case letters, digits and hyphens, beginning with a letter or digit, such as “team-data”.",
)
endpoint_name_format = RegexValidator(
    r"^[A-Za-z_][A-Za-z0-9_.:-]{0,99}\Z",
    "Use letters, digits, dots, hyphens and underscores, such as “reports.export”.",
)


class Catalogued(models.Model):
    """A named thing that history refers to: archived when it is no longer wanted, never renamed in its slug."""

    slug = models.CharField(
        max_length=63,
        unique=True,
        validators=[slug_format],
        help_text="Its name in URLs, commands and bundles; it cannot be changed later. Example: “reports”.",
        error_messages={"unique": "This slug is taken (an archived one keeps its slug, too); choose another."},
    )
    name = models.CharField(max_length=100, help_text="What people call it. Example: “Reports”.")
    created_at = models.DateTimeField(auto_now_add=True, editable=False)
    archived_at = models.DateTimeField(null=True, blank=True, editable=False)

    kind: ClassVar[str]

    class Meta:
        abstract = True
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.name

    @property
    def label(self) -> str:
        """How the audit trail names it."""
        return f"{self.kind}:{self.slug}"


class Team(Catalogued):
    """Who owns services and policies."""

    kind = "team"
    email = models.EmailField(help_text="Where the team is reached about its policies. Example: “data@example.com”.")

    def document(self) -> dict[str, Any]:
        return {"slug": self.slug, "name": self.name, "email": self.email}


class Service(Catalogued):
    """A deployable application whose endpoints are protected."""

    kind = "service"
    team = models.ForeignKey(
        Team, on_delete=models.PROTECT, related_name="services", help_text="The team that owns it."
    )
    description = models.CharField(max_length=500, blank=True, help_text="One line about what it does.")

    def document(self) -> dict[str, Any]:
        return {"slug": self.slug, "name": self.name, "team": self.team.slug, "description": self.description}


class Environment(Catalogued):
    """Where services run: development, staging, production."""

    kind = "environment"
    approvals_required = models.PositiveSmallIntegerField(
        default=0,
        validators=[MaxValueValidator(MOST_APPROVALS, f"Must be at most {MOST_APPROVALS}.")],
        help_text=f"How many other people must approve a release into it: 0 to {MOST_APPROVALS}.",
    )
    frozen = models.BooleanField(
        default=False, help_text="A frozen environment takes rollbacks and switches, and refuses all other changes."
    )
    promotes_to = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Where a revision goes next. Example: from staging to production.",
    )

    class Meta(Catalogued.Meta):
        constraints = [
            models.CheckConstraint(
                condition=Q(approvals_required__lte=MOST_APPROVALS), name="environment_approvals_in_bounds"
            ),
            models.CheckConstraint(
                condition=Q(promotes_to=None) | ~Q(promotes_to=F("id")),
                name="environment_promotes_to_another",
                violation_error_message="An environment does not promote to itself; choose another one.",
            ),
        ]

    def document(self) -> dict[str, Any]:
        return {
            "slug": self.slug,
            "name": self.name,
            "approvals_required": self.approvals_required,
            "frozen": self.frozen,
            "promotes_to": self.promotes_to.slug if self.promotes_to else None,
        }


class Endpoint(models.Model):
    """(service, methods, route template), optionally named; in at most one policy."""

    kind = "endpoint"
    service = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="endpoints")
    name = models.CharField(
        max_length=100,
        blank=True,
        validators=[endpoint_name_format],
        help_text="The name that the service's decorator uses. Example: “reports.export”.",
    )
    methods = models.JSONField(
        default=list, blank=True, help_text="HTTP methods, such as GET or POST; none means all of them."
    )
    route = models.CharField(
        max_length=300,
        help_text="The route template as the service declares it. Example: “/reports/{report_id}/export”.",
    )
    canonical_route = models.CharField(max_length=300, editable=False)
    policy = models.ForeignKey(
        "policies.Policy", null=True, blank=True, on_delete=models.PROTECT, related_name="endpoints", editable=False
    )
    created_at = models.DateTimeField(auto_now_add=True, editable=False)

    class Meta:
        ordering = ["service__slug", "route", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["service", "name"],
                condition=~Q(name=""),
                name="endpoint_name_once_per_service",
                violation_error_message="Another endpoint of this service has this name.",
            ),
        ]
        indexes = [models.Index(fields=["service", "canonical_route"], name="endpoint_by_route")]

    def __str__(self) -> str:
        return f"{', '.join(self.methods) or 'ANY'} {self.route}"

    @property
    def label(self) -> str:
        return f"endpoint:{self.service.slug}:{self.pk}"

    def document(self) -> dict[str, Any]:
        return {
            "id": self.pk,
            "service": self.service.slug,
            "name": self.name,
            "methods": self.methods,
            "route": self.route,
            "policy": self.policy.reference if self.policy else None,
        }
