"""What the database itself refuses of releases: going live past the approvals asked for, and changed terms.

The verbs in `policies.lifecycle` ask the same questions first, and answer in sentences. These triggers are for whoever
comes by another way: a shell, a script, a form that saves the row directly.

They name columns and tables, which SQLite checks whenever a table is renamed: they are taken down before migrations,
and put up again after them.
"""

TABLE = "policies_release"
READS = {"policies_approval", "policies_environment"}

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
    "terms",
    "reason",
    "requested_by",
    "break_glass",
    "restores_id",
    "rolled_back_from_id",
)
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
    )
"""
_NO_ROLLBACK = """
    NEW.rolled_back_from_id IS NOT NULL AND NEW.revision_id IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM policies_release earlier
        WHERE earlier.id = NEW.restores_id AND earlier.policy_id = NEW.policy_id
            AND earlier.environment_id = NEW.environment_id AND earlier.revision_id = NEW.revision_id
            AND earlier.released_at IS NOT NULL AND earlier.state <> 'rolled_back'
    )
"""
_UNAPPROVED = "a release goes live through its approvals, or as a rollback to what was live"
_CHANGED = "the terms of a release never change: another value is a new request"


def _sqlite() -> dict[str, str]:
    changed = " OR ".join(f"OLD.{column} IS NOT NEW.{column}" for column in _NEVER_CHANGES)
    share = _SHARE_AT_STEP["sqlite"]
    closed = f"({_APPROVED_TOO_LITTLE}) OR ({_NO_ROLLBACK})"
    return {
        f"{TABLE}_terms": (
            f'CREATE TRIGGER "{TABLE}_terms" BEFORE UPDATE ON "{TABLE}" '
            f"WHEN {changed} OR (OLD.rollout <> NEW.rollout AND NEW.rollout IS NOT {share}) "
            f"BEGIN SELECT RAISE(ABORT, '{_CHANGED}'); END"
        ),
        f"{TABLE}_live_insert": (
            f'CREATE TRIGGER "{TABLE}_live_insert" BEFORE INSERT ON "{TABLE}" '
            f"WHEN NEW.state = 'live' AND ({closed}) BEGIN SELECT RAISE(ABORT, '{_UNAPPROVED}'); END"
        ),
        f"{TABLE}_live_update": (
            f'CREATE TRIGGER "{TABLE}_live_update" BEFORE UPDATE ON "{TABLE}" '
            f"WHEN NEW.state = 'live' AND OLD.state <> 'live' AND ({closed}) "
            f"BEGIN SELECT RAISE(ABORT, '{_UNAPPROVED}'); END"
        ),
    }


def _postgresql() -> dict[str, str]:
    return {
        f"{TABLE}_guard": (
            f'CREATE TRIGGER "{TABLE}_guard" BEFORE INSERT OR UPDATE ON "{TABLE}" '
            "FOR EACH ROW EXECUTE FUNCTION policies_guard_release()"
        )
    }


def _function() -> str:
    changed = " OR ".join(f"OLD.{column} IS DISTINCT FROM NEW.{column}" for column in _NEVER_CHANGES)
    share = _SHARE_AT_STEP["postgresql"]
    return f"""
CREATE OR REPLACE FUNCTION policies_guard_release() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF {changed} OR (OLD.rollout <> NEW.rollout AND NEW.rollout IS DISTINCT FROM {share}) THEN
            RAISE EXCEPTION '{_CHANGED}' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        IF OLD.state = 'live' THEN
            RETURN NEW;
        END IF;
    END IF;
    IF NEW.state = 'live' AND (({_APPROVED_TOO_LITTLE}) OR ({_NO_ROLLBACK})) THEN
        RAISE EXCEPTION '{_UNAPPROVED}' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$
"""


TRIGGERS = {"sqlite": _sqlite(), "postgresql": _postgresql()}
FUNCTION = _function()
