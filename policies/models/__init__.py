"""The facts: rows that verbs in `policies.lifecycle` write and everything else reads."""

from policies.models.access import ApiToken, Scope, ServiceKey
from policies.models.audit import AuditEvent, AuditHead
from policies.models.catalog import Endpoint, Environment, Service, Team
from policies.models.policy import Direction, Metric, Policy, PolicyScope, Revision
from policies.models.publication import Publication
from policies.models.release import Effect, Mode, OnChange, Release, ReleaseState, Role, Switch
from policies.models.telemetry import Instance, RuleCount, TelemetryBatch

__all__ = [
    "ApiToken",
    "AuditEvent",
    "AuditHead",
    "Direction",
    "Effect",
    "Endpoint",
    "Environment",
    "Instance",
    "Metric",
    "Mode",
    "OnChange",
    "Policy",
    "PolicyScope",
    "Publication",
    "Release",
    "ReleaseState",
    "Revision",
    "Role",
    "RuleCount",
    "Scope",
    "Service",
    "ServiceKey",
    "Switch",
    "Team",
    "TelemetryBatch",
]
