"""What must run for a target, and in which order: no database."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optaic.domain.freshness import EVERYTHING, NEVER, Change, Edge, FlowFacts, decide, evaluate
from optaic.domain.kind import FlowKind
from optaic.domain.plan import Candidate, PlanMode, PlannedStep, expected_seconds, make_steps
from optaic.domain.sharing import OpenStep, Read, shared_steps
from tests.recomputed import steps_by_brute_force

NOW = dt.datetime(2024, 1, 3, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
DAY = dt.date(2024, 1, 2)
RUN = uuid.UUID(int=1_000_000)
V1, V2 = uuid.UUID(int=2_000_001), uuid.UUID(int=2_000_002)


def flow(number: int, *upstreams: int, until: dt.date = NEVER, is_stale: bool = False) -> FlowFacts:
    return FlowFacts(
        id=uuid.UUID(int=number),
        target=f"f{number}",
        current_run_id=RUN,
        config_digest="c",
        code_digest="new" if is_stale else "d",
        run_config_digest="c",
        run_code_digest="d",
        last_data_date=DAY,
        edges=tuple(
            Edge(upstream_id=uuid.UUID(int=one), upstream=f"f{one}", role=f"f{one}", read_until=until)
            for one in upstreams
        ),
    )


def steps_of(*flows: FlowFacts, mode: PlanMode = PlanMode.RECURSIVE) -> tuple[PlannedStep, ...]:
    return make_steps(map(candidate, flows), flows[-1].id, mode)


def candidate(flow: FlowFacts) -> Candidate:
    return Candidate(
        id=flow.id,
        target=flow.target,
        instance=flow.target,
        flow_kind=FlowKind.REFRESH,
        own=decide(flow, {}, NOW),
        upstream_ids=tuple(edge.upstream_id for edge in flow.edges if edge.is_current),
        readings=tuple((edge.is_read, edge.read_until) for edge in flow.edges if edge.is_current),
    )


def batches(steps: Sequence[PlannedStep]) -> list[tuple[str, int, bool]]:
    return [(step.target, step.batch, step.is_needed) for step in steps]


def test_only_the_target_where_everything_is_ready() -> None:
    flows = (flow(1), flow(2, 1))
    assert batches(steps_of(*flows)) == [("f2", 1, True)]
    assert steps_of(*flows, mode=PlanMode.SMART) == ()


def test_a_diamond_has_three_batches() -> None:
    flows = (flow(1, is_stale=True), flow(2, 1), flow(3, 1), flow(4, 2, 3))
    assert batches(steps_of(*flows)) == [("f1", 1, True), ("f2", 2, False), ("f3", 2, False), ("f4", 3, True)]
    assert batches(steps_of(*flows, mode=PlanMode.SMART))[-1] == ("f4", 3, False)


def test_a_side_that_is_ready_is_left_out() -> None:
    assert batches(steps_of(flow(1), flow(2, is_stale=True), flow(3, 1), flow(4, 2, 3))) == [
        ("f2", 1, True),
        ("f4", 2, True),
    ]


def test_a_chain_of_a_thousand() -> None:
    chain = [flow(1, is_stale=True), *(flow(number, number - 1) for number in range(2, 1_001))]
    assert [step.batch for step in steps_of(*chain)] == list(range(1, 1_001))


@st.composite
def graphs(draw: st.DrawFn) -> list[FlowFacts]:
    """Up to eight flows that read earlier ones, some of them twice, each stale, late or new in its own way."""
    dates = st.sampled_from([EVERYTHING, DAY, DAY + dt.timedelta(days=1), NEVER])
    flows: list[FlowFacts] = []
    for number in range(1, draw(st.integers(1, 8)) + 1):
        edges = [
            Edge(
                upstream_id=uuid.UUID(int=upstream),
                upstream=f"f{upstream}",
                role=f"{upstream}{again}",
                selector=draw(st.sampled_from(["current", "current", "current", "version:1"])),
                is_read=draw(st.sampled_from([True, True, True, False])),
                read_until=draw(dates),
                changes=(Change(number=2, changed_from=draw(dates)),) * draw(st.sampled_from([0, 0, 0, 1])),
            )
            for upstream in range(1, number)
            for again in range(draw(st.sampled_from([0, 1, 1, 2])))
        ]
        has_run = draw(st.sampled_from([True, True, True, False]))
        one = replace(flow(number, is_stale=draw(st.sampled_from([False, False, False, True]))), edges=tuple(edges))
        if not has_run:
            one = replace(one, current_run_id=None, run_config_digest=None, run_code_digest=None)
        if draw(st.sampled_from([False, False, True])):
            asked_at = draw(st.sampled_from([None, NOW]))
            one = replace(one, ready_until=NOW - HOUR, source_asked_at=asked_at, waits_for_source=draw(st.booleans()))
        flows.append(one)
    return flows


@given(graphs(), st.sampled_from(PlanMode))
def test_a_plan_is_what_the_definition_of_freshness_makes_necessary(flows: list[FlowFacts], mode: PlanMode) -> None:
    states = evaluate(flows, NOW)
    assert steps_of(*flows, mode=mode) == steps_by_brute_force(flows, states, flows[-1].id, mode)


def late(*, waits: bool, since: dt.date = DAY) -> FlowFacts:
    asked = {"ready_until": NOW - HOUR, "source_asked_at": NOW, "waits_for_source": waits}
    return replace(flow(1), last_data_date=since, **asked)


def test_a_source_that_is_late_is_asked_again_only_if_its_readers_wait_for_it() -> None:
    assert batches(steps_of(late(waits=True), flow(2, 1))) == [("f1", 1, True), ("f2", 2, True)]
    assert batches(steps_of(late(waits=False), flow(2, 1))) == [("f2", 1, True)]
    assert batches(steps_of(late(waits=False), mode=PlanMode.SMART)) == [("f1", 1, True)], "it was asked for itself"


def test_what_lies_after_the_slice_that_is_read_need_not_run() -> None:
    assert batches(steps_of(late(waits=True), flow(2, 1, until=DAY))) == [("f2", 1, True)]


def test_with_other_code_it_may_read_more_than_last_time() -> None:
    assert batches(steps_of(late(waits=True), flow(2, 1, until=DAY, is_stale=True))) == [
        ("f1", 1, True),
        ("f2", 2, True),
    ]


def test_what_a_person_chose_is_not_refreshed() -> None:
    reader = flow(2, 1)
    chosen = replace(reader, edges=(replace(reader.edges[0], selector="version:1"),))
    assert batches(steps_of(flow(1, is_stale=True), chosen)) == [("f2", 1, True)]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [({}, None), ({1: 5.0, 2: 1.0, 3: 2.0, 4: 1.0}, 8.0), ({1: 5.0}, 5.0)],
)
def test_a_plan_takes_as_long_as_its_longest_way_through(seconds: dict[int, float], expected: float | None) -> None:
    planned = steps_of(flow(1, is_stale=True), flow(2, 1), flow(3, 1), flow(4, 2, 3))
    assert expected_seconds(planned, {uuid.UUID(int=number): value for number, value in seconds.items()}) == expected


def current(number: int) -> Read:
    return uuid.UUID(int=number), "current"


def sharing(*open_steps: OpenStep, pins: dict[int, uuid.UUID]) -> set[int]:
    planned = steps_of(flow(1, is_stale=True), flow(2, 1), flow(3, 2))
    found = shared_steps(
        planned,
        open_steps=open_steps,
        reads={uuid.UUID(int=2): [current(1), current(9)], uuid.UUID(int=3): [current(2)]},
        pins={current(number): version for number, version in pins.items()},
        present={uuid.UUID(int=number): (V1, V1) for number in (1, 2, 3)},
    )
    return {flow_id.int for flow_id in found}


def open_step(number: int, *, waits_for: int | None = None, code: uuid.UUID | None = None) -> OpenStep:
    return OpenStep(
        id=uuid.UUID(int=100 + number),
        flow_id=uuid.UUID(int=number),
        recorded=None if code is None else (V1, code),
        upstream={} if waits_for is None else {uuid.UUID(int=waits_for): uuid.UUID(int=100 + waits_for)},
        pins={current(9): V1},
    )


def test_steps_whose_inputs_are_the_same_are_shared() -> None:
    first, second = open_step(1, code=V1), open_step(2, waits_for=1)
    assert sharing(first, second, pins={9: V1}) == {1, 2}
    assert sharing(first, second, pins={9: V2}) == {1}, "another version of what both read"
    assert sharing(second, pins={9: V1}) == set(), "its upstream step is not ours"
    assert sharing(open_step(1, code=V2), second, pins={9: V1}) == set(), "other code"
