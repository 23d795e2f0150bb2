from hypothesis import given
from hypothesis import strategies as st

from policy_client.replay.order import Held, Order
from policy_client.replay.tally import Caller, Tally, Totals


def held(time, number):
    return Held(time, number, 0, "192.0.2.1", "GET", "/é\udcff", "")


def ordered(times, span, capacity):
    order, out = Order(span, capacity), []
    for number, time in enumerate(times):
        order.add(held(order.see(time), number))
        out.extend(order.ready())
    out.extend(order.rest())
    return [one.number for one in out], [one.time for one in out], order.late


@given(st.lists(st.integers(0, 60)), st.integers(1, 7))
def test_lines_within_the_span_are_sorted_with_ties_in_file_order(times, capacity):
    numbers, _, late = ordered(times, 60.0, capacity)
    assert numbers == sorted(range(len(times)), key=lambda number: times[number])
    assert late == 0


@given(st.lists(st.integers(0, 500), max_size=80), st.integers(1, 9))
def test_later_ones_have_their_turn_at_the_edge(times, capacity):
    numbers, turns, late = ordered(times, 60.0, capacity)
    newest, expected, late_expected = -1e9, [], 0
    for number, time in enumerate(times):
        newest = max(newest, time)
        late_expected += time < newest - 60
        expected.append((max(time, newest - 60), number))
    assert list(zip(turns, numbers, strict=True)) == sorted(expected)
    assert late == late_expected


def test_what_is_held_comes_back_from_the_file_as_it_was():
    order = Order(60.0, 2)
    one, other = held(5.0, 1), held(4.5, 2)
    order.add(one)
    order.add(other)
    assert not order._heap
    assert list(order.rest()) == [other, one]
    assert order._runs == []


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from("abcdef"), st.booleans())), st.integers(1, 4))
def test_a_tally_is_exact_beyond_its_memory(adds, capacity):
    with Tally(capacity) as tally:
        for rule, caller, denied in adds:
            tally.add(rule, caller, denied)
        for rule in range(3):
            mine = [(caller, denied) for number, caller, denied in adds if number == rule]
            callers = {
                who: (
                    sum(1 for name, _ in mine if name == who),
                    sum(1 for name, denied in mine if name == who and denied),
                )
                for who, _ in mine
            }
            assert tally.totals(rule) == Totals(
                len(callers),
                len(mine),
                sum(denied for _, denied in mine),
                sum(1 for _, denied in callers.values() if denied),
            )
            best = sorted(callers, key=lambda who: (-callers[who][1], -callers[who][0], who))
            assert tally.top(rule, 2) == [Caller(who, *callers[who]) for who in best[:2]]
