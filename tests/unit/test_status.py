from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optaic.domain.status import (
    TERMINAL,
    TRANSITIONS,
    WORST_FIRST,
    Activity,
    FlowStatus,
    Freshness,
    Health,
    RunStatus,
    aggregate,
    overlay,
)


def test_the_table_is_the_one_of_the_design() -> None:
    allowed = {f"{before} -> {after}" for before, following in TRANSITIONS.items() for after in following}
    assert allowed == {
        "pending -> running",
        "pending -> failed",
        "pending -> cancelled",
        "running -> completed",
        "running -> failed",
        "running -> cancelled",
        "running -> pending",
    }


def test_every_status_has_its_row() -> None:
    assert set(TRANSITIONS) == set(RunStatus)


def test_terminal_statuses_are_final() -> None:
    assert {RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED} == TERMINAL
    assert {status for status in RunStatus if status.is_terminal} == TERMINAL


@pytest.mark.parametrize("status", sorted(set(RunStatus) - TERMINAL))
def test_every_open_run_can_end(status: RunStatus) -> None:
    assert TRANSITIONS[status] & TERMINAL


@given(st.sampled_from(Freshness), st.sampled_from(Health))
def test_running_covers_everything(freshness: Freshness, health: Health) -> None:
    assert overlay(freshness, Activity.RUNNING, health) is FlowStatus.RUNNING


@given(st.sampled_from(Freshness))
def test_error_covers_freshness(freshness: Freshness) -> None:
    assert overlay(freshness, Activity.IDLE, Health.ERROR) is FlowStatus.ERROR


@given(st.sampled_from(Freshness))
def test_a_quiet_healthy_flow_shows_its_freshness(freshness: Freshness) -> None:
    assert overlay(freshness, Activity.IDLE, Health.OK).value == freshness.value


def test_the_worst_comes_first() -> None:
    assert [status.value for status in WORST_FIRST] == [
        "error",
        "stale",
        "stale_source_delayed",
        "not_initialized",
        "running",
        "ready",
    ]


@pytest.mark.parametrize(
    ("flows", "instance"),
    [
        ([], FlowStatus.NOT_INITIALIZED),
        ([FlowStatus.READY], FlowStatus.READY),
        ([FlowStatus.READY, FlowStatus.RUNNING], FlowStatus.RUNNING),
        ([FlowStatus.RUNNING, FlowStatus.STALE], FlowStatus.STALE),
        ([FlowStatus.STALE, FlowStatus.ERROR, FlowStatus.READY], FlowStatus.ERROR),
    ],
)
def test_an_instance_shows_its_worst_flow(flows: list[FlowStatus], instance: FlowStatus) -> None:
    assert aggregate(flows) is instance


@given(st.lists(st.sampled_from(FlowStatus), min_size=1))
def test_the_order_of_flows_does_not_matter(flows: list[FlowStatus]) -> None:
    assert aggregate(flows) is aggregate(reversed(flows))
    assert aggregate(flows) in flows


@given(st.lists(st.sampled_from(FlowStatus), min_size=1), st.sampled_from(FlowStatus))
def test_another_flow_never_makes_an_instance_look_better(flows: list[FlowStatus], other: FlowStatus) -> None:
    assert WORST_FIRST.index(aggregate([*flows, other])) <= WORST_FIRST.index(aggregate(flows))
