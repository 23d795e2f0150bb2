"""An override in words, for its own pages and those of its policy."""

from datetime import datetime

from django.utils.safestring import SafeString

from policies.admin import cells
from policies.lifecycle.overriding import overrides
from policies.models import Override, OverrideEffect

OPEN, ENDED, OVER = "open", "ended", "over"
TONES = {OverrideEffect.BLOCK: "bad", OverrideEffect.EXEMPT: "warn"}


def state_of(override: Override, now: datetime) -> str:
    """`open`, `ended` by a person, or `over` by itself."""
    if override.ended_at is not None and override.ended_by != overrides.BY_ITSELF:
        return ENDED
    return OPEN if override.until > now else OVER


def sentence(override: Override) -> str:
    """What an override does, in words."""
    which = f"the rule {override.rule}" if override.rule else "every rule that counts"
    what = {
        OverrideEffect.EXEMPT: f"is not limited by {which} of {override.policy}",
        OverrideEffect.BLOCK: f"is denied every call that {override.policy} covers",
        OverrideEffect.LIMIT: f"has the limit {override.limit or 0:,} from {which} of {override.policy}",
        OverrideEffect.RESET: f"starts anew with {which} of {override.policy}: what was used is forgotten",
    }[OverrideEffect(override.effect)]
    end = f"{override.until:%Y-%m-%d %H:%M} UTC"
    return f"The caller {override.caller} {what}, in {override.environment}, until {end}."


def pill(row: Override) -> SafeString:
    """The effect, with the number of another limit."""
    word = f"{row.effect} {row.limit:,}" if row.limit else row.effect
    return cells.pill(TONES.get(OverrideEffect(row.effect), "info"), word)
