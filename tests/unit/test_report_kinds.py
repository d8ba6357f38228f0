"""Reports of optimisations and of monitoring: on the same page, with what is wrong at its top."""

from __future__ import annotations

import datetime as dt
import math
import re
from dataclasses import replace

import polars as pl
import pytest

from optaic.report.monitoring import Alert, Drift, History, MonitoringReport, monitoring_page
from optaic.report.optimization import Holding, OptimizationReport, Residual, optimization_page
from optaic.report.page import Figure
from tests.documents import read_document

CREATED_AT = dt.datetime(2023, 1, 2, tzinfo=dt.UTC)
PERIOD = (dt.date(2022, 1, 3), dt.date(2022, 12, 28))
HOSTILE = "<script>alert(1)</script>"

MIN_VARIANCE = OptimizationReport(
    run_id="019",
    instance="min_variance",
    period=PERIOD,
    created_at=CREATED_AT,
    figures=[Figure(name="expected_volatility", unit="fraction", value=0.118)],
    holdings=[
        Holding(symbol="AAPL", weight=0.2, previous=0.25, expected_return=0.12, volatility=0.3),
        Holding(symbol="JNJ", weight=0.8),
    ],
    residuals=[Residual(constraint="weights sum to 1", value=1e-9, tolerance=1e-6)],
    assumptions={"lookback": "252 sessions"},
)

ALPHA = MonitoringReport(
    run_id="019",
    instance="alpha",
    period=PERIOD,
    created_at=CREATED_AT,
    assumptions={"reference": "training slice of fit 7"},
    alerts=[
        Alert(severity="info", metric="rows", value=3.0, threshold=None, sentence="Three rows are late."),
        Alert(severity="warning", metric="psi", value=0.31, threshold=0.2, sentence="momentum has drifted."),
        Alert(severity="critical", metric="ic", value=-0.02, threshold=0.0, sentence="The IC is below zero."),
    ],
    drifts=[
        Drift(feature="size", value=0.02, threshold=0.2),
        Drift(feature="momentum", value=0.31, threshold=0.2, distance=0.12, reference_count=12_000, count=1_260),
        Drift(feature="young", value=0.5, threshold=None),
    ],
    histories=[History(name="ic", title="IC", frame=pl.DataFrame({"date": list(PERIOD), "value": [0.03, -0.02]}))],
)


def test_weights_are_listed_from_the_largest_with_their_change_and_moments() -> None:
    said = read_document(optimization_page(MIN_VARIANCE)).text
    assert re.search(r"JNJ80\.00%\u2013\u2013\u2013\u2013\nAAPL20\.00%25\.00%\u22125\.00%12\.00%30\.00%", said)
    assert "11.80%" in said


def test_a_broken_constraint_is_the_first_line() -> None:
    assert "broken" not in optimization_page(MIN_VARIANCE)
    for value in (0.1, math.nan):
        broken = replace(MIN_VARIANCE, residuals=[Residual(constraint="gross <= 1", value=value, tolerance=1e-6)])
        said = read_document(optimization_page(broken)).text
        assert said.split("\n")[0] == "Constraint broken: gross <= 1."


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.02, "2.00%"), (2.2e-16, "0.00%"), (-3e-12, "0.00%"), (2e-6, "0.0002%"), (-0.1, "\u221210.00%")],
)
def test_residuals_are_percentages_like_the_worst_of_them(value: float, shown: str) -> None:
    page = optimization_page(replace(MIN_VARIANCE, residuals=[Residual(constraint="cap", value=value, tolerance=1e-6)]))
    assert f"cap{shown}0.0001%" in read_document(page).text


def test_of_many_positions_the_largest_of_both_sides_are_drawn_and_all_are_listed() -> None:
    many = [Holding(symbol=f"S{n:03}", weight=(-1) ** n * n / 10_000) for n in range(1, 101)]
    page = optimization_page(replace(MIN_VARIANCE, holdings=many))
    assert page.count("<rect") == 40
    said = read_document(page).text
    assert "the 40 largest of 100 positions" in said
    assert all(one.symbol in said for one in many)


def test_the_most_severe_alert_is_the_first_line_and_an_info_is_no_warning() -> None:
    said = read_document(monitoring_page(ALPHA)).text
    assert said.split("\n")[0] == "Critical: The IC is below zero."
    assert said.index("Warning: momentum has drifted.") < said.index("Alerts")
    assert "Info:" not in said
    assert "Three rows are late." in said


def test_each_alert_has_severity_metric_value_and_threshold() -> None:
    assert "warningpsimomentum has drifted.0.3100.200\n" in read_document(monitoring_page(ALPHA)).text


def test_drift_is_listed_from_the_largest_with_its_sample_sizes_and_a_short_reference_gives_no_verdict() -> None:
    said = read_document(monitoring_page(ALPHA)).text
    assert "FeaturePSIThresholdKSValues, referenceValues, windowVerdict\n" in said
    rows = ["young0.500\u2013\u2013\u2013\u2013no verdict", "momentum0.3100.2000.12012,0001,260drifted"]
    assert "\n".join([*rows, "size0.0200.200\u2013\u2013\u2013unchanged\n"]) in said


@pytest.mark.parametrize(
    ("value", "threshold", "verdict"),
    [(0.2, 0.2, "drifted"), (0.19, 0.2, "unchanged"), (math.nan, 0.2, "no verdict"), (1.0, math.nan, "no verdict")],
)
def test_a_verdict_needs_two_numbers(value: float, threshold: float, verdict: str) -> None:
    assert Drift(feature="x", value=value, threshold=threshold).verdict == verdict


def test_without_anything_to_show_there_is_still_a_page() -> None:
    page = monitoring_page(replace(ALPHA, alerts=[], drifts=[], histories=[], period=None))
    assert "None." in page
    assert "No features were compared." in page
    assert "No data." in optimization_page(replace(MIN_VARIANCE, holdings=[], residuals=[], figures=[]))


def test_names_are_text() -> None:
    alert = Alert(severity="critical", metric=HOSTILE, value=1.0, threshold=0.0, sentence=HOSTILE)
    pages = [
        optimization_page(replace(MIN_VARIANCE, holdings=[Holding(symbol=HOSTILE, weight=1.0)], instance=HOSTILE)),
        monitoring_page(replace(ALPHA, alerts=[alert], drifts=[Drift(feature=HOSTILE, value=1.0, threshold=None)])),
    ]
    assert [read_document(page).count("script") for page in pages] == [1, 1]
