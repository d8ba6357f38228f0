"""What monitors find in models: planted shifts, features that vanish, predictions that stop coming true."""

from __future__ import annotations

import datetime as dt
import itertools
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from optaic.domain.alert import Alert, Severity, Verdict, verdict_of, worst_first
from optaic.domain.check import Threshold
from optaic.domain.kind import FlowKind
from optaic.domain.status import Standing
from optaic.domain.version import DatasetVersion, FileVersion, SegmentRole
from optaic.errors import InvalidInputError
from optaic.flows.context import RunContext
from optaic.flows.monitor import monitor
from optaic.flows.report import Batch
from optaic.flows.task import PinnedInput, Result, Task
from optaic.report.number import format_value
from optaic.storage.objects import ObjectStore, open_store
from tests.documents import read_document
from tests.refreshing import Dataset

SESSIONS = [
    day for day in (dt.date(2023, 1, 2) + dt.timedelta(days=number) for number in range(560)) if day.weekday() < 5
]
NAMES = [f"S{number:02d}" for number in range(20)]
_runs = itertools.count(1)
"""Each dataset has a run of its own, and so a place of its own in the store."""

FITTED_TO = 300
"""The place of the last session that the newest fit was trained on."""


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path / "store"))


def long(values: Any, name: str, *, sessions: Sequence[dt.date] = SESSIONS) -> pl.DataFrame:
    """Spread an array of sessions by names over rows."""
    keys = {"date": np.repeat(np.array(sessions, dtype="datetime64[D]"), len(NAMES)), "symbol": NAMES * len(sessions)}
    return pl.DataFrame({**keys, name: np.asarray(values).ravel()}).with_columns(pl.col("date").cast(pl.Date))


def noise(seed: int) -> Any:
    return np.random.default_rng(seed).normal(size=(len(SESSIONS), len(NAMES)))


def check(
    store: ObjectStore,
    monitors: list[dict[str, Any]],
    frames: Mapping[str, pl.DataFrame | DatasetVersion],
    **detail: Any,
) -> Result:
    """Run the monitor of a model on tables, or on versions of datasets, as the runner does."""
    fit = {"fit_id": 0, "train_start": SESSIONS[0].isoformat(), "label_end": SESSIONS[FITTED_TO].isoformat()}
    model = FileVersion(
        id=uuid.uuid4(), number=1, run_id=uuid.uuid4(), artifacts=(), detail={"fits": [fit], **detail},
        first_data_date=None, last_data_date=None, content_digest="",
    )  # fmt: skip
    inputs = [PinnedInput(role="subject", instance="alpha", version=model)]
    for role, frame in frames.items():
        if isinstance(frame, DatasetVersion):
            inputs.append(PinnedInput(role=role, instance=role, version=frame))
            continue
        dataset = Dataset(store, known_at={"lag": "date + 1d"})
        dataset.runs = next(_runs)
        dataset.refresh(frame)
        assert dataset.current is not None
        inputs.append(PinnedInput(role=role, instance=role, version=dataset.current))
    task = Task(
        run_id=uuid.uuid4(), attempt=1, tenant_id=1, instance="alpha", flow_kind=FlowKind.MONITOR, code_ref=None,
        code_digest=None, config={"kind": "model", "monitor": monitors}, params={}, seed=0, as_of=None, mode=None,
        standing=Standing.OFFICIAL, started_at=dt.datetime(2025, 1, 2, tzinfo=dt.UTC), current=None,
        inputs=tuple(inputs),
    )  # fmt: skip
    context = RunContext(task, store=store, sink=_ignore)
    try:
        return monitor(task, check, context, store)
    finally:
        context.close()


def _ignore(batch: Batch) -> None:
    """Take a report, and leave it."""


def table(store: ObjectStore, result: Result, name: str) -> pl.DataFrame:
    [found] = [item for item in result.artifacts if item.name == f"{name}.parquet"]
    return pl.read_parquet(store.get(found.stored))


def figure(result: Result, name: str) -> float:
    value = result.metrics[name]
    assert isinstance(value, int | float)
    return value


DRIFT = {"check": "model_drift", "window": 63}


def test_features_and_predictions_that_have_not_changed_are_ok(store: ObjectStore) -> None:
    frames = {"momentum": long(noise(1), "value"), "predictions": long(noise(2), "prediction")}
    result = check(store, [DRIFT], frames, features=[["momentum", "Float64"]])
    assert (result.alerts, result.metrics["verdict"]) == ((), "ok")
    assert figure(result, "psi") < 0.1
    assert result.fields["monitor"] == "model_drift"
    assert (result.fields["reference_start"], result.fields["reference_end"]) == ("2023-01-02", "2024-02-26")
    found = table(store, result, "drift")
    assert found["column"].to_list() == ["momentum", "prediction"]
    assert found["count"].to_list() == [63 * 20, 63 * 20]
    assert found["reference_count"].to_list() == [301 * 20, (len(SESSIONS) - 63) * 20]


def test_a_planted_shift_is_found_in_the_feature_that_has_it_and_in_predictions(store: ObjectStore) -> None:
    moved = noise(1)
    moved[-63:] += 0.6
    frames = {
        "momentum": long(moved, "value"),
        "value": long(noise(3), "value"),
        "predictions": long(
            np.where(np.arange(len(SESSIONS))[:, None] < len(SESSIONS) - 63, 1.0, 2.0) * noise(2), "prediction"
        ),
    }
    result = check(store, [DRIFT], frames)
    assert [(alert.metric, alert.severity) for alert in result.alerts] == [
        ("psi[momentum]", "critical"),
        ("psi[prediction]", "critical"),
    ]
    first = result.alerts[0]
    assert (first.threshold, first.kind) == (0.25, "model_drift")
    assert "1,260 values against 6,020: critical at or above 0.25 (classic threshold)" in first.message
    assert (result.metrics["drifted_features"], result.metrics["verdict"]) == (1, "critical")


def test_the_sample_sizes_are_both_of_the_feature_that_has_the_greatest_index(store: ObjectStore) -> None:
    moved, late, gaps = noise(1), noise(3), noise(4)
    moved[-63:] += 0.6
    late[:100] = np.nan
    gaps[-20:] = np.nan
    frames = {"late": long(late, "value"), "moved": long(moved, "value"), "gaps": long(gaps, "value")}
    result = check(
        store, [DRIFT], frames | {"predictions": long(noise(2)[-80:], "prediction", sessions=SESSIONS[-80:])}
    )
    assert (result.metrics["reference_rows"], result.metrics["window_rows"]) == (301 * 20, 63 * 20)
    [report] = [item for item in result.artifacts if item.name == "report.html"]
    said = read_document(store.get(report.stored).decode()).text
    rows = table(store, result, "drift").filter(pl.col("column") == "gaps")
    sizes = f"{format_value(rows['ks'][0], 'score')}6,020860"
    assert re.search(rf"gaps0\.\d+0\.100{re.escape(sizes)}unchanged", said), said


def test_features_are_monitored_as_the_model_saw_them_and_not_as_they_were_corrected(store: ObjectStore) -> None:
    seen, moved = noise(1), noise(1)
    moved[-63:] += 0.6
    # A year later the window is restated: what was shifted becomes sound, and the reverse.
    for first, last, verdict in ((seen, moved, "ok"), (moved, seen, "critical")):
        dataset = Dataset(store, known_at={"lag": "date + 1d"})
        dataset.runs = next(_runs) * 1000
        dataset.refresh(long(first, "value"))
        dataset.refresh(long(last, "value"))
        assert dataset.current is not None
        assert {one.role for one in dataset.current.segments} == {SegmentRole.INSERT, SegmentRole.REVISE}
        result = check(store, [DRIFT], {"momentum": dataset.current})
        assert result.metrics["verdict"] == verdict


def test_only_members_of_the_universe_are_monitored_for_the_model_sees_no_others(store: ObjectStore) -> None:
    moved = noise(1)
    moved[-63:, 10:] += 3.0
    members = pl.DataFrame({"date": [SESSIONS[0]] * 10, "symbol": NAMES[:10], "member": True})
    result = check(store, [DRIFT], {"momentum": long(moved, "value"), "universe": members})
    assert result.metrics["verdict"] == "ok"
    assert table(store, result, "drift")["count"].to_list() == [63 * 10]


def test_a_feature_is_named_by_its_role_and_column_where_a_role_has_several(store: ObjectStore) -> None:
    both = long(noise(1), "fast").with_columns(slow=long(noise(2), "slow")["slow"])
    result = check(store, [DRIFT], {"signals": both}, features=["signals_fast", "signals_gone"])
    assert table(store, result, "drift")["column"].to_list() == ["signals_fast", "signals_slow"]
    [alert] = result.alerts
    assert (alert.metric, alert.value, alert.severity) == ("schema_changes", 2.0, "warning")
    assert "signals_gone vanished; signals_slow new" in alert.message


def test_too_few_rows_after_the_fit_are_no_verdict_and_never_ok(store: ObjectStore) -> None:
    short = SESSIONS[: FITTED_TO + 2]
    frames = {"momentum": long(noise(1)[: len(short)] + 9, "value", sessions=short)}
    result = check(store, [DRIFT], frames)
    assert result.metrics["verdict"] == "no_verdict"
    [alert] = result.alerts
    assert (alert.severity, alert.threshold) == ("info", None)
    assert "too few values to judge, 200 on each side are needed: momentum (20 values against 6,020)" in alert.message


def test_nothing_after_the_fit_is_no_verdict(store: ObjectStore) -> None:
    sessions = SESSIONS[: FITTED_TO + 1]
    frames = {"momentum": long(noise(1)[: len(sessions)], "value", sessions=sessions)}
    result = check(store, [DRIFT], frames)
    assert result.metrics["verdict"] == "no_verdict"
    assert "features have no date after 2024-02-26" in result.alerts[0].message
    result = check(store, [DRIFT], frames, fits=[])
    assert "names no fit" in result.alerts[0].message


def test_a_feature_that_is_missing_everywhere_in_the_window_is_not_ok(store: ObjectStore) -> None:
    gone = noise(1)
    gone[-63:] = np.nan
    result = check(store, [DRIFT], {"momentum": long(gone, "value")})
    assert result.metrics["verdict"] == "no_verdict"
    assert "momentum (0 values against 6,020)" in result.alerts[0].message
    assert table(store, result, "drift")["missing_pct"].to_list() == [1.0]


PERFORMANCE = {"check": "performance", "window": 63}
TARGET = {"horizon": 5, "lag": 1, "transform": "raw"}


def market() -> tuple[pl.DataFrame, Any]:
    """Give prices, and the return of each name that follows each session: what a perfect model predicts."""
    prices = 100 * np.exp(np.cumsum(noise(7) * 0.01, axis=0))
    ahead = np.full_like(prices, np.nan)
    ahead[:-6] = prices[6:] / prices[1:-5] - 1
    return long(prices, "close"), ahead


def test_predictions_that_come_true_are_ok_and_only_matured_labels_count(store: ObjectStore) -> None:
    prices, ahead = market()
    predicted = np.where(np.isnan(ahead), 0.5, ahead)
    result = check(
        store, [PERFORMANCE], {"predictions": long(predicted, "prediction"), "prices": prices}, target=TARGET
    )
    assert (result.alerts, result.metrics["verdict"]) == ((), "ok")
    figures = {name: result.metrics[name] for name in ("ic", "hit_rate", "direction_accuracy", "matured_dates")}
    assert figures == {"ic": pytest.approx(1.0), "hit_rate": 1.0, "direction_accuracy": 1.0, "matured_dates": 63}
    assert result.metrics["matured_labels"] == 63 * 20
    # The last six sessions have no label: one to enter, five to hold.
    assert result.fields["window_end"] == SESSIONS[-7].isoformat()
    assert table(store, result, "performance").height == len(SESSIONS) - 6


def test_a_split_is_no_return_that_a_prediction_missed(store: ObjectStore) -> None:
    prices, ahead = market()
    cut = len(SESSIONS) - 30
    is_after = pl.col("date") >= SESSIONS[cut]
    split = prices.with_columns(
        close=pl.when(is_after).then(pl.col("close") / 2).otherwise(pl.col("close")),
        split=pl.when(pl.col("date") == SESSIONS[cut]).then(2.0).otherwise(1.0),
    ).with_columns(
        # Half of the names split, the others do not.
        close=pl.when(pl.col("symbol") < "S10").then(pl.col("close")).otherwise(prices["close"]),
        split=pl.when(pl.col("symbol") < "S10").then(pl.col("split")).otherwise(1.0),
    )
    frames = {"predictions": long(np.where(np.isnan(ahead), 0.5, ahead), "prediction"), "prices": split}
    result = check(store, [PERFORMANCE], frames, target=TARGET)
    assert result.metrics["ic"] == pytest.approx(1.0)


def test_labels_are_ranked_among_the_members_of_the_universe_as_in_the_training(store: ObjectStore) -> None:
    prices, ahead = market()
    # The members are the five that will do best: the middle of all names says nothing of them.
    best = np.argsort(np.argsort(np.nan_to_num(ahead), axis=1), axis=1) >= 15
    ranks = np.where(best, (np.argsort(np.argsort(np.nan_to_num(ahead), axis=1), axis=1) - 14) / 5, np.nan)
    members = long(best, "member")
    frames = {"predictions": long(ranks, "prediction"), "prices": prices, "universe": members}
    result = check(store, [PERFORMANCE], frames, target={**TARGET, "transform": "cs_rank"})
    assert result.metrics["direction_accuracy"] == 1.0


def test_predictions_that_turn_against_what_comes_are_told_in_three_figures(store: ObjectStore) -> None:
    prices, ahead = market()
    turned = np.nan_to_num(ahead)
    turned[-69:] *= -1
    result = check(store, [PERFORMANCE], {"predictions": long(turned, "prediction"), "prices": prices}, target=TARGET)
    assert [alert.metric for alert in result.alerts] == ["direction_accuracy", "ic", "hit_rate"]
    assert result.metrics["ic"] == pytest.approx(-1.0)
    assert "ic on 63 dates with matured labels is -1, 1 on the 331 dates before" in result.alerts[1].message


def test_predictions_of_ranks_have_their_sign_from_the_middle(store: ObjectStore) -> None:
    prices, ahead = market()
    ranks = (np.argsort(np.argsort(np.nan_to_num(ahead), axis=1), axis=1) + 1) / len(NAMES)
    target = {**TARGET, "transform": "cs_rank"}
    frames = {"predictions": long(1.05 - ranks, "prediction"), "prices": prices}
    result = check(store, [PERFORMANCE], frames, target=target)
    assert figure(result, "direction_accuracy") < 0.1


@pytest.mark.parametrize(
    ("predicted", "closes", "transform", "expected"),
    [
        # Up, down, down, down: of probabilities the second alone is wrong; by their signs only the first was right.
        ([0.9, 0.6, 0.4, 0.2], [11.0, 9.0, 8.0, 7.0], "raw", 0.75),
        # One half is not above one half; and what did not move is of class 0.
        ([0.5, 0.5, 0.7, 0.2], [11.0, 9.0, 10.0, 10.0], "raw", 0.5),
        # A decision function has a sign.
        ([1.2, 0.3, -0.1, -2.0], [11.0, 9.0, 8.0, 7.0], "raw", 0.75),
        # Of ranks 1, 0.75, 0.5 and 0.25 two are above the middle.
        ([0.9, 0.6, 0.4, 0.2], [11.0, 9.0, 8.0, 7.0], "cs_rank", 1.0),
        ([1.2, 0.3, -0.1, -2.0], [11.0, 9.0, 8.0, 7.0], "cs_rank", 1.0),
    ],
)
def test_the_direction_of_a_classifier_is_its_class(
    store: ObjectStore, predicted: list[float], closes: list[float], transform: str, expected: float
) -> None:
    days, names = SESSIONS[:3], list("ABCD")
    prices = pl.DataFrame(
        {"date": [day for day in days for _ in names], "symbol": names * 3, "close": [10.0] * 8 + closes}
    )
    said = pl.DataFrame(
        {"date": days[:1] * 4, "symbol": names, "prediction": predicted},
    )
    # Who gives probabilities says how sure it is, too.
    is_sure = min(predicted) >= 0.0
    said = said.with_columns(
        confidence=pl.when(is_sure).then(pl.max_horizontal("prediction", 1 - pl.col("prediction")))
    )
    target = {"horizon": 1, "lag": 1, "transform": transform}
    frames = {"predictions": said, "prices": prices}
    result = check(store, [PERFORMANCE], frames, target=target, is_classifier=True)
    assert result.metrics["direction_accuracy"] == expected


def test_predictions_without_a_matured_label_are_no_verdict(store: ObjectStore) -> None:
    prices, _ = market()
    late = long(noise(3)[-4:], "prediction", sessions=SESSIONS[-4:])
    result = check(store, [PERFORMANCE], {"predictions": late, "prices": prices}, target=TARGET)
    assert (result.metrics["verdict"], result.metrics["matured_labels"]) == ("no_verdict", 0)
    assert result.alerts[0].message == "none of 80 predictions of alpha has a label that is known yet"
    some = long(noise(3)[-16:], "prediction", sessions=SESSIONS[-16:])
    result = check(store, [PERFORMANCE], {"predictions": some, "prices": prices}, target=TARGET)
    assert result.metrics["verdict"] == "no_verdict"
    assert "10 dates have an information coefficient, which is too few" in result.alerts[0].message


def test_several_checks_are_one_run_and_its_verdict_is_the_worst(store: ObjectStore) -> None:
    prices, ahead = market()
    frames = {
        "momentum": long(noise(1) + np.linspace(0, 3, len(SESSIONS))[:, None], "value"),
        "predictions": long(np.nan_to_num(ahead), "prediction"),
        "prices": prices,
    }
    result = check(store, [DRIFT, PERFORMANCE], frames, target=TARGET)
    assert (result.fields["monitor"], result.metrics["verdict"]) == ("several", "critical")
    assert {alert.kind for alert in result.alerts} == {"model_drift"}
    assert {item.name for item in result.artifacts} == {"drift.parquet", "performance.parquet", "report.html"}


def test_a_config_without_a_monitor_says_what_to_add(store: ObjectStore) -> None:
    with pytest.raises(InvalidInputError, match="alpha declares no monitor") as caught:
        check(store, [], {})
    assert "add `monitor: {check: ...}`" in (caught.value.next_step or "")


def alert(severity: Severity) -> Alert:
    return Alert(severity=severity, kind="performance", metric="ic", message="...")


@pytest.mark.parametrize(
    ("severities", "is_judged", "verdict"),
    [
        ([], True, "ok"),
        ([], False, "no_verdict"),
        (["info"], True, "ok"),
        (["info"], False, "no_verdict"),
        (["warning"], False, "warning"),
        (["warning", "critical", "info"], True, "critical"),
    ],
)
def test_a_verdict_is_the_worst_alert_and_never_ok_where_something_was_not_judged(
    severities: list[str], is_judged: bool, verdict: str
) -> None:
    assert verdict_of([alert(Severity(one)) for one in severities], is_judged=is_judged) is Verdict(verdict)


def test_of_many_alerts_the_worst_are_listed_and_the_others_counted() -> None:
    many = [alert(Severity.INFO)] * 3 + [alert(Severity.WARNING)] * 3 + [alert(Severity.CRITICAL)]
    listed = worst_first(many, limit=3)
    assert [one.severity for one in listed] == ["critical", "warning", "warning"]
    assert (listed[-1].value, listed[-1].metric) == (5.0, "alerts")


def test_a_threshold_holds_from_its_value_on_or_below_it() -> None:
    above, below = Threshold(warning=0.1, critical=0.25), Threshold(warning=0.0, critical=-0.1, is_floor=True)
    assert [above.judge(value) for value in (0.0999, 0.1, 0.25)] == [
        None, (Severity.WARNING, 0.1), (Severity.CRITICAL, 0.25),
    ]  # fmt: skip
    assert [below.judge(value) for value in (0.0, -0.05, -0.2)] == [
        None, (Severity.WARNING, 0.0), (Severity.CRITICAL, -0.1),
    ]  # fmt: skip
    assert above.judge(float("nan")) is below.judge(float("nan")) is None
