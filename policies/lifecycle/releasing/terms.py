"""The terms of a release: how, when and for how many a revision goes live. They never change after the request."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from policies.lifecycle.refusals import Invalid
from policies.models import Environment, Mode, OnChange, PolicyScope, Release, Revision, Role
from policies.publishing import moments
from policy_client.jsontext import canonical_json

MOST_STEPS = 10
SHORTEST_HOLD = 60
LONGEST_HOLD = 30 * 24 * 3600
FURTHEST = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Step:
    """A share in percent, and for how many seconds it is held before the next step; the last one is held for ever."""

    rollout: int
    hold: int = 0

    def document(self) -> dict[str, int]:
        return {"rollout": self.rollout, "hold": self.hold}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an approval covers beside the revision and the environment. With `steps`, `rollout` is that of the first."""

    mode: str = Mode.SHADOW
    rollout: int = 100
    role: str = Role.ENFORCED
    on_change: str = OnChange.KEEP
    steps: tuple[Step, ...] = ()
    starts_at: datetime | None = None
    expires_at: datetime | None = None

    @classmethod
    def of(cls, release: Release) -> Self:
        """The terms of a release; its rollout is that of the step that holds."""
        return cls(
            mode=release.mode,
            rollout=release.rollout,
            role=release.role,
            on_change=release.on_change,
            steps=steps_of(release),
            starts_at=release.starts_at,
            expires_at=release.expires_at,
        )

    def columns(self) -> dict[str, Any]:
        """As a release keeps them."""
        return {
            "mode": self.mode,
            "rollout": self.rollout,
            "role": self.role,
            "on_change": self.on_change,
            "steps": [step.document() for step in self.steps],
            "starts_at": self.starts_at,
            "expires_at": self.expires_at,
        }

    def digest(self, revision: Revision, environment: Environment) -> str:
        """SHA-256 over all that an approval covers, in hex."""
        covered = {
            "policy": revision.policy.reference,
            "revision": revision.digest,
            "environment": environment.slug,
            **self.columns(),
            "starts_at": moments.written(self.starts_at) if self.starts_at else None,
            "expires_at": moments.written(self.expires_at) if self.expires_at else None,
        }
        return hashlib.sha256(canonical_json(covered).encode()).hexdigest()

    def is_said_by(self, live: Release) -> bool:
        """Whether what is live says the same already, whenever it was to begin."""
        steps = steps_of(live)
        # A share that goes on growing by itself is another one, even where it is the same for now.
        stays = live.rollout == self.rollout and live.step + 1 >= len(steps)
        same_share = steps == self.steps if self.steps else stays
        return (live.mode, live.expires_at) == (self.mode, self.expires_at) and same_share


def steps_of(release: Release) -> tuple[Step, ...]:
    return tuple(Step(step["rollout"], step["hold"]) for step in release.steps)


def read(
    *,
    mode: object,
    rollout: object,
    role: object,
    on_change: object,
    steps: Iterable[Step | Mapping[str, Any]],
    starts_at: datetime | None,
    expires_at: datetime | None,
    scope: str,
    now: datetime,
) -> Terms:
    """Terms that can be. Raises `Invalid` with every fault at its field."""
    errors: dict[str, list[str]] = {}
    for field, value, known in (("mode", mode, Mode), ("role", role, Role), ("on_change", on_change, OnChange)):
        if value not in known.values:
            errors[field] = [f"Must be one of: {', '.join(known.values)}."]
    if not _is_percent(rollout):
        errors["rollout"] = ["Must be a whole number of percent, 0 to 100."]
    read_steps = _steps(steps, errors)
    if read_steps and rollout != 100:
        errors["rollout"] = ["Leave it out where there are steps: they say it."]
    if read_steps and mode == Mode.SHADOW and scope != PolicyScope.ORGANISATION:
        errors["steps"] = ["Steps are for enforcing: in shadow nobody is denied, so release it for all at once."]
    if role == Role.CANDIDATE:
        errors |= _faults_of_a_candidate(mode, rollout, on_change, bool(read_steps))
    errors |= _faults_in_time(starts_at, expires_at, read_steps, now)
    if errors:
        raise Invalid(errors)
    return Terms(
        mode=str(mode),
        rollout=read_steps[0].rollout if read_steps else int(str(rollout)),
        role=str(role),
        on_change=str(on_change),
        steps=read_steps,
        starts_at=starts_at,
        expires_at=expires_at,
    )


def _is_percent(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 100


def _steps(raw: Iterable[Step | Mapping[str, Any]], errors: dict[str, list[str]]) -> tuple[Step, ...]:
    """From 5 over 25 to 100 percent, say; a fault at `steps.N`."""
    told = [step.document() if isinstance(step, Step) else step for step in raw]
    if not told:
        return ()
    if not 2 <= len(told) <= MOST_STEPS:
        errors["steps"] = [f"Must be 2 to {MOST_STEPS} steps; without steps it goes live for all at once."]
        return ()
    found: list[Step] = []
    for index, item in enumerate(told):
        path, last = f"steps.{index}", index == len(told) - 1
        rollout, hold = item.get("rollout"), item.get("hold", 0)
        if not _is_percent(rollout) or (found and int(str(rollout)) <= found[-1].rollout):
            errors[f"{path}.rollout"] = ["Must be a whole number of percent, 0 to 100, larger than the one before."]
        elif last and rollout != 100:
            errors[f"{path}.rollout"] = ["The last step must be 100."]
        elif not isinstance(hold, int) or isinstance(hold, bool):
            errors[f"{path}.hold"] = ["Must be a whole number of seconds."]
        elif last and hold:
            errors[f"{path}.hold"] = ["The last step is held for ever: leave it 0."]
        elif not last and not SHORTEST_HOLD <= hold <= LONGEST_HOLD:
            errors[f"{path}.hold"] = [f"Must be {SHORTEST_HOLD} to {LONGEST_HOLD} seconds."]
        else:
            found.append(Step(int(str(rollout)), hold))
    return tuple(found)


def _faults_of_a_candidate(mode: object, rollout: object, on_change: object, steps: bool) -> dict[str, list[str]]:
    errors: dict[str, list[str]] = {}
    if mode == Mode.ENFORCE:
        errors["mode"] = ["A candidate is only tried beside what is enforced: its mode is shadow."]
    if rollout != 100 or steps:
        errors["rollout"] = ["A candidate is decided on every call: leave it 100, without steps."]
    if on_change != OnChange.KEEP:
        errors["on_change"] = ["A candidate has counters of its own: leave it keep."]
    return errors


def _faults_in_time(
    starts_at: datetime | None, expires_at: datetime | None, steps: tuple[Step, ...], now: datetime
) -> dict[str, list[str]]:
    errors: dict[str, list[str]] = {}
    for field, at in (("starts_at", starts_at), ("expires_at", expires_at)):
        if at is None:
            continue
        if fault := moments.fault_in_end(at, now):
            errors[field] = [fault]
        elif at - now > FURTHEST:
            errors[field] = [f"Must lie within {FURTHEST.days} days."]
    if errors or expires_at is None:
        return errors
    begins = starts_at or now
    if expires_at <= begins:
        return {"expires_at": ["Must be later than it starts."]}
    if expires_at - begins <= timedelta(seconds=sum(step.hold for step in steps)):
        return {"expires_at": ["Must be later than the last step."]}
    return {}


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_WRITTEN_STEP = re.compile(r"([0-9]{1,3})\s*%?(?:\s*(?::|for)\s*([0-9]{1,7})\s*([smhd]))?", re.ASCII)


def read_steps(text: str) -> tuple[Step, ...]:
    """Steps as people write them: `5:1h, 25:1d, 100`, a share in percent and how long it is held. Raises `Invalid`."""
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        written = _WRITTEN_STEP.fullmatch(part)
        if written is None:
            raise Invalid({"steps": [f"“{part:.30}” is no step; write them like 5:1h, 25:1d, 100 (s, m, h or d)."]})
        share, count, unit = written.groups()
        found.append(Step(int(share), int(count) * _UNITS[unit] if count else 0))
    return tuple(found)
