"""A backtest that follows an optimiser: what it is shown at each decision, and what becomes of what it decides."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import optaic
from optaic.errors import (
    CodeChangedError,
    InSampleInputError,
    InvalidInputError,
    NoOutputError,
    NothingKnownError,
    SolverFailedError,
)
from optaic.flows.evidence import gather
from optaic.flows.optimize import complete_setup
from optaic.flows.sight import Sight
from optaic.procedures.simulator import simulate
from tests.optimising import FREE, Follower, decided, known_at_close, long, walk, weekdays

Floats = npt.NDArray[np.float64]
DAYS = weekdays(60)
EQUAL = "skfolio.optimization:EqualWeighted"
MINIMUM = "skfolio.optimization:MeanRisk"


def inverse_volatility(closes: Floats) -> Floats:
    """Weigh names by the inverse deviation of all returns; 0 for those that lack a price."""
    deviation: Floats = (closes[1:] / closes[:-1] - 1.0).std(axis=0, ddof=1)
    inverse: Floats = np.where(np.isfinite(deviation), 1.0 / deviation, 0.0)
    return np.asarray(inverse / inverse.sum())


def follower(tmp_path: Path, closes: Floats, definition: str = EQUAL, **setup: Any) -> Follower:
    made = Follower(tmp_path, definition, **cast("dict[str, Any]", {"lookback": 10, **setup}))
    made.pin("prices", long(DAYS[: len(closes)], closes))
    return made


def test_weights_are_those_of_the_lookback_at_each_decision_and_are_simulated_as_given_ones_are(tmp_path: Path) -> None:
    closes = walk(60, 4)
    closes[33, 2] = np.nan  # a price is missing: the name has no weight as long as the lookback reaches it
    closes[:25, 3] = np.nan  # a name that is new
    done = follower(tmp_path, closes, "skfolio.optimization:InverseVolatility").run(
        start=DAYS[15], rebalance=8, costs_bps=10.0
    )
    taken = decided(done)
    assert list(taken) == [DAYS[15 + 8 * n] for n in range(6)]
    for day, weights in taken.items():
        end = DAYS.index(day) + 1
        expected = inverse_volatility(closes[end - 11 : end])
        assert weights == pytest.approx(expected.tolist(), abs=1e-12)
    assert [weights[2] == 0.0 for weights in taken.values()] == [False, False, False, True, False, False]
    assert [weights[3] == 0.0 for weights in taken.values()] == [True, True, True, False, False, False]
    weights = long(list(taken), np.array(list(taken.values())), "weight")
    prices = long(DAYS, closes).filter(pl.col("date") >= DAYS[15])
    plain = optaic.backtest(weights=weights, prices=prices, capital=1000.0, costs_bps=10.0)
    assert np.abs(done.simulation.value / plain.simulation.value - 1.0).max() < 1e-12
    assert (done.metrics["failed_solves"], done.metrics["fallbacks"], done.metrics["skipped_decisions"]) == (0, 0, 0)
    assert (plain.metrics["failed_solves"], plain.metrics["optimizer"]) == (None, None)
    said = "best version 3, skfolio.optimization:InverseVolatility, lookback 10 sessions"
    assert done.metrics["optimizer"] == said


def test_it_is_given_what_is_held_after_drift(tmp_path: Path) -> None:
    # Minimum variance of all but a tenth of what is held: whatever it wants, half the trades add up to that tenth.
    closes = walk(60, 4)
    done = follower(tmp_path, closes, MINIMUM, constraints={"turnover": 0.1}).run(start=DAYS[12], rebalance=10)
    simulation = done.simulation
    places = np.flatnonzero(simulation.decided)
    held = np.array([shares * marks for shares, marks in simulation.replay()]) / simulation.value[:, None]
    for place in places[1:]:
        moved = np.abs(simulation.targets[place] - held[place]).sum() / 2
        assert moved == pytest.approx(0.1, abs=1e-5)
    assert done.failed_solves == 0


def test_a_failed_solve_keeps_what_is_held_and_is_counted_and_said(tmp_path: Path) -> None:
    # At most 0.3 each: feasible with four names, and not while only three have a whole lookback.
    closes = walk(60, 4)
    closes[30, 3] = np.nan
    one = follower(tmp_path, closes, MINIMUM, params={"max_weights": 0.3})
    done = one.run(start=DAYS[15], rebalance=10)
    shares = [held.copy() for held, _ in done.simulation.replay()]
    assert list(decided(done)) == [DAYS[15], DAYS[25], DAYS[45], DAYS[55]]
    assert shares[15].tolist() == shares[30 - 1].tolist()
    assert (done.metrics["failed_solves"], done.metrics["fallbacks"]) == (1, 0)
    [line] = [text for level, text, _ in lines(one) if level == "WARNING"]
    assert f"best has no solution at 1 of 5 decisions: {DAYS[35]} (infeasible)" in line
    assert "what is held is kept at 1" in line
    metrics, report = one.flow(start=DAYS[15], rebalance=10)
    assert (metrics["failed_solves"], metrics["fallbacks"]) == (1, 0)
    assert "at 1 rebalance the optimiser found no solution, and the weights of before were kept." in report
    assert "best version 3, skfolio.optimization:MeanRisk, lookback 10 sessions, fitted anew" in report


def lines(one: Follower) -> list[tuple[str, str, str]]:
    one.contexts[-1].flush()
    return one.told.lines


def test_a_declared_fallback_is_used_and_counted(tmp_path: Path) -> None:
    closes = walk(60, 4)
    closes[30, 3] = np.nan
    one = follower(tmp_path, closes, MINIMUM, params={"max_weights": 0.3}, fallback="equal_weight")
    done = one.run(start=DAYS[15], rebalance=10)
    assert decided(done)[DAYS[35]] == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0.0])
    assert (done.metrics["failed_solves"], done.metrics["fallbacks"]) == (1, 1)


def test_an_optimiser_that_never_has_a_solution_gives_no_backtest(tmp_path: Path) -> None:
    one = follower(tmp_path, walk(60, 3), MINIMUM, params={"max_weights": 0.3})
    with pytest.raises(SolverFailedError, match="best has no solution at any of its 5 decisions") as caught:
        one.run(start=DAYS[15], rebalance=10)
    assert "fallback" in (caught.value.next_step or "")


def test_decisions_before_there_is_a_whole_lookback_are_counted_and_nothing_is_traded(tmp_path: Path) -> None:
    done = follower(tmp_path, walk(60, 3), lookback=25).run(rebalance=10)
    assert list(decided(done)) == [DAYS[30], DAYS[40], DAYS[50]]
    assert done.metrics["skipped_decisions"] == 3
    assert done.simulation.first_purchase == 31
    with pytest.raises(NoOutputError, match="no name that can be held had a known price on each of the 101 sessions"):
        follower(tmp_path, walk(60, 3), lookback=100).run(rebalance=10)


prefixes = st.integers(11, 55)


@settings(max_examples=15)
@given(st.data(), prefixes)
def test_what_becomes_of_prices_after_a_decision_never_changes_it(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, until: int
) -> None:
    closes = walk(60, 3)
    other = closes.copy()
    factors = data.draw(st.lists(st.floats(0.5, 2.0), min_size=3, max_size=3))
    other[until + 1 :] *= np.array(factors)
    # And prices of before are corrected, which is known only after the decision.
    place = data.draw(st.integers(0, until))
    corrected = long([DAYS[place]], other[[place]] * np.array(factors))
    later = dt.datetime.combine(DAYS[until], dt.time(12), dt.UTC) + dt.timedelta(days=data.draw(st.integers(4, 40)))
    one = follower(tmp_path_factory.mktemp("one"), closes, "skfolio.optimization:InverseVolatility")
    two = Follower(tmp_path_factory.mktemp("two"), lookback=10)
    two.pin("prices", long(DAYS, other), corrected.with_columns(known_at=pl.lit(later)))
    view = "replay"
    if data.draw(st.booleans()):  # in the latest view corrections count, but prices of later sessions never do
        view = "latest"
        two.pin("prices", long(DAYS, other))
    before, after = (decided(one.run(rebalance=3, view=view)) for one in (one, two))
    seen = [day for day in before if day <= DAYS[until]]
    assert [before[day] for day in seen] == [after[day] for day in seen]


@settings(max_examples=15)
@given(st.data())
def test_every_decision_sees_what_the_optimiser_by_itself_sees_on_that_date(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    closes = walk(40, 3)
    for _ in range(3):
        closes[data.draw(st.integers(0, 39)), data.draw(st.integers(0, 1))] = np.nan
    frame = known_at_close(long(DAYS[:40], closes))
    changes: list[pl.DataFrame] = []
    for number in range(data.draw(st.integers(0, 4))):
        row = frame.row(data.draw(st.integers(frame.height - 36, frame.height - 1)), named=True)
        row["known_at"] += dt.timedelta(days=data.draw(st.integers(0, 6)))
        row["_deleted"] = data.draw(st.booleans())
        row["close"] = None if row["_deleted"] else row["close"] * (1.5 + number)
        schema = {**frame.schema, "_deleted": pl.Boolean()}
        changes.append(pl.DataFrame([row], schema=schema))
    one = Follower(tmp_path_factory.mktemp("one"), lookback=5)
    one.pin("prices", frame, *changes)
    decisions = [12, 30, 36, 39]
    sight = Sight(
        one.context(),
        dates=np.array(DAYS[:40], dtype="datetime64[D]"),
        symbols=["A", "B", "C"],
        decisions=decisions,
        lookback=5,
        view="replay",
        calendar="weekdays",
        is_adjusted=False,
        allow_in_sample=False,
    )
    for session in decisions:
        seen = sight.returns_at(session)
        whole = [place for place in range(3) if np.isfinite(seen[:, place]).all()]
        setup = complete_setup({"lookback": 5, "date": DAYS[session].isoformat(), "calendar": "weekdays"})
        try:
            alone = gather(one.context(), setup)
        except InvalidInputError:
            assert not whole
            continue
        assert alone.symbols == tuple("ABC"[place] for place in whole)
        assert alone.returns.tolist() == seen[:, whole].tolist()


def corrections(tmp_path: Path, when: dt.datetime) -> Follower:
    """Correct a price of session 30, which is known only later."""
    closes = walk(60, 3)
    one = Follower(tmp_path, lookback=10)
    one.pin("prices", long(DAYS, closes), long([DAYS[30]], closes[[30]] * 1.2).with_columns(known_at=pl.lit(when)))
    return one


def test_a_correction_is_seen_by_decisions_from_when_it_was_known_on_and_by_all_in_the_latest_view(
    tmp_path: Path,
) -> None:
    closes, corrected = walk(60, 3), walk(60, 3)
    corrected[30] *= 1.2
    when = dt.datetime.combine(DAYS[35], dt.time(9), dt.UTC)
    one = corrections(tmp_path, when)
    replayed, latest = (decided(one.run(rebalance=1, view=view)) for view in ("replay", "latest"))
    for session in range(31, 40):
        window = slice(session - 10, session + 1)
        seen = corrected if session >= 35 else closes
        assert replayed[DAYS[session]] == pytest.approx(inverse_volatility(seen[window]).tolist(), abs=1e-12)
        assert latest[DAYS[session]] == pytest.approx(inverse_volatility(corrected[window]).tolist(), abs=1e-12)
    # As of an instant before the correction, the latest view has not got it either.
    context = one.context(one.task(as_of=when - dt.timedelta(hours=1)))
    past = decided(simulate(context, rebalance=1, view="latest", **FREE))
    assert past[DAYS[32]] == replayed[DAYS[32]]


def test_splits_and_dividends_are_no_losses(tmp_path: Path) -> None:
    closes = walk(60, 2)
    raw = closes.copy()
    raw[40:, 0] /= 2.0  # two for one
    raw[45:, 1] -= 1.0
    rows = long(DAYS, raw).with_columns(
        split=pl.when((pl.col("date") == DAYS[40]) & (pl.col("symbol") == "A")).then(2.0),
        dividend=pl.when((pl.col("date") == DAYS[45]) & (pl.col("symbol") == "B")).then(1.0),
    )
    one = Follower(tmp_path, lookback=10)
    one.pin("prices", rows)
    totals = raw[1:] / raw[:-1] - 1.0
    totals[39, 0] = 2.0 * raw[40, 0] / raw[39, 0] - 1.0
    totals[44, 1] = (raw[45, 1] + 1.0) / raw[44, 1] - 1.0
    inverse = 1.0 / totals[38:48].std(axis=0, ddof=1)
    assert decided(one.run(rebalance=12))[DAYS[48]] == pytest.approx((inverse / inverse.sum()).tolist(), abs=1e-12)
    # Where prices are said to be adjusted, such columns are said again.
    assert decided(one.run(rebalance=12, adjusted=True))[DAYS[48]] == pytest.approx(
        inverse_volatility(raw[38:49]).tolist(), abs=1e-12
    )


def test_only_members_at_the_decision_are_held_and_the_benchmark_is_theirs(tmp_path: Path) -> None:
    closes = walk(60, 3)
    one = follower(tmp_path, closes)
    flags = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    one.pin("universe", long([DAYS[0], DAYS[25]], flags, "member").with_columns(pl.col("member") == 1.0))
    done = one.run(start=DAYS[15], rebalance=10)
    assert list(decided(done).values()) == [[0.5, 0.5, 0.0], *[[0.0, 0.5, 0.5]] * 4]
    returns = closes[16:] / closes[15:-1] - 1.0
    assert done.benchmark[:10] == pytest.approx(returns[:10, :2].mean(axis=1), abs=1e-12)
    assert done.benchmark[12:] == pytest.approx(returns[12:, 1:].mean(axis=1), abs=1e-12)


def expecting(tmp_path: Path, **setup: Any) -> Follower:
    params = {"objective_function": "MAXIMIZE_RETURN", "max_weights": 0.6}
    one = Follower(tmp_path, MINIMUM, params=params, reads=["expected_returns"], lookback=10, **setup)
    one.pin("prices", long(DAYS, walk(60, 3)))
    return one


def test_expected_returns_are_those_known_at_each_decision(tmp_path: Path) -> None:
    one = expecting(tmp_path, target={"unit": "return"})
    values = np.array([[0.3, 0.2, 0.1], [0.1, 0.2, 0.3], [0.1, np.nan, 0.3]])
    rows = long([DAYS[5], DAYS[25], DAYS[46]], values, "prediction")
    late = long([DAYS[35]], np.array([[9.0, 0.0, 0.0]]), "prediction")
    known = dt.datetime.combine(DAYS[50], dt.time(1), dt.UTC)
    one.pin("expected_returns", pl.concat([known_at_close(rows), late.with_columns(known_at=pl.lit(known))]))
    taken = decided(one.run(start=DAYS[15], rebalance=10, lag=1))
    assert taken[DAYS[15]] == pytest.approx([0.6, 0.4, 0.0], abs=1e-5)
    assert taken[DAYS[25]] == pytest.approx([0.0, 0.4, 0.6], abs=1e-5)
    assert taken[DAYS[35]] == pytest.approx([0.0, 0.4, 0.6], abs=1e-5)  # its own came too late
    assert taken[DAYS[55]] == pytest.approx([0.4, 0.0, 0.6], abs=1e-5)  # nothing is expected of the second


def test_scores_are_scaled_by_the_volatility_that_is_known(tmp_path: Path) -> None:
    # The same score of all: the most volatile has the highest return.
    one = expecting(tmp_path, target={"unit": "score", "ic": 0.1, "horizon": 21})
    one.pin("expected_returns", long([DAYS[5]], np.ones((1, 3)), "value"))
    taken = decided(one.run(start=DAYS[15], rebalance=20))
    deviation = (walk(60, 3)[6:16] / walk(60, 3)[5:15] - 1).std(axis=0, ddof=1)
    order = np.argsort(-deviation)
    assert np.array(taken[DAYS[15]])[order] == pytest.approx([0.6, 0.4, 0.0], abs=1e-5)


def test_predictions_whose_fit_had_seen_their_dates_are_refused(tmp_path: Path) -> None:
    one = expecting(tmp_path, target={"unit": "return"})
    rows = long([DAYS[5], DAYS[25]], np.array([[0.3, 0.2, 0.1]] * 2), "prediction")
    rows = rows.with_columns(label_end=pl.when(pl.col("date") == DAYS[25]).then(DAYS[30]).otherwise(DAYS[1]))
    one.pin("expected_returns", rows)
    with pytest.raises(InSampleInputError, match=f"for {DAYS[25]} are in-sample: their fit had seen labels"):
        one.run(start=DAYS[15], rebalance=10)
    assert one.run(start=DAYS[15], end=DAYS[24], rebalance=5).failed_solves == 0
    assert one.run(start=DAYS[15], end=DAYS[24], rebalance=5, allow_in_sample=True).in_sample_rows == 0
    allowed = one.run(start=DAYS[15], rebalance=10, allow_in_sample=True)
    # The three of one date, however many decisions see them.
    assert (allowed.failed_solves, allowed.in_sample_rows) == (0, 3)
    one.contexts[-1].flush()
    assert one.told.lines[-1][1] == "3 rows of the_expected_returns are in-sample, and are used: allow_in_sample is set"


def test_groups_are_those_known_at_each_decision(tmp_path: Path) -> None:
    one = Follower(tmp_path, MINIMUM, params={"linear_constraints": ["bank <= 0.2"]}, reads=["groups"], lookback=10)
    one.pin("prices", long(DAYS, walk(60, 3)))
    keys = {"date": [DAYS[0]] * 3 + [DAYS[30]], "symbol": ["A", "B", "C", "A"]}
    one.pin("groups", pl.DataFrame({**keys, "sector": ["bank", "food", "food", "food"], "size": ["s", None, "s", "s"]}))
    taken = decided(one.run(start=DAYS[15], rebalance=10))
    assert taken[DAYS[25]][0] <= 0.2 + 1e-6
    assert taken[DAYS[35]][0] > 0.3  # the least volatile, and no bank any more; then nobody is, which is no error


def test_the_same_inputs_are_read_as_the_optimiser_reads(tmp_path: Path) -> None:
    one = follower(tmp_path, walk(60, 3))
    one.pin("expected_returns", long([DAYS[5]], np.ones((1, 3)), "value"))
    with pytest.raises(InvalidInputError, match="its optimizer best has no use for it"):
        one.run()
    with pytest.raises(InvalidInputError, match=r"best reads expected_returns, and follows, .*, does not") as caught:
        expecting(tmp_path / "other", target={"unit": "return"}).run()
    assert caught.value.next_step == "add to the inputs of follows: expected_returns: INSTANCE"


def test_prices_that_no_decision_knew_are_an_error_and_not_an_empty_portfolio(tmp_path: Path) -> None:
    one = Follower(tmp_path, EQUAL, lookback=10)
    today = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    one.pin("prices", long(DAYS, walk(60, 3)).with_columns(known_at=pl.lit(today)))
    with pytest.raises(NothingKnownError, match="no row of the_prices was known when it was decided"):
        one.run()
    assert one.run(view="latest").failed_solves == 0


def test_code_that_is_not_the_versions_is_refused(tmp_path: Path) -> None:
    one = follower(tmp_path, walk(60, 3))
    one.detail["code_digest"] = "0" * 64
    with pytest.raises(CodeChangedError, match="is not the code of the optimiser's version"):
        one.run()
    one = follower(tmp_path, walk(60, 3), MINIMUM, params={"solver": "${env:SOLVER}"})
    with pytest.raises(InvalidInputError, match="the params of best name secrets"):
        one.run()


def test_what_is_read_ends_with_the_last_decision_and_begins_before_the_first_by_the_lookback(tmp_path: Path) -> None:
    one = follower(tmp_path, walk(60, 3))
    one.run(start=DAYS[40], end=DAYS[55], rebalance=10)
    slices = one.contexts[-1].slices
    assert slices["optimizer"] == (None, DAYS[50])
    first, last = slices["prices"] or (None, None)
    assert first is not None
    assert DAYS[0] < first < DAYS[29]
    assert last == DAYS[55]
    with pytest.raises(NoOutputError, match=r"there is no decision .* that could be traded"):
        one.run(start=DAYS[40], end=DAYS[41], rebalance="monthly")


def test_the_stress_of_delistings_repeats_the_decisions_that_were_taken(tmp_path: Path) -> None:
    closes = walk(60, 3)
    closes[40:, 0] = np.nan
    done = follower(tmp_path, closes).run(start=DAYS[15], rebalance=10)
    stressed = done.stressed
    assert stressed is not None
    assert decided(stressed) == decided(done)
    assert stressed.metrics["total_return"] < done.metrics["total_return"]
    assert stressed.metrics["failed_solves"] == 0


def test_which_version_of_an_optimiser_was_followed_is_said_and_is_no_part_of_the_output(tmp_path: Path) -> None:
    one = follower(tmp_path, walk(60, 2))
    metrics, _ = one.flow(rebalance=10)
    [artifact] = [item for item in one.contexts[-1].artifacts if item.name == "metrics.json"]
    assert "version 3" in str(metrics["optimizer"])
    assert "version" not in one.store.get(artifact.stored).decode()
