"""The facts: rows that verbs in `policies.lifecycle` write and everything else reads."""

from policies.models.access import ApiToken, Grant, GrantRole, Scope, ServiceKey
from policies.models.audit import AuditEvent, AuditHead
from policies.models.catalog import MOST_APPROVALS, Endpoint, Environment, Service, Team
from policies.models.checklist import Check, ChecklistItem, ChecklistTemplate, CheckReport, Stage
from policies.models.jobs import JobRun, Notice, RunOutcome
from policies.models.override import Override, OverrideEffect
from policies.models.policy import Direction, Metric, Policy, PolicyScope, Revision
from policies.models.publication import Publication
from policies.models.release import (
    NEVER_LIVE,
    PENDING,
    Approval,
    BreakGlass,
    Gate,
    GateName,
    GateOutcome,
    Hold,
    Mode,
    OnChange,
    Release,
    ReleaseState,
    Role,
    Verdict,
)
from policies.models.switch import Effect, Switch
from policies.models.telemetry import Instance, RuleCount, TelemetryBatch

__all__ = [
    "MOST_APPROVALS",
    "NEVER_LIVE",
    "PENDING",
    "ApiToken",
    "Approval",
    "AuditEvent",
    "AuditHead",
    "BreakGlass",
    "Check",
    "CheckReport",
    "ChecklistItem",
    "ChecklistTemplate",
    "Direction",
    "Effect",
    "Endpoint",
    "Environment",
    "Gate",
    "GateName",
    "GateOutcome",
    "Grant",
    "GrantRole",
    "Hold",
    "Instance",
    "JobRun",
    "Metric",
    "Mode",
    "Notice",
    "OnChange",
    "Override",
    "OverrideEffect",
    "Policy",
    "PolicyScope",
    "Publication",
    "Release",
    "ReleaseState",
    "Revision",
    "Role",
    "RuleCount",
    "RunOutcome",
    "Scope",
    "Service",
    "ServiceKey",
    "Stage",
    "Switch",
    "Team",
    "TelemetryBatch",
    "Verdict",
]
