"""A deadline is known to have passed before whoever it cuts off hears of it."""

import asyncio

import pytest

from policy_client import Call
from policy_client.running import in_time
from policy_client.testing import Policies


class SteppingLoop(asyncio.SelectorEventLoop):
    """Each look at its clock is a moment later, so that no two timers go off at once."""

    now = 0.0

    def time(self):
        self.now += 0.001
        return self.now


@pytest.mark.parametrize("attempt", range(5))
def test_a_call_that_is_cut_off_finds_its_deadline_passed(attempt):
    policies = Policies()
    policies.enforce("x", late={"kind": "deadline", "seconds": 0.05 + attempt / 1000})
    decision = policies.client.decide(Call(endpoint="x"))

    async def wait():
        with pytest.raises(TimeoutError):
            async with in_time(decision.running):
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    seen.append(decision.running.denial())
                    raise
        return decision.running.denial()

    seen = []
    loop = SteppingLoop()
    try:
        assert loop.run_until_complete(wait()).status == 504
    finally:
        loop.close()
        policies.client.close()
    assert [denial.status for denial in seen] == [504]
