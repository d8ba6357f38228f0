"""The definition of freshness, case by case: no database."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import replace

import pytest

from optaic.domain.freshness import (
    EVERYTHING,
    NEVER,
    Cause,
    CauseKind,
    Change,
    Edge,
    FlowFacts,
    FlowState,
    blocking_causes,
    decide,
    evaluate,
    upstream_first,
)
from optaic.domain.status import Freshness

DAY = dt.date(2024, 1, 2)
LATER = dt.date(2024, 1, 3)
NOW = dt.datetime(2024, 1, 3, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
PRICES, RETURNS, SIGNAL = uuid.UUID(int=1), uuid.UUID(int=2), uuid.UUID(int=3)
RUN, PUBLISHER = uuid.UUID(int=100), uuid.UUID(int=101)


def ready(flow_id: uuid.UUID = PRICES, target: str = "prices") -> FlowFacts:
    return FlowFacts(
        id=flow_id,
        target=target,
        current_run_id=RUN,
        config_digest="c",
        code_digest="d",
        run_config_digest="c",
        run_code_digest="d",
        run_revision=1,
        last_data_date=DAY,
    )


def never_run(flow: FlowFacts) -> FlowFacts:
    return replace(flow, current_run_id=None, run_config_digest=None, run_code_digest=None, run_revision=None)


def edge(upstream: FlowFacts, *changes: Change, read_until: dt.date = NEVER, **facts: object) -> Edge:
    read = Edge(upstream_id=upstream.id, upstream=upstream.target, role=upstream.target, read_until=read_until)
    return replace(read, changes=changes, **facts)


def reader(*edges: Edge) -> FlowFacts:
    return replace(ready(RETURNS, "returns"), edges=edges or (edge(ready()),))


def version(number: int = 2, changed_from: dt.date | None = DAY, *columns: str) -> Change:
    return Change(number=number, changed_from=changed_from, columns=columns, run_id=PUBLISHER)


def last_of(*flows: FlowFacts, now: dt.datetime = NOW) -> FlowState:
    return evaluate(flows, now)[flows[-1].id]


def kinds(state: FlowState) -> list[CauseKind]:
    return [cause.kind for cause in state.causes]


def test_a_flow_is_ready_when_nothing_has_changed() -> None:
    state = last_of(ready(), reader())
    assert state == FlowState(freshness=Freshness.READY)
    assert (state.stale_from, state.blocks_from) == (NEVER, NEVER)


@pytest.mark.parametrize(
    ("flow", "cause"),
    [
        (replace(ready(), run_config_digest="old"), CauseKind.CONFIG_CHANGED),
        (replace(ready(), run_code_digest="old"), CauseKind.CODE_CHANGED),
        (reader(edge(ready(), version())), CauseKind.INPUT_CHANGED),
    ],
)
def test_what_has_changed_makes_it_stale(flow: FlowFacts, cause: CauseKind) -> None:
    state = last_of(flow)
    assert (state.freshness, kinds(state)) == (Freshness.STALE, [cause])


def test_a_flow_that_never_completed_says_so_and_what_else_is_in_its_way() -> None:
    assert kinds(last_of(never_run(ready()))) == [CauseKind.NEVER_RUN]
    state = last_of(never_run(ready()), never_run(reader()))
    assert state.freshness is Freshness.NOT_INITIALIZED
    assert kinds(state) == [CauseKind.NEVER_RUN, CauseKind.UPSTREAM_NOT_READY]
    assert (state.own_from, state.inherited_from) == (EVERYTHING, EVERYTHING)


def test_an_upstream_that_is_not_ready_is_not_good_to_read() -> None:
    stale = replace(ready(), run_code_digest="old")
    for flows in ((stale, reader()), (reader(), stale)):
        state = evaluate(flows, NOW)[RETURNS]
        assert (state.freshness, kinds(state)) == (Freshness.STALE, [CauseKind.UPSTREAM_NOT_READY])
        assert state.causes[0].upstream_id == PRICES
        assert (state.own_from, state.inherited_from) == (NEVER, EVERYTHING)


@pytest.mark.parametrize("selector", ["version:1", "stage:champion"])
def test_what_a_person_chose_inherits_nothing_from_its_flow(selector: str) -> None:
    stale = replace(ready(), run_code_digest="old")
    assert last_of(stale, reader(edge(stale, selector=selector))).freshness is Freshness.READY


def test_another_version_at_the_stage_is_a_changed_input() -> None:
    state = last_of(ready(), reader(edge(ready(), version(3, None), selector="stage:champion")))
    assert kinds(state) == [CauseKind.INPUT_CHANGED]
    assert state.causes[0].detail == "prices has version 3 as stage:champion now"
    assert state.own_from == EVERYTHING


@pytest.mark.parametrize(
    ("changed_from", "columns", "read_until", "is_touched"),
    [
        (DAY, (), DAY, True),
        (LATER, (), DAY, False),
        (LATER, (), NEVER, True),
        (None, (), DAY, True),
        (DAY, ("close",), DAY, True),
        (DAY, ("volume",), DAY, False),
        (DAY, ("volume", "close"), DAY, True),
    ],
)
def test_a_change_matters_where_it_meets_what_was_read(
    changed_from: dt.date | None, columns: tuple[str, ...], read_until: dt.date, *, is_touched: bool
) -> None:
    read = edge(ready(), read_until=read_until, columns=("close",))
    assert read.touches(version(2, changed_from, *columns)) is is_touched


def test_what_was_pinned_and_not_read_changes_nothing() -> None:
    stale = replace(ready(), run_code_digest="old")
    unread = edge(stale, version(2, None), is_read=False)
    assert last_of(stale, reader(unread)).freshness is Freshness.READY


def test_a_changed_input_makes_stale_from_the_earliest_change_that_was_read() -> None:
    changes = (version(2, LATER), version(3, DAY), version(4, dt.date(2020, 1, 1), "volume"))
    (cause,) = last_of(ready(), reader(edge(ready(), *changes, columns=("close",)))).causes
    assert cause == Cause(
        kind=CauseKind.INPUT_CHANGED,
        detail="prices has published version 3 since, which differs from 2024-01-02 on",
        stale_from=DAY,
        upstream="prices",
        upstream_id=PRICES,
        run_id=PUBLISHER,
        version=3,
    )


@pytest.mark.parametrize(
    ("read_until", "freshness"),
    [(DAY, Freshness.READY), (LATER, Freshness.STALE), (NEVER, Freshness.STALE)],
)
def test_a_flow_stale_from_a_date_is_good_for_who_reads_only_before_it(
    read_until: dt.date, freshness: Freshness
) -> None:
    stale = replace(reader(edge(ready(), version(2, LATER))), id=PRICES, target="prices")
    end = replace(ready(SIGNAL, "signal"), edges=(edge(stale, read_until=read_until),))
    state = last_of(stale, end)
    assert state.freshness is freshness
    assert state.stale_from == (NEVER if freshness is Freshness.READY else LATER)


def test_the_date_travels_down_a_chain_and_the_earliest_counts() -> None:
    old, new = replace(ready(), edges=(edge(ready(uuid.UUID(int=9), "x"), version(2, DAY)),)), ready(RETURNS, "returns")
    new = replace(new, edges=(edge(ready(uuid.UUID(int=9), "x"), version(2, LATER)),))
    end = replace(ready(SIGNAL, "signal"), edges=(edge(old), edge(new)))
    state = last_of(old, new, end)
    assert [cause.stale_from for cause in state.causes] == [DAY, LATER]
    assert state.inherited_from == DAY
    assert state.causes[1].detail == "returns is stale from 2024-01-03 on"


def test_data_that_are_due_are_missing_from_the_day_after_the_last() -> None:
    flow = replace(ready(), ready_until=NOW, expected_date=LATER)
    assert last_of(flow, now=NOW - HOUR).freshness is Freshness.READY
    state = last_of(flow, now=NOW)
    (cause,) = state.causes
    assert (state.freshness, cause.kind) == (Freshness.STALE, CauseKind.PAST_EXPECTED_DATE)
    assert (cause.date, cause.stale_from) == (LATER, LATER)
    assert cause.detail == "data of 2024-01-03 were due at 2024-01-03 12:00 UTC"
    assert last_of(replace(flow, last_data_date=None), now=NOW).stale_from == EVERYTHING


def test_readers_of_what_came_before_the_missing_day_stay_ready() -> None:
    late = replace(ready(), ready_until=NOW, expected_date=LATER)
    assert last_of(late, reader(edge(late, read_until=DAY))).freshness is Freshness.READY
    assert last_of(late, reader(edge(late))).freshness is Freshness.STALE


@pytest.mark.parametrize(("waits", "blocks_from"), [(True, LATER), (False, NEVER)])
def test_a_source_that_was_asked_in_vain_is_delayed(waits: bool, blocks_from: dt.date) -> None:
    late = replace(ready(), ready_until=NOW, expected_date=LATER, source_asked_at=NOW, waits_for_source=waits)
    state = last_of(late)
    assert (state.freshness, kinds(state)) == (Freshness.STALE_SOURCE_DELAYED, [CauseKind.SOURCE_DELAYED])
    assert (state.own_from, state.own_blocks_from) == (LATER, blocks_from)
    below = last_of(late, reader(edge(late)))
    assert below.freshness is (Freshness.STALE if waits else Freshness.READY)


def test_a_source_asked_before_the_deadline_is_not_delayed_but_not_asked() -> None:
    late = replace(ready(), ready_until=NOW, expected_date=LATER, source_asked_at=NOW - HOUR)
    assert kinds(last_of(late)) == [CauseKind.PAST_EXPECTED_DATE]


def test_a_delay_beside_another_cause_is_stale_and_blocks_from_that_one() -> None:
    late = replace(
        ready(), ready_until=NOW, source_asked_at=NOW, waits_for_source=False, run_code_digest="old"
    )  # fmt: skip
    state = last_of(late)
    assert state.freshness is Freshness.STALE
    assert (state.own_from, state.own_blocks_from) == (EVERYTHING, EVERYTHING)


def test_what_may_not_be_read_now_is_asked_of_the_last_readings_slice() -> None:
    late = replace(ready(), ready_until=NOW, expected_date=LATER)
    upstreams = evaluate([late], NOW)
    ended = reader(edge(late, read_until=DAY))
    assert blocking_causes(ended, upstreams) == []
    # Other code, or another config, may read on where the last run stopped.
    for changed in (replace(ended, code_digest="new"), replace(ended, config_digest="new"), never_run(ended)):
        assert [cause.upstream for cause in blocking_causes(changed, upstreams)] == ["prices"]


def test_a_cause_as_json_leaves_out_what_is_not_behind_it() -> None:
    (cause,) = last_of(reader(edge(ready(), version()))).causes
    assert cause.to_json() == {
        "kind": "input_changed",
        "detail": "prices has published version 2 since, which differs from 2024-01-02 on",
        "upstream": "prices",
        "stale_from": "2024-01-02",
        "run_id": str(PUBLISHER),
        "version": 2,
    }
    (own,) = last_of(replace(ready(), run_config_digest="old", revision=3)).causes
    assert own.to_json() == {
        "kind": "config_changed",
        "detail": "its config is revision 3, its last run used 1",
        "upstream": None,
        "stale_from": None,
        "run_id": str(RUN),
        "revision": 3,
    }


def test_an_upstream_that_is_not_given_is_taken_as_ready() -> None:
    assert decide(reader(), {}, NOW).freshness is Freshness.READY


def test_a_chain_of_a_few_thousand_flows_is_decided() -> None:
    flows = [replace(ready(), run_code_digest="old")]
    for number in range(2, 3000):
        above = flows[-1]
        flows.append(replace(ready(uuid.UUID(int=number), str(number)), edges=(edge(above),)))
    decided = evaluate(flows[::-1], NOW)
    assert {state.freshness for state in decided.values()} == {Freshness.STALE}
    order = upstream_first({flow.id: [one.upstream_id for one in flow.edges] for flow in flows[::-1]})
    assert order == [flow.id for flow in flows]
