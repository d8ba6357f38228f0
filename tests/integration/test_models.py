"""Models, from features to predictions that others read: walk-forward, out of sample, and the same when repeated."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import Ridge
from sqlalchemy import select

from optaic.errors import InvalidInputError, NotFoundError, ProjectFileError, UpstreamNotReadyError
from optaic.ledger.tables import activities, inference_runs, versions
from optaic.storage.models import load_model
from tests.modelling import INSTANCES, alpha, prepare
from tests.research import Research, open_research


@pytest.fixture
def research(tmp_path: Path, sqlite_url: str) -> Iterator[Research]:
    with open_research(tmp_path / "project", sqlite_url) as opened:
        prepare(opened)
        opened.declare(INSTANCES + alpha())
        yield opened


@pytest.fixture
def anywhere(tmp_path: Path, database_url: str) -> Iterator[Research]:
    with open_research(tmp_path / "project", database_url) as opened:
        prepare(opened)
        yield opened


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Research]:
    """Train and predict once, for tests that only look."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copyfile(sqlite_template, folder / "ledger.db")
    with open_research(folder / "project", f"sqlite:///{folder / 'ledger.db'}") as opened:
        prepare(opened)
        opened.declare(INSTANCES + alpha())
        run = opened.ledger.run("alpha.infer", recursive=True)
        assert run.status == "completed", run.reason
        yield opened


def test_a_model_is_trained_and_predicts_from_the_project_file(trained: Research) -> None:
    run = trained.ledger.get("alpha.infer@latest")
    assert (run.status, run.type, run.version) == ("completed", "InferenceRun", 1), run.reason
    training = trained.ledger.get("alpha.train@latest")
    assert (training.type, training.status, training.version) == ("TrainingRun", "completed", 1)
    scores = training.frame("cv_scores")
    # 500 sessions, features from the 20th on are not needed: a row may come from the noise alone only if gaps are
    # allowed, and a ridge regression allows none. 20 + 150 + 6 sessions before the first prediction, then 60 each.
    assert scores.height == training.metrics["num_fits"] == 6
    assert training.metrics["num_features"] == 3
    assert training.metrics["training_samples"] == scores["training_samples"].sum() == 30 * (6 * 150 + 60 * 15)
    assert training.metrics["validation_samples"] == 30 * (500 - 176 - 6)
    predictions = trained.ledger.data("alpha.infer")
    assert predictions.columns == ["date", "symbol", "prediction", "confidence", "fit_id", "label_end", "known_at"]
    assert predictions.height == run.metrics["num_predictions"] == 30 * (500 - 176)
    assert run.metrics["coverage"] == 1.0
    assert run.metrics["confidence_mean"] is None
    assert run.metrics["mean_prediction"] == pytest.approx(predictions["prediction"].mean())
    assert [item.role for item in run.inputs] == ["model", "noise", "trend"]
    assert set(trained.freshness().values()) == {"ready"}


def test_predictions_are_those_of_the_newest_fit_that_had_not_seen_their_date(trained: Research) -> None:
    predictions = trained.ledger.data("alpha.infer")
    assert (predictions["label_end"] < predictions["date"]).all()
    close_of_labels = predictions["label_end"].cast(pl.Datetime("us", "UTC")) + dt.timedelta(days=1)
    # Known when the features were, at the close; a Friday's decision is taken before Monday's open.
    assert (predictions["known_at"] >= close_of_labels).all()
    closes = predictions["date"].cast(pl.Datetime("us", "UTC")) + dt.timedelta(days=1)
    assert (predictions["known_at"] == closes).all()
    scores = trained.ledger.get("alpha.train@latest").frame("cv_scores")
    for fit in scores.iter_rows(named=True):
        rows = predictions.filter(pl.col("fit_id") == fit["fit_id"])
        assert (rows["date"].min(), rows["date"].max()) == (fit["test_start"], fit["test_end"])
        assert rows["label_end"].unique().to_list() == [fit["label_end"]]


def test_a_fit_is_what_scikit_learn_learns_from_the_same_rows(trained: Research) -> None:
    closes = trained.ledger.data("prices").pivot("symbol", index="date", values="close").sort("date")
    symbols = [name for name in closes.columns if name != "date"]
    table = closes.select(symbols).to_numpy()
    following = table[6:] / table[1:-5] - 1
    ranks = (following.argsort(axis=1).argsort(axis=1) + 1) / 30
    labels = pl.DataFrame(
        {
            "date": np.repeat(closes["date"].to_numpy()[:494], 30),
            "symbol": symbols * 494,
            "label": ranks.ravel(),
        }
    )
    noise = trained.ledger.data("noise").select("date", "symbol", "a", "b")
    trend = trained.ledger.data("trend").select("date", "symbol", "value")
    rows = (
        noise.join(trend, on=["date", "symbol"]).join(labels, on=["date", "symbol"], how="left").sort("date", "symbol")
    )
    dates = rows["date"].unique().sort()
    learned = rows.filter(pl.col("date").is_in(dates[:210].implode()))
    second = Ridge().fit(learned.select("a", "b", "value").to_numpy(), learned["label"].to_numpy())
    asked = rows.filter(pl.col("date") == dates[216])
    expected = second.predict(asked.select("a", "b", "value").to_numpy())
    found = trained.ledger.data("alpha.infer").filter(pl.col("date") == dates[216])
    assert found["fit_id"].unique().to_list() == [2]
    assert found["prediction"].to_numpy() == pytest.approx(expected, rel=1e-9)


def test_the_same_seed_and_inputs_give_the_same_model_in_a_fresh_process(research: Research) -> None:
    research.declare(INSTANCES + alpha("sklearn.ensemble:HistGradientBoostingRegressor", params="{max_iter: 5}"))
    first = research.ledger.run("alpha", recursive=True)
    again = research.ledger.run("alpha")
    assert (first.version, again.status, again.version) == (1, "completed", None)
    assert first.artifact("fits/0001.skops") == again.artifact("fits/0001.skops")
    assert first.frame("probe").equals(again.frame("probe"))
    research.declare(INSTANCES + alpha("sklearn.ensemble:HistGradientBoostingRegressor", params="{max_iter: 6}"))
    other = research.ledger.run("alpha")
    assert other.version == 2


def test_new_prices_within_a_block_make_no_other_model(research: Research) -> None:
    (research.root / "days").write_text("480")
    research.ledger.run("alpha", recursive=True)
    (research.root / "days").write_text("490")
    run = research.ledger.run("alpha", recursive=True)
    assert (run.status, run.version) == ("completed", None)


def test_dates_that_no_fit_predicts_out_of_sample_are_refused_or_labelled(research: Research) -> None:
    research.declare(INSTANCES + alpha(infer="{start: 2021-03-01}"))
    run = research.ledger.run("alpha.infer", recursive=True)
    assert run.status == "failed"
    assert "[in_sample_input]" in (run.reason or "")
    research.declare(INSTANCES + alpha(infer="{start: 2021-03-01, allow_in_sample: true}"))
    allowed = research.ledger.run("alpha.infer", recursive=True)
    assert allowed.status == "completed", allowed.reason
    seen = research.ledger.data("alpha.infer").filter(pl.col("label_end") >= pl.col("date"))
    assert seen["date"].min() == dt.date(2021, 3, 1)
    with research.ledger.runtime.database.read() as tx:
        row = tx.conn.execute(select(inference_runs).where(inference_runs.c.run_id == allowed.id)).one()
        number = tx.conn.execute(select(versions.c.number).where(versions.c.id == row.model_version_id)).scalar_one()
    assert (row.is_in_sample, row.first_date, number) == (True, dt.date(2021, 3, 1), 1)
    count = allowed.to_json()["metrics"]["in_sample_rows"]
    assert count == seen.height > 0
    said = f"{count} rows of alpha.infer are in-sample, and are used: allow_in_sample is set"
    assert any(said in str(line) for line in allowed.logs())
    stacked = alpha(inputs='{first: "alpha.infer[prediction]", prices: prices}').replace("alpha:", "stacked:", 1)
    research.declare(INSTANCES + alpha(infer="{start: 2021-03-01, allow_in_sample: true}") + stacked)
    assert "[in_sample_input]" in (research.ledger.run("stacked").reason or "")
    research.declare(INSTANCES + alpha(infer="{allow_in_sample: true}"))
    assert research.ledger.run("alpha.infer").metrics["in_sample_rows"] == 0, "allowed, and none was there"


def test_a_feature_that_is_not_what_it_was_is_caught_before_predicting(research: Research) -> None:
    research.declare(INSTANCES + alpha(infer="{model: 'version:1'}"))
    research.ledger.run("alpha", recursive=True)
    (research.root / "noise").write_text("wider")
    assert research.ledger.run("noise", mode="full").status == "completed"
    run = research.ledger.run("alpha.infer", force=True)
    assert run.status == "failed"
    assert "not those that alpha version 1 was trained on: noise_c is new" in (run.reason or "")
    assert "[features_changed]" in (run.reason or "")


def test_a_backtest_reads_predictions_and_is_told_so_if_it_reads_the_model(research: Research) -> None:
    backtest = """
  follow:
    kind: backtest
    inputs: {signal: SIGNAL, prices: prices}
    config: {start: 2022-01-03, rebalance: weekly, adjusted: true, calendar: weekdays}
"""
    with pytest.raises(ProjectFileError, match="follow reads rows of alpha, and train makes files") as caught:
        research.declare(INSTANCES + alpha() + backtest.replace("SIGNAL", "alpha"))
    assert caught.value.next_step == "read its predictions: signal: alpha.infer"
    research.declare(INSTANCES + alpha() + backtest.replace("SIGNAL", "alpha.infer"))
    run = research.ledger.run("follow", recursive=True)
    assert run.status == "completed", run.reason
    with pytest.raises(InvalidInputError, match="alpha is no dataset; it is a model") as refused:
        research.ledger.data("alpha")
    assert refused.value.next_step == "read its predictions: alpha.infer"


@pytest.mark.parametrize("definition", ["estimators:Steady", "estimators:scaled"])
def test_an_estimator_of_the_project_is_trained_stored_and_loaded(research: Research, definition: str) -> None:
    research.declare(INSTANCES + alpha(definition, params="{alpha: 2.0}"))
    run = research.ledger.run("alpha.infer", recursive=True)
    assert run.status == "completed", run.reason
    assert run.metrics["num_predictions"] == 30 * (500 - 176)


def test_a_classifier_predicts_probabilities_and_says_how_sure_it_is(research: Research) -> None:
    research.declare(INSTANCES + alpha("sklearn.linear_model:LogisticRegression", sample_weight="{half_life: 60}"))
    run = research.ledger.run("alpha.infer", recursive=True)
    assert run.status == "completed", run.reason
    predictions = research.ledger.data("alpha.infer")
    assert predictions["prediction"].is_between(0, 1).all()
    assert (
        predictions["confidence"] == pl.Series(np.maximum(predictions["prediction"], 1 - predictions["prediction"]))
    ).all()
    assert run.metrics["confidence_mean"] == pytest.approx(predictions["confidence"].mean())
    metrics = research.ledger.get("alpha.train@latest").metrics
    assert {f"val_{name}" for name in ("accuracy", "auc", "precision", "recall", "f1", "log_loss")} <= set(metrics)
    assert metrics["val_log_loss"] == pytest.approx(np.log(2), abs=0.02)  # there is nothing to learn
    assert "val_rmse" not in metrics


def test_a_stage_is_what_readers_of_it_follow(anywhere: Research) -> None:
    anywhere.declare(INSTANCES + alpha(infer="{model: 'stage:champion'}"))
    anywhere.ledger.run("alpha", recursive=True)
    assert anywhere.ledger.stage("alpha", 1, "champion")
    assert not anywhere.ledger.stage("alpha", 1, "champion")
    run = anywhere.ledger.run("alpha.infer", recursive=True)
    assert run.status == "completed", run.reason
    anywhere.declare(INSTANCES + alpha(infer="{model: 'stage:champion'}", params="{alpha: 50.0}"))
    assert anywhere.ledger.run("alpha").version == 2
    anywhere.ledger.run("alpha.infer")
    assert anywhere.freshness()["alpha.infer"] == "ready"  # a new version is not the champion
    anywhere.ledger.stage("alpha", 2, "champion")
    assert anywhere.freshness()["alpha.infer"] == "stale"
    assert [(item["version"], item["stage"]) for item in anywhere.ledger.models("alpha")] == [
        (2, "champion"),
        (1, "archived"),
    ]
    again = anywhere.ledger.run("alpha.infer")
    assert (again.status, again.version) == ("completed", 2), again.reason
    assert [item.version for item in again.inputs if item.role == "model"] == [2]
    assert anywhere.freshness()["alpha.infer"] == "ready"


def test_predictions_that_wait_for_a_champion_say_how_to_get_one(anywhere: Research) -> None:
    ledger = anywhere.ledger
    anywhere.declare(INSTANCES + alpha(infer="{model: 'stage:champion'}"))
    ways = ["optaic run alpha --recursive", "optaic model stage alpha@1 champion", "optaic run alpha.infer --recursive"]
    why = ledger.why("alpha.infer")
    assert why["missing"] == [
        {"message": "there is no version of alpha with the stage champion: it has none yet", "next_steps": ways[:2]}
    ]
    assert why["next_steps"] == ways
    assert ledger.run("alpha", recursive=True).status == "completed"
    run = ledger.run("alpha.infer", recursive=True)
    reason = run.to_json()["reason"]
    assert (run.status, reason["code"]) == ("failed", "upstream_not_ready")
    assert reason["message"] == (
        "alpha.infer reads stage:champion of alpha: there is no version of alpha with the stage champion: "
        "it has versions 1 to 1"
    )
    assert reason["next_step"] == f"optaic model stage alpha@1 champion, then: optaic retry {run.id}"
    ledger.stage("alpha", 1, "champion")
    assert ledger.why("alpha.infer")["missing"] == []
    anywhere.declare(INSTANCES + alpha(infer="{model: 'version:99'}"))
    with pytest.raises(UpstreamNotReadyError, match="alpha has no version 99; it has version 1"):
        ledger.run("alpha.infer")


def test_a_stage_is_taken_back_with_none_and_the_ledger_says_so(trained: Research) -> None:
    ledger = trained.ledger
    assert not ledger.stage("alpha", 1, "none"), "it has none yet"
    assert ledger.stage("alpha", 1, "candidate")
    assert ledger.stage("alpha", 1, "none")
    assert not ledger.stage("alpha", 1, "none")
    assert [item["stage"] for item in ledger.models("alpha")] == [None]
    with ledger.runtime.database.read() as tx:
        query = select(activities.c.payload).where(activities.c.verb == "model.staged").order_by(activities.c.id)
        told = [(facts["old_stage"], facts["stage"]) for facts in tx.conn.execute(query).scalars()]
    assert told == [(None, "candidate"), ("candidate", None)]


def causes(research: Research) -> dict[str, list[tuple[str, str | None]]]:
    """Give why each flow of the model is not ready."""
    found = {item["target"]: item["causes"] for item in research.ledger.status() if item["instance"] == "alpha"}
    return {target: [(cause["kind"], cause["upstream"]) for cause in causes] for target, causes in found.items()}


def test_what_is_asked_of_predictions_makes_no_training_stale(anywhere: Research) -> None:
    first = "{start: 2022-01-03}"
    anywhere.declare(INSTANCES + alpha(infer=first))
    assert anywhere.ledger.run("alpha.infer", recursive=True).status == "completed"
    nothing: dict[str, list[tuple[str, str | None]]] = {"alpha": [], "alpha.infer": []}
    assert causes(anywhere) == nothing
    anywhere.declare(INSTANCES + alpha(infer="{start: 2022-02-01}"))
    assert causes(anywhere) == {"alpha": [], "alpha.infer": [("config_changed", None)]}
    (why,) = anywhere.ledger.why("alpha.infer")["causes"]
    assert why["differences"] == [{"path": "infer.start", "before": "2022-01-03", "after": "2022-02-01"}]
    anywhere.declare(INSTANCES + alpha(infer=first))
    assert causes(anywhere) == nothing
    # The other way round: what fits are made of changes predictions through the model, and is told as that.
    for changed in ({"params": "{alpha: 50.0}"}, {"embargo": "3"}, {"refit": "{every: 80, min_train: 150}"}):
        anywhere.declare(INSTANCES + alpha(infer=first, **changed))
        assert causes(anywhere)["alpha"] == [("config_changed", None)]
        assert causes(anywhere)["alpha.infer"] == [("upstream_not_ready", "alpha")]
    anywhere.declare(INSTANCES + alpha(infer="{start: 2022-02-01}", embargo="3"))
    (why,) = anywhere.ledger.why("alpha")["causes"]
    assert [item["path"] for item in why["differences"]] == ["embargo"]
    assert causes(anywhere)["alpha.infer"] == [("config_changed", None), ("upstream_not_ready", "alpha")]
    anywhere.declare(INSTANCES + alpha(infer=first))
    assert causes(anywhere) == nothing


def test_a_wrong_stage_model_or_version_is_told(trained: Research) -> None:
    with pytest.raises(InvalidInputError, match="'champoin' is not a stage; did you mean 'champion'"):
        trained.ledger.stage("alpha", 1, "champoin")
    with pytest.raises(NotFoundError, match="alpha has no version 7; it has versions 1 to 1"):
        trained.ledger.stage("alpha", 7, "champion")
    with pytest.raises(InvalidInputError, match="prices is no model; it is a dataset"):
        trained.ledger.stage("prices", 1, "champion")
    with pytest.raises(InvalidInputError, match=r"alpha\.infer has no stages of its own"):
        trained.ledger.stage("alpha.infer", 1, "champion")


def test_a_package_that_is_not_allowed_is_refused_at_apply_until_the_settings_allow_it(research: Research) -> None:
    with pytest.raises(ProjectFileError, match="not among the estimators that may be trained"):
        research.declare(INSTANCES + alpha("skfolio.optimization:MeanRisk"))
    (research.root / "optaic.yaml").write_text(
        "project: research\nsettings: {estimators: [skfolio]}\ninstances:"
        + INSTANCES
        + alpha("skfolio.optimization:MeanRisk")
    )
    assert [change.action for change in research.ledger.apply().items][-1] == "updated"


def test_an_unknown_param_of_an_estimator_is_told_at_apply(research: Research) -> None:
    with pytest.raises(ProjectFileError, match="alpha has no param 'alhpa'; did you mean 'alpha'"):
        research.declare(INSTANCES + alpha(params="{alhpa: 2.0}"))


def test_a_stored_fit_is_a_skops_file_of_the_estimator(trained: Research) -> None:
    run = trained.ledger.get("alpha.train@latest")
    model = load_model(run.artifact("fits/0001.skops"), name="fit 1")
    assert isinstance(model, Ridge)
    importances = run.frame("feature_importance")
    assert sorted(importances["feature"]) == ["noise_a", "noise_b", "trend"]


def test_a_feature_that_was_known_too_late_to_be_trained_on_is_named(research: Research) -> None:
    observed = INSTANCES.replace('"sources:noise", known_at: {lag: close, calendar: weekdays}', '"sources:noise"')
    assert observed != INSTANCES
    research.declare(observed + alpha())
    run = research.ledger.run("alpha", recursive=True)
    assert run.record.reason is not None
    assert run.record.reason.code == "nothing_known"
    assert "no row of noise, a feature of alpha, was known when its date was decided on" in run.record.reason.message
    assert "give the dataset a new name" in run.record.reason.next_step
