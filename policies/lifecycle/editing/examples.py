"""The examples of a policy: read with its content, and run at every save."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from policy_client.bundle import Endpoint, Policy
from policy_client.errors import Refused
from policy_client.examples import Example, Failure, parse_examples, run_examples
from policy_client.rules import Rule

Tell = Callable[[str, str], None]
"""Takes a field path and what is wrong there."""

# As long as one of these is wrong, running an example says nothing.
_NEEDED = {"scope", "endpoints", "rules", "examples"}


def read(raw: Any, tell: Tell) -> tuple[Example, ...]:
    """The examples of a draft, as far as they are right."""
    try:
        return parse_examples(raw, "examples", strict=True)
    except Refused as refused:
        for path, messages in refused.errors.items():
            for message in messages:
                tell(path, message)
    return ()


def can_run(faulty: Iterable[str]) -> bool:
    """Whether examples can be run on a draft with faults at these paths."""
    return not _NEEDED & {path.partition(".")[0] for path in faulty}


def run(
    scope: str, endpoints: tuple[Endpoint, ...], rules: tuple[Rule, ...], examples: tuple[Example, ...], tell: Tell
) -> None:
    """Run them by the engine that services have, and tell of each that does not come out as expected.

    Only the policy's own rules take part: what it inherits depends on where it is live.
    """
    for failure in _failures(scope, endpoints, rules, examples):
        tell(failure.path, failure.message)


@lru_cache(maxsize=32)
def _failures(
    scope: str, endpoints: tuple[Endpoint, ...], rules: tuple[Rule, ...], examples: tuple[Example, ...]
) -> tuple[Failure, ...]:
    """Remembered, because a form looks at a draft before it saves it: the save itself, which holds a lock, then does
    not run them again."""
    if not examples:
        return ()
    policy = Policy(reference="POL-0000", name="", revision=1, owner="", scope=scope, endpoints=endpoints, rules=rules)
    return tuple(run_examples(policy, examples))
