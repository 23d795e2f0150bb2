"""Two changes of one content: what only one made is kept of both, what both made is told."""

import copy
import json
from typing import Any

import pytest

from policies.lifecycle.editing import content
from policies.lifecycle.editing.merging import merged
from tests.policies.factories import Catalogue, draft, endpoint, rate_limit

QUOTA = {"kind": "quota", "name": "monthly", "key": ["tenant"], "limit": 100, "period": "month"}
EXAMPLE = {"request": {"method": "POST", "path": "/reports/7/export", "user": "1"}, "expect": {"outcome": "allow"}}
CHANGES: list[dict[str, Any]] = [
    {"name": "other"},
    {"owner": "team-shop"},
    {"rollback_note": "Ask Data."},
    {"labels": ["month-end"], "ticket": "https://tickets.example.com/7", "review_days": 30},
    {"endpoints": [endpoint("/reports/{report_id}/export"), endpoint("/reports")]},
    {"examples": [EXAMPLE]},
    {"baseline": {**draft()["baseline"], "slow_part": "The join."}},
    {"expected_result": {**draft()["expected_result"], "threshold": 700}},
    {"rules": [rate_limit(limit=20)]},
    {"rules": [rate_limit(), QUOTA]},
    {"rules": [QUOTA]},
]


def kept(**changes: Any) -> dict[str, Any]:
    """As a revision keeps it."""
    document: dict[str, Any] = json.loads(content.read(draft(**copy.deepcopy(changes))).text)
    return document


def said(document: dict[str, Any]) -> str:
    return content.read(document).text


@pytest.mark.parametrize("changes", CHANGES)
def test_a_change_that_only_one_of_them_made_is_kept(catalogue: Catalogue, changes: dict[str, Any]) -> None:
    seen, changed = kept(), kept(**changes)
    for mine, theirs in ((changed, seen), (seen, changed), (changed, changed)):
        done = merged(seen, mine, theirs)
        assert (done.content, done.clashes) == (changed, ())


def test_changes_of_different_things_are_both_kept(catalogue: Catalogue) -> None:
    seen = kept(rules=[rate_limit(burst=5), QUOTA], labels=["a", "b"])
    mine = kept(rules=[rate_limit(burst=5, limit=20), QUOTA], labels=["a", "b", "c"], rollback_note="Ask Data.")
    both_rules = [rate_limit(burst=5, window=60), {**QUOTA, "limit": 50}]
    theirs = kept(rules=both_rules, labels=["b", "d"], owner="team-shop")
    done = merged(seen, mine, theirs)
    assert done.clashes == ()
    assert done.content["labels"] == ["b", "c", "d"]
    assert (done.content["rollback_note"], done.content["owner"]) == ("Ask Data.", "team-shop")
    limit, quota = done.content["rules"]
    assert (limit["limit"], limit["window"], quota["limit"]) == (20, 60, 50)


def test_where_both_changed_the_same_mine_stands_and_is_told(catalogue: Catalogue) -> None:
    seen = kept(rules=[rate_limit(burst=5), QUOTA])
    mine = kept(rules=[rate_limit(burst=5, limit=20)], rollback_note="Mine.")
    theirs = kept(rules=[rate_limit(burst=5, limit=99), {**QUOTA, "limit": 50}], rollback_note="Theirs.")
    done = merged(seen, mine, theirs)
    assert done.clashes == ("rollback note", "rate limit per-user: limit", "quota monthly")
    assert said(done.content) == said(mine)
