from __future__ import annotations

import re

import pytest

from optaic.domain.kind import (
    BY_FLOW_KIND,
    BY_RUN_TYPE,
    RUN_KINDS,
    FlowKind,
    InstanceKind,
    RunKind,
    RunType,
    main_flow_kind,
)


def test_every_run_type_and_flow_kind_has_one_row() -> None:
    assert [row.run_type for row in RUN_KINDS] == list(RunType)
    assert [row.flow_kind for row in RUN_KINDS] == list(FlowKind)
    assert set(BY_RUN_TYPE) == set(RunType)
    assert set(BY_FLOW_KIND) == set(FlowKind)


@pytest.mark.parametrize("row", RUN_KINDS, ids=lambda row: row.slug)
def test_the_slug_is_the_run_type_in_snake_case(row: RunKind) -> None:
    assert row.slug == re.sub(r"(?<!^)(?=[A-Z])", "_", row.run_type.value).lower()


@pytest.mark.parametrize(
    ("instance_kind", "flow_kinds"),
    [
        (InstanceKind.DATASET, {FlowKind.REFRESH, FlowKind.MONITOR}),
        (InstanceKind.EXPERIMENT, {FlowKind.PREVIEW}),
        (InstanceKind.MODEL, {FlowKind.TRAIN, FlowKind.INFER, FlowKind.MONITOR}),
        (InstanceKind.PORTFOLIO_OPTIMIZER, {FlowKind.OPTIMIZE}),
        (InstanceKind.BACKTEST, {FlowKind.BACKTEST, FlowKind.MONITOR}),
    ],
)
def test_an_instance_has_the_flows_of_its_kind(instance_kind: InstanceKind, flow_kinds: set[FlowKind]) -> None:
    assert {row.flow_kind for row in RUN_KINDS if instance_kind in row.instance_kinds} == flow_kinds


def test_monitoring_alone_makes_no_version() -> None:
    assert [row.run_type for row in RUN_KINDS if not row.makes_version] == [RunType.MONITORING]


@pytest.mark.parametrize(
    ("instance_kind", "flow_kind"),
    [
        (InstanceKind.DATASET, FlowKind.REFRESH),
        (InstanceKind.EXPERIMENT, FlowKind.PREVIEW),
        (InstanceKind.MODEL, FlowKind.TRAIN),
        (InstanceKind.PORTFOLIO_OPTIMIZER, FlowKind.OPTIMIZE),
        (InstanceKind.BACKTEST, FlowKind.BACKTEST),
    ],
)
def test_a_bare_instance_name_means_its_main_flow(instance_kind: InstanceKind, flow_kind: FlowKind) -> None:
    assert main_flow_kind(instance_kind) is flow_kind
