"""The way back from a flow to those that explain it: each told once, however deep and wide the graph."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence

from optaic.domain.explanation import MANY, MAX_DEPTH, command, differences, leads_to, walk_back
from optaic.domain.freshness import EVERYTHING, NEVER, Cause, CauseKind, FlowState
from optaic.domain.status import Freshness

READY = FlowState(freshness=Freshness.READY)


def flow(number: int) -> uuid.UUID:
    return uuid.UUID(int=number)


def stale(*upstreams: int, is_own: bool = False) -> FlowState:
    causes = [
        Cause(
            kind=CauseKind.UPSTREAM_NOT_READY,
            detail="",
            stale_from=EVERYTHING,
            upstream=str(number),
            upstream_id=flow(number),
        )
        for number in upstreams
    ]
    if is_own:
        causes.insert(0, Cause(kind=CauseKind.CODE_CHANGED, detail="", stale_from=EVERYTHING))
    inherited_from = EVERYTHING if upstreams else NEVER
    return FlowState(freshness=Freshness.STALE, causes=tuple(causes), inherited_from=inherited_from)


def told(states: Mapping[int, FlowState]) -> list[tuple[int, int | None, tuple[str, ...]]]:
    steps = walk_back(flow(0), {flow(number): state for number, state in states.items()})
    return [(step.flow_id.int, None if step.above is None else step.above.int, step.through) for step in steps]


def chain(length: int, *, is_own: bool) -> dict[int, FlowState]:
    states = {number: stale(number + 1, is_own=is_own) for number in range(length)}
    return {**states, length: stale(is_own=True)}


def test_a_ready_flow_is_told_alone() -> None:
    assert told({0: READY}) == [(0, None, ())]
    assert command("signal", READY) is None


def test_flows_that_only_pass_it_on_are_named_on_the_way() -> None:
    assert told(chain(4, is_own=False)) == [(0, None, ()), (4, 0, ("1", "2", "3"))]


def test_a_flow_that_several_read_is_told_once_the_nearest_way() -> None:
    diamond = {0: stale(1, 2), 1: stale(3), 2: stale(4), 4: stale(3), 3: stale(is_own=True)}
    assert told(diamond) == [(0, None, ()), (3, 0, ("1",))]
    states = {flow(number): state for number, state in diamond.items()}
    assert leads_to(flow(2), states, {flow(0), flow(3)}) == flow(3)
    assert leads_to(flow(0), states, set()) is None


def test_what_has_causes_of_its_own_and_where_ways_part_is_told() -> None:
    states = {0: stale(1), 1: stale(2, 3), 2: stale(4, is_own=True), 3: stale(is_own=True), 4: stale(is_own=True)}
    assert told(states) == [(0, None, ()), (1, 0, ()), (2, 1, ()), (3, 1, ()), (4, 2, ())]


def test_a_thousand_flows_end_in_those_that_explain_them() -> None:
    ((_, _, ()), (last, above, through)) = told(chain(1000, is_own=False))
    assert (last, above, len(through)) == (1000, 0, 999)
    # Where all have causes of their own, only the farthest is told.
    assert [number for number, _, _ in told(chain(1000, is_own=True))] == [0, 1000]


def test_no_explanation_is_deeper_than_json_takes() -> None:
    steps = told(chain(MANY - 1, is_own=True))
    depths = {0: 0}
    nested: dict[int, list[object]] = {0: []}
    for number, above, _ in steps[1:]:
        assert above is not None
        depths[number] = depths[above] + 1
        nested[number] = []
        nested[above].append(nested[number])
    assert max(depths.values()) == MAX_DEPTH
    assert json.dumps(nested[0])


def test_what_to_type_brings_the_upstreams_along() -> None:
    assert command("signal", stale(is_own=True)) == "optaic run signal"
    assert command("signal", stale(1)) == "optaic run signal --recursive"


def test_configs_are_compared_value_by_value() -> None:
    found: Sequence[tuple[str, object, object]] = [
        (item.path, item.before, item.after)
        for item in differences({"a": {"n": 1, "m": [1]}, "gone": 2}, {"a": {"n": 3, "m": [1]}, "new": {"x": 1}})
    ]
    assert found == [("a.n", 1, 3), ("gone", 2, None), ("new", None, {"x": 1})]
