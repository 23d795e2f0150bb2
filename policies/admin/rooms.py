"""Every page of the admin: importing this registers them (`console.apps.ConsoleAdminConfig` does, at start)."""

from policies.admin import (
    access,
    audit,
    catalog,
    checklists,
    grants,
    instances,
    jobs,
    overrides,
    people,
    policies,
    releases,
    switches,
)

__all__ = [
    "access",
    "audit",
    "catalog",
    "checklists",
    "grants",
    "instances",
    "jobs",
    "overrides",
    "people",
    "policies",
    "releases",
    "switches",
]
