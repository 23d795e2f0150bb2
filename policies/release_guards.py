"""What the database itself refuses of releases: going live past the approvals asked for, changed terms, and an end that
is none. Of approvals: to take one back in another way than by saying that it is void.

The verbs in `policies.lifecycle` ask the same questions first, and answer in sentences. These triggers are for whoever
comes by another way: a shell, a script, a form that saves the row directly.

They name columns and tables, which SQLite checks whenever a table is renamed: they are taken down before migrations,
and put up again after them.
"""

TABLE = "policies_release"
APPROVALS = "policies_approval"
READS = {APPROVALS, "policies_environment", "policies_revision"}

_NEVER_CHANGES = (
    "policy_id",
    "environment_id",
    "revision_id",
    "mode",
    "role",
    "on_change",
    "steps",
    "starts_at",
    "expires_at",
    "checklist",
    "terms",
    "acknowledged",
    "evidence",
    "reason",
    "requested_by",
    "requested_at",
    "break_glass",
    "restores_id",
    "rolled_back_from_id",
)
_NEVER_CHANGES_ONCE_ENDED = (
    "state",
    "rollout",
    "step",
    "stepped_at",
    "halted",
    "counter_epoch",
    "replaces_id",
    "released_by",
    "released_at",
    "ended_at",
    "bundle_version",
)
_NEVER_CHANGES_OF_APPROVALS = ("release_id", "person", "verdict", "comment", "terms", "at")
_HAS_ENDED = "OLD.state IN ('superseded', 'rolled_back', 'expired', 'rejected', 'cancelled')"
_SHARE_AT_STEP = {
    "sqlite": "json_extract(NEW.steps, '$[' || NEW.step || '].rollout')",
    "postgresql": "((NEW.steps -> NEW.step::int) ->> 'rollout')::int",
}
_APPROVED_TOO_LITTLE = """
    NEW.rolled_back_from_id IS NULL AND NEW.break_glass = ''
    AND (SELECT approvals_required FROM policies_environment WHERE id = NEW.environment_id) > (
        SELECT COUNT(*) FROM policies_approval
        WHERE release_id = NEW.id AND verdict = 'approve' AND voided_at IS NULL AND terms = NEW.terms
            AND person <> NEW.requested_by
            AND person <> (SELECT author FROM policies_revision WHERE id = NEW.revision_id)
    )
"""
_SAME_PLACE = "{0}.policy_id = NEW.policy_id AND {0}.environment_id = NEW.environment_id AND {0}.role = NEW.role"
_NO_ROLLBACK = f"""
    NEW.rolled_back_from_id IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM policies_release gone
        WHERE gone.id = NEW.rolled_back_from_id AND {_SAME_PLACE.format("gone")}
            AND gone.state IN ('rolled_back', 'expired')
            AND (NEW.revision_id IS NULL OR EXISTS (
                SELECT 1 FROM policies_release earlier
                WHERE earlier.id = NEW.restores_id AND {_SAME_PLACE.format("earlier")}
                    AND earlier.revision_id = NEW.revision_id AND earlier.mode = NEW.mode
                    AND earlier.rollout = NEW.rollout AND earlier.released_at IS NOT NULL
                    AND earlier.state <> 'rolled_back' AND earlier.bundle_version < gone.bundle_version
            ))
    )
"""
_UNAPPROVED = "a release goes live through its approvals, or as a rollback to what was live"
_CHANGED = "the terms of a release never change: another value is a new request"
_ENDED = "a release that has ended never changes: ask for a new one"
_STAYS = "a release is never deleted: it stands in the history"
_GIVEN = "an approval is never changed or deleted, only void"


def _differs(columns: tuple[str, ...], unlike: str) -> str:
    return " OR ".join(f"OLD.{column} {unlike} NEW.{column}" for column in columns)


def _sqlite() -> dict[str, tuple[str, str]]:
    changed, share = _differs(_NEVER_CHANGES, "IS NOT"), _SHARE_AT_STEP["sqlite"]
    ended = f"{_HAS_ENDED} AND ({_differs(_NEVER_CHANGES_ONCE_ENDED, 'IS NOT')})"
    closed = f"({_APPROVED_TOO_LITTLE}) OR ({_NO_ROLLBACK})"
    approval = f"OLD.voided_at IS NOT NULL OR ({_differs(_NEVER_CHANGES_OF_APPROVALS, 'IS NOT')})"
    # REPLACE deletes the row that is in its way without firing its triggers.
    replaced = (
        f"EXISTS (SELECT 1 FROM {TABLE} old WHERE old.id = NEW.id OR "
        f"(NEW.state = 'live' AND old.state = 'live' AND {_SAME_PLACE.format('old')}))"
    )
    replaced_approval = (
        f"EXISTS (SELECT 1 FROM {APPROVALS} old WHERE old.id = NEW.id OR (old.release_id = NEW.release_id "
        "AND old.person = NEW.person AND old.voided_at IS NULL AND NEW.voided_at IS NULL))"
    )
    rules = (
        (
            TABLE,
            "terms",
            "UPDATE",
            f"{changed} OR (OLD.rollout <> NEW.rollout AND NEW.rollout IS NOT {share})",
            _CHANGED,
        ),
        (TABLE, "ended", "UPDATE", ended, _ENDED),
        (TABLE, "live_insert", "INSERT", f"NEW.state = 'live' AND ({closed})", _UNAPPROVED),
        (TABLE, "live_update", "UPDATE", f"NEW.state = 'live' AND OLD.state <> 'live' AND ({closed})", _UNAPPROVED),
        (TABLE, "no_replace", "INSERT", replaced, _STAYS),
        (TABLE, "no_delete", "DELETE", "TRUE", _STAYS),
        (APPROVALS, "no_change", "UPDATE", approval, _GIVEN),
        (APPROVALS, "no_replace", "INSERT", replaced_approval, _GIVEN),
        (APPROVALS, "no_delete", "DELETE", "TRUE", _GIVEN),
    )
    return {
        f"{table}_{name}": (
            table,
            f'CREATE TRIGGER "{table}_{name}" BEFORE {act} ON "{table}" WHEN {when} '
            f"BEGIN SELECT RAISE(ABORT, '{message}'); END",
        )
        for table, name, act, when, message in rules
    }


def _postgresql() -> dict[str, tuple[str, str]]:
    functions = {TABLE: "policies_guard_release", APPROVALS: "policies_guard_approval"}
    return {
        f"{table}_guard": (
            table,
            f'CREATE TRIGGER "{table}_guard" BEFORE INSERT OR UPDATE OR DELETE ON "{table}" '
            f"FOR EACH ROW EXECUTE FUNCTION {function}()",
        )
        for table, function in functions.items()
    }


def _raise(message: str) -> str:
    return f"RAISE EXCEPTION '{message}' USING ERRCODE = 'integrity_constraint_violation';"


def _functions() -> str:
    changed, share = _differs(_NEVER_CHANGES, "IS DISTINCT FROM"), _SHARE_AT_STEP["postgresql"]
    ended = _differs(_NEVER_CHANGES_ONCE_ENDED, "IS DISTINCT FROM")
    approval = _differs(_NEVER_CHANGES_OF_APPROVALS, "IS DISTINCT FROM")
    return f"""
CREATE OR REPLACE FUNCTION policies_guard_release() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        {_raise(_STAYS)}
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF {changed} OR (OLD.rollout <> NEW.rollout AND NEW.rollout IS DISTINCT FROM {share}) THEN
            {_raise(_CHANGED)}
        END IF;
        IF {_HAS_ENDED} AND ({ended}) THEN
            {_raise(_ENDED)}
        END IF;
        IF OLD.state = 'live' THEN
            RETURN NEW;
        END IF;
    END IF;
    IF NEW.state = 'live' AND (({_APPROVED_TOO_LITTLE}) OR ({_NO_ROLLBACK})) THEN
        {_raise(_UNAPPROVED)}
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE FUNCTION policies_guard_approval() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        {_raise(_GIVEN)}
    END IF;
    IF TG_OP = 'UPDATE' AND (OLD.voided_at IS NOT NULL OR {approval}) THEN
        {_raise(_GIVEN)}
    END IF;
    RETURN NEW;
END $$
"""


TRIGGERS = {"sqlite": _sqlite(), "postgresql": _postgresql()}
FUNCTIONS = _functions()
