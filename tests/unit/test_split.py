"""Walk-forward splits: what a fit has learned never meets what it predicts."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optaic.errors import InvalidInputError
from optaic.quant.adjust import adjust_prices
from optaic.quant.split import date_weights, purge, uniqueness_weights, walk_forward

SCHEDULES = st.fixed_dictionaries(
    {
        "every": st.integers(1, 90),
        "min_train": st.integers(1, 200),
        "reach": st.integers(1, 40),
        "first": st.integers(0, 60),
        "embargo": st.integers(0, 30),
        "window": st.one_of(st.none(), st.integers(200, 400)),
    }
)


@given(st.integers(0, 700), SCHEDULES)
def test_no_training_label_meets_a_test_period(n_sessions: int, schedule: dict[str, int]) -> None:
    reach = schedule["reach"]
    for fold in walk_forward(n_sessions, **schedule):
        for sample in (fold.train_first, fold.train_last):
            label = set(range(sample, sample + reach + 1))
            assert not label & set(range(fold.test_first, fold.test_last + reach + 1))
        assert fold.label_last == fold.train_last + reach < fold.test_first - schedule["embargo"]
        kept = purge(np.arange(n_sessions), reach=reach, test_first=fold.test_first, test_last=fold.test_last)
        assert kept[fold.train_first : fold.train_last + 1].all()
        if not schedule["embargo"]:
            assert not kept[fold.train_last + 1 : fold.test_last + 1].any()  # no sample is left out without need


@given(st.integers(0, 700), SCHEDULES)
def test_test_blocks_follow_each_other_to_the_end_and_windows_are_kept(n: int, schedule: dict[str, int]) -> None:
    folds = walk_forward(n, **schedule)
    if not folds:
        assert n <= sum(schedule[name] for name in ("first", "min_train", "reach", "embargo"))
        return
    assert folds[-1].test_last == n - 1
    for before, after in itertools.pairwise(folds):
        assert after.test_first == before.test_last + 1 == before.test_first + schedule["every"]
    for fold in folds:
        length = fold.train_last - fold.train_first + 1
        assert length >= schedule["min_train"]
        assert fold.train_first >= schedule["first"]
        assert schedule["window"] is None or length <= schedule["window"]


@given(st.integers(0, 500), st.integers(0, 200), SCHEDULES)
def test_later_sessions_change_no_fit_that_is_there(n: int, more: int, schedule: dict[str, int]) -> None:
    before, after = walk_forward(n, **schedule), walk_forward(n + more, **schedule)
    trained = [(fold.train_first, fold.train_last, fold.test_first) for fold in before]
    assert [(fold.train_first, fold.train_last, fold.test_first) for fold in after][: len(before)] == trained


@given(
    st.lists(st.integers(0, 80), max_size=60),
    st.integers(1, 20),
    st.integers(0, 60),
    st.integers(0, 20),
    st.integers(0, 10),
)
def test_purge_drops_exactly_the_samples_whose_label_meets_one_of_the_block(
    samples: list[int], reach: int, test_first: int, length: int, embargo: int
) -> None:
    test_last = test_first + length
    block = set(range(test_first, test_last + reach + embargo + 1))
    kept = purge(samples, reach=reach, test_first=test_first, test_last=test_last, embargo=embargo)
    # The embargo drops samples, not labels that end in it: they lie after the block.
    assert kept.tolist() == [not set(range(s, s + reach + 1)) & block for s in samples]


def test_a_quarter_of_a_year_after_three_years() -> None:
    first, second, *_ = walk_forward(2000, every=63, min_train=756, reach=6, first=10)
    assert (first.train_first, first.train_last, first.label_last, first.test_first) == (10, 765, 771, 772)
    assert (second.train_first, second.train_last, second.test_first) == (10, 828, 835)
    rolled = walk_forward(2000, every=63, min_train=756, reach=6, first=10, window=756)
    assert (rolled[1].train_first, rolled[1].train_last) == (73, 828)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"every": 0}, "every is 0"),
        ({"min_train": 0}, "min_train is 0"),
        ({"reach": 0}, "lag \\+ horizon is 0"),
        ({"embargo": -1}, "embargo is -1"),
        ({"window": 9}, "never holds the 10 of min_train"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(changed: dict[str, int], words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        walk_forward(100, **{"every": 5, "min_train": 10, "reach": 2, **changed})


def test_each_session_weighs_the_same_and_old_ones_half_after_a_half_life() -> None:
    weights = date_weights([0, 0, 0, 10, 20], half_life=10)
    # Session 0 is a quarter of session 20 and shared by three names.
    assert (weights / weights[-1]).tolist() == pytest.approx([1 / 12, 1 / 12, 1 / 12, 1 / 2, 1])
    assert weights.mean() == pytest.approx(1.0)
    with pytest.raises(InvalidInputError, match="a half-life of 0"):
        date_weights([0], half_life=0)


def test_a_label_that_others_of_its_name_share_weighs_less() -> None:
    # Labels of samples 0, 1 and 2 span returns 2-4, 3-5 and 4-6; of sample 9 none is shared, and names do not meet.
    weights = uniqueness_weights([0, 1, 2, 9, 0], [0, 0, 0, 0, 1], lag=1, horizon=3)
    own = np.array([(1 + 1 / 2 + 1 / 3) / 3, (1 / 2 + 1 / 3 + 1 / 2) / 3, (1 / 3 + 1 / 2 + 1) / 3, 1, 1])
    assert weights == pytest.approx(own / own.mean())


def test_prices_are_adjusted_so_that_their_ratios_are_total_returns() -> None:
    close = np.array([[100.0, 10.0], [49.0, np.nan], [51.0, 12.0]])
    dividends = np.array([[0.0, 0.0], [2.0, 1.0], [0.0, np.nan]])
    splits = np.array([[1.0, np.nan], [2.0, 1.0], [1.0, 1.0]])
    adjusted = adjust_prices(close, dividends=dividends, splits=splits)
    # One share is two of 49 and 2 in cash: 100, or 2 + 2/49 shares, which are worth 51 each a session later.
    assert adjusted[:, 0] == pytest.approx([100.0, 100.0, 51.0 * (2 + 2 / 49)])
    assert np.isnan(adjusted[1, 1])
    assert adjusted[2, 1] == pytest.approx(12.0)
