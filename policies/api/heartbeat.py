"""Reading a report of telemetry: strict about what it knows, blind to what newer clients add."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from policies.api.fields import read_moment
from policies.api.problems import invalid
from policies.lifecycle.heartbeats import Count, Heartbeat
from policies.models import Role
from policy_client.jsontext import canonical_json

MOST_COUNTS = 5000
LARGEST_COUNT = 10**12
LARGEST_VERSION = 2**53
LARGEST_ERROR = 8_000
OLDEST = timedelta(days=31)
AHEAD = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Reader:
    """Reads fields of one object and gathers what is wrong with them."""

    def __init__(self, data: Mapping[str, Any], errors: dict[str, list[str]], path: str = "") -> None:
        self.data = data
        self.errors = errors
        self.path = path

    def fault(self, name: str, message: str) -> None:
        self.errors.setdefault(f"{self.path}{name}", []).append(message)

    def text(self, name: str, longest: int, *, required: bool = False) -> str:
        value = self.data.get(name, None if required else "")
        if not isinstance(value, str) or (required and not value.strip()):
            self.fault(name, "Must be text." if name in self.data else "This field is required.")
        elif len(value) > longest:
            self.fault(name, f"Must be at most {longest} characters long.")
        else:
            return value
        return ""

    def whole(self, name: str, largest: int) -> int:
        value = self.data.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= largest:
            self.fault(name, f"Must be a whole number from 0 to {largest:,}.")
            return 0
        return value

    def moment(self, name: str) -> datetime | None:
        at = read_moment(self.data.get(name))
        if at is None:
            self.fault(name, "Must be a time in UTC, such as 2026-11-22T10:00:00Z.")
        return at


def read_heartbeat(data: Mapping[str, Any], *, now: datetime) -> Heartbeat:
    """The report, or `Problem` 400 with every fault at its field."""
    errors: dict[str, list[str]] = {}
    reader = _Reader(data, errors)
    report = Heartbeat(
        batch_id=reader.text("batch_id", 64, required=True),
        instance=reader.text("instance", 200, required=True),
        client_version=reader.text("client_version", 40),
        framework=reader.text("framework", 60),
        active_version=reader.whole("active_version", LARGEST_VERSION)
        if data.get("active_version") is not None
        else None,
        last_success=reader.moment("last_success") if data.get("last_success") is not None else None,
        error=_error(reader),
        counts=_counts(reader, now),
    )
    if errors:
        raise invalid(errors)
    return report


def _error(reader: _Reader) -> Mapping[str, Any] | None:
    error = reader.data.get("error")
    if error is None:
        return None
    if not isinstance(error, Mapping):
        reader.fault("error", "Must be an object with code and message, or null.")
        return None
    if len(canonical_json(error)) <= LARGEST_ERROR:
        return error
    # A process that is in trouble must not fall silent because it has much to say about it.
    return {name: str(error.get(name, ""))[:2000] for name in ("code", "message")}


def _counts(reader: _Reader, now: datetime) -> tuple[Count, ...]:
    counts = reader.data.get("counts", [])
    if not isinstance(counts, list):
        reader.fault("counts", "Must be a list.")
        return ()
    if len(counts) > MOST_COUNTS:
        reader.fault("counts", f"Must have at most {MOST_COUNTS:,} entries; send the rest as another batch.")
        return ()
    return tuple(_count(item, f"counts.{index}", reader.errors, now) for index, item in enumerate(counts))


def _count(item: Any, path: str, errors: dict[str, list[str]], now: datetime) -> Count:
    reader = _Reader(item if isinstance(item, Mapping) else {}, errors, f"{path}.")
    if not isinstance(item, Mapping):
        errors[path] = ["Must be an object."]
        reader.errors = {}
    return Count(
        policy=reader.text("policy", 16, required=True),
        rule="" if reader.data.get("rule") is None else reader.text("rule", 63, required=True),
        role=_role(reader),
        minute=_minute(reader, now),
        allowed=reader.whole("allowed", LARGEST_COUNT),
        denied=reader.whole("denied", LARGEST_COUNT),
        would_deny=reader.whole("would_deny", LARGEST_COUNT),
    )


def _role(reader: _Reader) -> str:
    role = reader.data.get("role", Role.ENFORCED.value)
    if role in Role.values:
        return str(role)
    reader.fault("role", f"Must be one of: {', '.join(Role.values)}.")
    return Role.ENFORCED.value


def _minute(reader: _Reader, now: datetime) -> datetime:
    at = reader.moment("minute")
    if at is None:
        return _EPOCH
    if at.second or at.microsecond:
        reader.fault("minute", "Must be the start of a minute.")
    if not now - OLDEST <= at <= now + AHEAD:
        reader.fault("minute", f"Must lie within the last {OLDEST.days} days.")
    return at
