"""The documentation score of a policy: 0 to 100, each missing point with its reason and what to do about it.

It is a word of advice and stops nothing. It judges the newest revision and what became of it; docs/decisions/
documentation-score.md says why it counts what. Pure: `documentation_facts` finds out what it is told.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from policy_client.examples import MAX_REPEAT
from policy_client.rules.wording import listed

NOTE_AFTER = timedelta(days=1)
SWITCH_OPEN_LONG = timedelta(days=7)
OVERRIDE_OPEN_LONG = timedelta(days=30)
FEWEST_LETTERS = 10
FEWEST_DIFFERENT_LETTERS = 5


class Code(StrEnum):
    REVIEW_OVERDUE = "review_overdue"
    NO_EXAMPLE = "no_example"
    NO_DENIED_EXAMPLE = "no_denied_example"
    ROLLBACK_WITHOUT_COMMAND = "rollback_without_command"
    BASELINE_THIN = "baseline_thin"
    EXPECTED_THIN = "expected_thin"
    OWNER_UNREACHABLE = "owner_unreachable"
    REASON_THIN = "reason_thin"
    NO_TICKET = "no_ticket"
    LEFT_OPEN = "left_open"
    NO_LABELS = "no_labels"
    NO_FINAL_NOTE = "no_final_note"


# What each costs. `NO_DENIED_EXAMPLE` is never beside `NO_EXAMPLE`, `BASELINE_THIN` is for each of four fields; so
# what lacks everything has 0.
POINTS = {
    Code.REVIEW_OVERDUE: 15,
    Code.NO_EXAMPLE: 15,
    Code.NO_DENIED_EXAMPLE: 6,
    Code.ROLLBACK_WITHOUT_COMMAND: 12,
    Code.BASELINE_THIN: 4,
    Code.EXPECTED_THIN: 10,
    Code.OWNER_UNREACHABLE: 10,
    Code.REASON_THIN: 8,
    Code.NO_TICKET: 4,
    Code.LEFT_OPEN: 4,
    Code.NO_LABELS: 3,
    Code.NO_FINAL_NOTE: 3,
}
_BASELINE = {
    "route": "route",
    "expected_input": "expected input",
    "slow_part": "slow part",
    "noticed_at": "where it is noticed",
}
_MARKS = re.compile(r"\b(?:TODO|TBD|TBA|FIXME|XXX)\b")
_EMPTY_WORDS = re.compile(
    r"to be (?:done|defined|determined|decided|written|described|announced)|not (?:applicable|available|known)(?: yet)?"
    r"|(?:same as|see) (?:above|below|before|the ticket)|fill (?:this )?in(?: later)?|work in progress|coming soon"
    r"|lorem ipsum.*|placeholder(?: text)?|no comment"
)
_PATH = re.compile(r"(?:^|[\s“\"'`])/")
_COMMAND = re.compile(
    r"`[^`]+`|/api/v1/|(?:^|\s)--[a-z]|\b(?:manage\.py|rollback(?:_bundle)?|curl|kubectl|helm|ansible|terraform"
    r"|systemctl|docker|podman|git revert|psql|redis-cli)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a policy. `due` is when its review is due (None: never); the others are since when something
    has been open: a switch, an override, the final note of what is live.
    """

    content: Mapping[str, Any]
    reason: str
    owner: str
    owner_email: str
    owner_archived: bool
    due: datetime | None = None
    switched: datetime | None = None
    overridden: datetime | None = None
    unnoted: datetime | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """Why points are missing, and what to do."""

    code: Code
    text: str
    points: int


@dataclass(frozen=True, slots=True)
class Score:
    """`reasons` are sorted, the most expensive first."""

    reasons: tuple[Reason, ...]

    @property
    def value(self) -> int:
        """0 to 100."""
        return 100 - sum(reason.points for reason in self.reasons)

    @property
    def tone(self) -> str:
        """The colour in which it is shown."""
        return "ok" if self.value >= 80 else "warn" if self.value >= 50 else "bad"


def judge(facts: Facts, now: datetime) -> Score:
    """What is missing in the documentation of a policy."""
    found = [*_of_examples(facts), *_of_words(facts), *_of_finding(facts), *_of_its_life(facts, now)]
    return Score(tuple(sorted(found, key=lambda reason: -reason.points)))


def thin(text: str) -> bool:
    """Whether a text is so short, or such a stopgap, that it tells nobody anything."""
    if _MARKS.search(text) or _EMPTY_WORDS.fullmatch(_plain(text)):
        return True
    letters = [letter for letter in text.casefold() if letter.isalnum()]
    return len(letters) < FEWEST_LETTERS or len(set(letters)) < FEWEST_DIFFERENT_LETTERS


def names_a_command(note: str) -> bool:
    """Whether a rollback note says what to type."""
    return _COMMAND.search(note) is not None


def _because(code: Code, text: str, times: int = 1) -> Reason:
    return Reason(code, text, POINTS[code] * times)


def _of_examples(facts: Facts) -> Iterator[Reason]:
    examples = facts.content.get("examples", [])
    if not examples:
        text = "It has no example: say of one request that it is allowed, and of one that it is denied."
        yield _because(Code.NO_EXAMPLE, text)
    elif _denies(facts.content["rules"]) and all(example["expect"]["outcome"] != "deny" for example in examples):
        yield _because(Code.NO_DENIED_EXAMPLE, "No example is denied: add one that shows what the rules keep out.")


def _denies(rules: list[Mapping[str, Any]]) -> bool:
    """Whether a rule could deny a call as it comes in, and an example can have so many; a deadline only ends one that
    is under way."""
    return any(rule["kind"] != "deadline" and rule.get("enabled", True) and _within_reach(rule) for rule in rules)


def _within_reach(rule: Mapping[str, Any]) -> bool:
    """Whether an example has calls enough to use up what the rule allows."""
    most = rule.get("limit")
    if rule.get("algorithm", "token_bucket") == "token_bucket":
        most = rule.get("burst") or most
    return most is None or most // (rule.get("cost") or 1) < MAX_REPEAT


def _of_words(facts: Facts) -> Iterator[Reason]:
    note, baseline = facts.content["rollback_note"], facts.content["baseline"]
    if not names_a_command(note):
        text = (
            "The rollback note names no command: write what to type, such as “manage.py rollback POL-0042 production”."
        )
        yield _because(Code.ROLLBACK_WITHOUT_COMMAND, text)
    lacking = [words for field, words in _BASELINE.items() if _baseline_thin(field, baseline[field])]
    if lacking:
        text = f"The baseline says too little ({listed(lacking)}): write what somebody new needs to know."
        yield _because(Code.BASELINE_THIN, text, len(lacking))
    expected = facts.content["expected_result"]["text"]
    if thin(expected):
        text = "The expected result says too little: write what a colleague should see afterwards."
        yield _because(Code.EXPECTED_THIN, text)
    elif _plain(expected) in {_plain(other) for other in (*baseline.values(), note, facts.reason)}:
        text = "The expected result only repeats another field: write what a colleague should see afterwards."
        yield _because(Code.EXPECTED_THIN, text)
    if thin(facts.reason):
        text = "The reason of the newest revision says too little: with the next change, say why in a sentence."
        yield _because(Code.REASON_THIN, text)


def _of_finding(facts: Facts) -> Iterator[Reason]:
    if facts.owner_archived:
        yield _because(Code.OWNER_UNREACHABLE, f"The team {facts.owner} was archived: name an owner that exists.")
    elif "@" not in facts.owner_email:
        text = f"The team {facts.owner} has no e-mail address, so nobody is told about this policy: give it one."
        yield _because(Code.OWNER_UNREACHABLE, text)
    if not facts.content.get("ticket"):
        yield _because(Code.NO_TICKET, "It links to no ticket: add the link to where this was talked about.")
    if not facts.content.get("labels"):
        yield _because(Code.NO_LABELS, "It has no labels: add words by which it is found among many.")


def _of_its_life(facts: Facts, now: datetime) -> Iterator[Reason]:
    if facts.due is not None and facts.due <= now:
        text = f"Its review is due since {facts.due:%d %b %Y}: look whether it is still right, and confirm the review."
        yield _because(Code.REVIEW_OVERDUE, text)
    if facts.switched is not None and facts.switched <= now - SWITCH_OPEN_LONG:
        text = f"A switch is set since {facts.switched:%d %b %Y}: clear it, and change the policy if it has to stay so."
        yield _because(Code.LEFT_OPEN, text)
    elif facts.overridden is not None and facts.overridden <= now - OVERRIDE_OPEN_LONG:
        text = f"An override is open since {facts.overridden:%d %b %Y}: end it, or make a rule of what it allows."
        yield _because(Code.LEFT_OPEN, text)
    if facts.unnoted is not None and facts.unnoted <= now - NOTE_AFTER:
        yield _because(
            Code.NO_FINAL_NOTE, "What is live has no final note yet: confirm the draft on its release's page."
        )


def _baseline_thin(field: str, text: str) -> bool:
    """A route may be short: `GET /x` says everything."""
    if field == "route" and _PATH.search(text):
        return _MARKS.search(text) is not None
    return thin(text)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .!…-")
