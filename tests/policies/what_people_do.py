"""Who there is, and what they could think of doing: from this a test at random chooses."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
STEPS = ({"rollout": 5, "hold": 3600}, {"rollout": 25, "hold": 7200}, {"rollout": 100, "hold": 0})
ITEMS = [
    {"text": "A colleague was told", "required": True, "stage": "before", "check": ""},
    {"text": "The chart was looked at", "required": True, "stage": "after", "check": ""},
]
ROLES = {
    "vera": {"staging": {"viewer"}, "production": {"viewer"}},
    "ed": {"staging": {"editor"}, "production": {"editor"}},
    "stan": {"staging": {"editor"}, "production": {"approver"}},
    "abe": {"staging": {"approver"}, "production": {"approver"}},
    "both": {"staging": {"editor", "approver"}, "production": {"editor", "approver"}},
    "root": {"staging": {"admin"}, "production": {"admin"}},
}
governors = st.sampled_from(["root", "root", "root", "both"])
editors = st.sampled_from(["both", "ed", "root", "both", "ed", "root", "both", "ed", "root", "stan", "vera"])
approvers = st.sampled_from(["abe", "abe", "root", "root", "both", "both", "stan", "ed", "vera"])
numbers = st.integers(0, 1000)
places = st.sampled_from(["production", "staging"])
some = st.sampled_from(["latest", "latest", "latest", "any"])
ends = st.sampled_from([None, None, 3, 30])
terms = st.one_of(
    st.fixed_dictionaries(
        {
            "mode": st.sampled_from(["enforce", "shadow"]),
            "rollout": st.sampled_from([100, 40]),
            "on_change": st.sampled_from(["keep", "keep", "reset"]),
            "expires_at": ends,
            "starts_at": st.sampled_from([None, None, 2]),
        }
    ),
    st.fixed_dictionaries(
        {"mode": st.just("enforce"), "steps": st.just(STEPS), "expires_at": ends.filter(lambda h: h != 3)}
    ),
    st.fixed_dictionaries(
        {"mode": st.just("shadow"), "role": st.just("candidate"), "starts_at": st.sampled_from([None, 2])}
    ),
)
ways = st.fixed_dictionaries(
    {
        "back": st.sampled_from([0, 0, 0, 1, 2]),
        "knows": st.sampled_from([True, True, True, False]),
        "checklist": st.sampled_from([False, False, True]),
        "glass": st.sampled_from(["", "", "", "emergency"]),
        "door": st.sampled_from(["rest", "rest", "import"]),
    }
)
"""How far back the revision lies, and whether somebody acknowledges what they have to."""


ACTS: dict[str, st.SearchStrategy[dict[str, Any]]] = {}
OFTEN: list[str] = []


def can(often: int = 1, /, **drawn: st.SearchStrategy[Any]) -> Callable[[Any], Any]:
    """One of the things that happen. Not rules of their own: of those Hypothesis leaves out many in each example."""

    def keep(method: Any) -> Any:
        ACTS[method.__name__] = st.fixed_dictionaries(drawn)
        OFTEN.extend([method.__name__] * often)
        return method

    return keep
