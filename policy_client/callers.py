"""Which overrides hold for a call, and what they make of each rule that counts."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

from policy_client.call import Call
from policy_client.identity import IN_PLACE, address_reader, value_reader
from policy_client.overrides import Effect, Override
from policy_client.rules.keyed import Keyed

Overrides = tuple[Override, ...]

_Shape = tuple[Hashable, ...]
_Reader = Callable[[Call], Hashable]


class Callers:
    """Overrides by whom they are for. Those whose keys have the same parts, and addresses of the same length, are found
    by one look-up, however many they are. `needs` has the parts of a call that are looked at."""

    __slots__ = ("_shapes", "needs")

    def __init__(self, overrides: Iterable[Override]) -> None:
        shapes: dict[_Shape, dict[_Shape, list[tuple[float, Override]]]] = {}
        needs: set[str] = set()
        for override in overrides:
            needs.update(override.key)
            parts = sorted(override.key)
            known = shapes.setdefault(tuple(_shape(part, override) for part in parts), {})
            values = tuple(_value(part, override) for part in parts)
            known.setdefault(values, []).append((override.until.timestamp(), override))
        self.needs = frozenset(needs)
        self._shapes = [([_reader(one) for one in shape], known) for shape, known in shapes.items()]

    def __bool__(self) -> bool:
        return bool(self._shapes)

    def of(self, call: Call, now: float) -> list[Override]:
        """Those that hold for a call at `now` (seconds since the epoch)."""
        found: list[Override] = []
        for readers, known in self._shapes:
            there = known.get(tuple([read(call) for read in readers]))
            if there is not None:
                found += [override for ends, override in there if ends > now]
        return found


def _shape(part: str, override: Override) -> Hashable:
    network = override.network if part == "ip" else None
    return part if network is None else (network.version, network.prefixlen)


def _value(part: str, override: Override) -> Hashable:
    network = override.network if part == "ip" else None
    if network is None:
        return override.key[part]
    return int(network.network_address) >> (network.max_prefixlen - network.prefixlen)


def _reader(shape: Hashable) -> _Reader:
    return value_reader(shape) if isinstance(shape, str) else address_reader(*shape)  # type: ignore[misc]


class Treatment(NamedTuple):
    """What a caller's overrides make of one rule: he is exempt of it, has another limit, or another counter since the
    last reset. None where nothing is changed."""

    exempt: Override | None = None
    limit: Override | None = None
    reset: Override | None = None


class Place(NamedTuple):
    """Where a rule stands: in the entry of `policy`, into which it came from the policy `source`."""

    source: str
    policy: str | None


def treatment(overrides: Sequence[Override], rule: Keyed, place: Place, subject: Sequence[str]) -> Treatment:
    """Of all that hold for a call, in which the rule counts for `subject`: its key, part by part."""
    mine = [one for one in overrides if one.concerns(rule, place.source, place.policy)]
    mine.sort(key=lambda one: _rank(one, place.policy))
    own = [one for one in mine if _is_alone(one, rule, subject)]
    return Treatment(
        next((one for one in mine if one.effect is Effect.EXEMPT), None),
        next((one for one in own if one.effect is Effect.LIMIT), None),
        max((one for one in own if one.effect is Effect.RESET), key=lambda one: one.id, default=None),
    )


def _rank(override: Override, policy: str | None) -> tuple[int, ...]:
    """What was said for fewer calls comes first, then what was said last."""
    network = override.network
    place = 0 if override.policy == policy else 2 if override.policy is None else 1
    narrow = network.prefixlen if network is not None else 0
    return override.rule is None, place, -len(override.key), -narrow, -override.id


def _is_alone(override: Override, rule: Keyed, subject: Sequence[str]) -> bool:
    """Whether the counter is that of this caller and nobody else's: every part of his key is one of the rule's, or the
    address that stands in for one."""
    stands_in = any(text.startswith(IN_PLACE) for text in subject)
    return all(part in rule.key or (part == "ip" and stands_in) for part in override.key)


def by_policy(overrides: Iterable[Override]) -> Mapping[str | None, Callers]:
    """The overrides of each policy; of all under None."""
    found: dict[str | None, list[Override]] = {}
    for override in overrides:
        found.setdefault(override.policy, []).append(override)
    return {policy: Callers(mine) for policy, mine in found.items()}
