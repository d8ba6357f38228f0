"""What flow code can see and say, and what it is told when it says something wrong."""

from __future__ import annotations

import datetime as dt
import fractions
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from optaic.domain.artifact import Artifact
from optaic.errors import InvalidInputError, RunCancelledError
from optaic.flows.context import RunContext
from tests.contexts import RUN_ID, Told, context_of


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def context(tmp_path: Path, told: Told) -> Iterator[RunContext]:
    context = context_of(tmp_path, told)
    yield context
    if not context._reporter._is_closed:
        context.close()


def test_a_flow_sees_its_run(context: RunContext) -> None:
    assert (context.run_id, context.attempt, context.instance) == (RUN_ID, 2, "prices")
    assert (context.params["n"], context.seed, context.as_of, context.mode) == (21, 7, None, "full")


def test_metrics_keep_their_order_steps_and_last_values(context: RunContext, told: Told) -> None:
    context.log_metric("loss", 0.5, step=0)
    context.log_metric("loss", math.nan, step=1)
    context.log_metric("rows", 3)
    context.log_metric("loss", 0.25, step=1)
    context.close()
    first, second, *others = told.points
    assert first == ("loss", 0.5, 0)
    assert math.isnan(second[1])
    assert others == [("rows", 3.0, None), ("loss", 0.25, 1)]
    assert context.metrics == {"loss": 0.25, "rows": 3.0}


@pytest.mark.parametrize(
    "value", [1, -2.5, np.float64(1.5), np.float32(0.5), np.int64(3), fractions.Fraction(1, 2), math.nan, 2**60]
)
def test_every_real_number_may_be_a_metric(context: RunContext, value: Any) -> None:
    step: Any = np.int32(4)
    context.log_metric("x", value, step)
    assert type(context.metrics["x"]) is float


@pytest.mark.parametrize("value", [True, np.True_, math.inf, -math.inf, 10**400, "1.0", None, 1j, [1.0]])
def test_what_is_not_a_finite_number_is_refused_at_once(context: RunContext, value: Any) -> None:
    with pytest.raises(InvalidInputError, match="not a finite number"):
        context.log_metric("x", value)
    assert context.metrics == {}


@pytest.mark.parametrize("name", ["", " x", "a\nb", "é", "x" * 201, "-a", 3, None, ["a"], b"a"])
def test_a_bad_name_of_a_metric_is_refused_at_once(context: RunContext, name: Any) -> None:
    with pytest.raises(InvalidInputError, match="cannot be the name"):
        context.log_metric(name, 1.0)


@pytest.mark.parametrize("step", [True, 1.5, "1", 2**63, -(2**64)])
def test_a_bad_step_is_refused_at_once(context: RunContext, step: Any) -> None:
    with pytest.raises(InvalidInputError, match="whole number"):
        context.log_metric("x", 1.0, step=step)


def test_progress_is_coalesced_to_the_last(context: RunContext, told: Told) -> None:
    for pct in range(50):
        context.progress(pct, f"step {pct}")
    context.flush()
    context.progress(100.0000001)
    context.progress(-3)
    context.flush()
    context.flush()
    assert told.progress == [(49.0, "step 49"), (0.0, None)]


@pytest.mark.parametrize("pct", [math.nan, True, "50", None])
def test_progress_that_is_no_number_is_refused(context: RunContext, pct: Any) -> None:
    with pytest.raises(InvalidInputError, match="progress"):
        context.progress(pct)


def stored(folder: Path, artifact: Artifact) -> Path:
    return folder / artifact.stored.key


def test_frames_become_parquet_artifacts_of_this_attempt(context: RunContext, tmp_path: Path) -> None:
    frame = pl.DataFrame({"date": [dt.date(2024, 1, 2)], "close": [1.5]})
    first = context.log_frame("scores", frame)
    second = context.log_frame("scores.parquet", frame.lazy())
    third = context.log_frame("deep/scores", frame)
    assert [one.name for one in context.artifacts] == ["scores.parquet", "scores-2.parquet", "deep/scores.parquet"]
    assert first.stored.key == f"t1/runs/{RUN_ID}/2/scores.parquet"
    assert (first.kind, first.media_type) == ("frame", "application/vnd.apache.parquet")
    for artifact in (first, second, third):
        assert pl.read_parquet(stored(tmp_path, artifact)).equals(frame)


def test_frames_of_pandas_keep_their_index(context: RunContext, tmp_path: Path) -> None:
    index = pd.date_range("2024-01-02", periods=2, name="date")
    table = pd.DataFrame({"close": [1.0, 2.0], "symbol": ["A", None]}, index=index)
    read = pl.read_parquet(stored(tmp_path, context.log_frame("frame", table)))
    assert read.columns == ["date", "close", "symbol"]
    assert read["symbol"].to_list() == ["A", None]
    zoned = pd.DataFrame({"at": index.tz_localize("America/New_York"), "whole": pd.array([1, None], dtype="Int64")})
    read = pl.read_parquet(stored(tmp_path, context.log_frame("zoned", zoned)))
    assert read["at"][0] == dt.datetime(2024, 1, 2, 5, tzinfo=dt.UTC)
    assert read["whole"].to_list() == [1, None]
    read = pl.read_parquet(stored(tmp_path, context.log_frame("plain", pd.DataFrame({"x": [1, 2]}))))
    assert read.columns == ["x"]
    read = pl.read_parquet(stored(tmp_path, context.log_frame("series", pd.Series([1.0, 2.0]))))
    assert read["value"].to_list() == [1.0, 2.0]


def test_files_become_artifacts_with_their_media_type(context: RunContext, tmp_path: Path) -> None:
    file = tmp_path / "plot.html"
    file.write_text("<p>")
    artifact = context.log_file("report.html", file)
    again = context.log_file("report.html", str(file))
    unknown = context.log_file("weights.xyz", file)
    assert (artifact.kind, artifact.media_type, artifact.stored.size_bytes) == ("file", "text/html", 3)
    assert again.name == "report-2.html"
    assert unknown.media_type == "application/octet-stream"
    assert stored(tmp_path, artifact).read_text() == "<p>"
    assert file.exists()


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../b", "a//b", ".hidden", "", "a\0b", "a\\b", "x" * 300])
def test_path_tricks_in_names_are_refused(context: RunContext, tmp_path: Path, name: str) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(InvalidInputError, match="not allowed"):
        context.log_file(name, file)
    with pytest.raises(InvalidInputError, match="not allowed"):
        context.log_frame(name, pl.DataFrame({"x": [1]}))
    assert context.artifacts == ()


def test_what_is_no_table_and_no_file_is_refused(context: RunContext, tmp_path: Path) -> None:
    no_table: Any = [1, 2]
    with pytest.raises(InvalidInputError, match="not a table"):
        context.log_frame("x", no_table)
    with pytest.raises(InvalidInputError, match="cannot be written as Parquet"):
        context.log_frame("x", pl.DataFrame({"x": [object()]}))
    with pytest.raises(InvalidInputError, match="no file"):
        context.log_file("x.txt", tmp_path / "missing")


def test_a_flow_can_look_whether_it_was_asked_to_stop(context: RunContext) -> None:
    assert not context.cancelled
    context.raise_if_cancelled()
    context.ask_cancel()
    assert context.cancelled
    with pytest.raises(RunCancelledError):
        context.raise_if_cancelled()


def test_an_input_that_is_not_declared_is_refused(context: RunContext) -> None:
    with pytest.raises(InvalidInputError, match="no input 'prices'; it declares: none"):
        context.input("prices")
