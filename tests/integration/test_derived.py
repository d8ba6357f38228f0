"""Expression datasets over a history: edits, revisions and withdrawals of what they are made of, through real runs."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl
import pytest

from tests.research import Research, open_research

DAYS = [dt.date(2024, 1, day) for day in (2, 3, 4, 5)]
CLOSES = {
    (day, symbol): float(place + 10 * rank) for rank, symbol in enumerate("ABC", 1) for place, day in enumerate(DAYS)
}
SOURCES = """
import datetime as dt
import json
from pathlib import Path

import polars as pl


def prices(ctx):
    content = json.loads(Path("closes").read_text())
    rows = [(dt.date.fromisoformat(day), symbol, close) for day, symbol, close in content]
    return pl.DataFrame(rows, schema={"date": pl.Date, "symbol": pl.String, "close": pl.Float64}, orient="row")
"""
PRICES = """
  prices:
    kind: dataset
    definition: sources:prices
    known_at: {lag: "close + 2h", calendar: weekdays}
"""
EVENING = dt.datetime(2024, 1, 6, 3, tzinfo=dt.UTC)


@pytest.fixture
def research(tmp_path: Path, database_url: str) -> Iterator[Research]:
    with open_research(tmp_path / "project", database_url) as opened:
        (opened.root / "sources.py").write_text(SOURCES)
        write(opened, CLOSES)
        yield opened


def write(research: Research, closes: Mapping[tuple[dt.date, str], float]) -> None:
    rows = [[day.isoformat(), symbol, close] for (day, symbol), close in sorted(closes.items())]
    (research.root / "closes").write_text(json.dumps(rows))


def derived(name: str, expression: str) -> str:
    return f'{PRICES}  {name}: {{kind: dataset, expression: "{expression}", inputs: {{close: "prices[close]"}}}}\n'


def declare(research: Research, expression: str) -> None:
    research.declare(derived("derived", expression))


def values(research: Research, name: str = "derived", as_of: dt.datetime | None = None) -> dict[tuple[str, str], float]:
    frame = research.ledger.data(name, as_of=as_of)
    return {(str(date), symbol): value for date, symbol, value in frame.select("date", "symbol", "value").rows()}


def refresh(research: Research) -> None:
    research.ledger.run("prices", mode="full")
    run = research.ledger.run("derived")
    assert run.status == "completed", run.reason


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("TS_REF(close, 1)", "TS_REF(close, 2)"),  # the second uses what was known earlier
        ("close / TS_REF(close, 1) - 1", "TS_REF(close, 1) / TS_REF(close, 2) - 1"),
        ("TS_REF(close, 2)", "close * 2"),
    ],
)
def test_an_edited_expression_is_what_a_new_one_would_be(research: Research, first: str, second: str) -> None:
    declare(research, first)
    refresh(research)
    declare(research, second)
    run = research.ledger.run("derived")
    assert run.version == 2
    edited = research.ledger.data("derived")
    research.declare(derived("new", second))
    research.ledger.run("new")
    assert edited.equals(research.ledger.data("new"))
    for day in DAYS:
        then = dt.datetime.combine(day, dt.time(3), dt.UTC) + dt.timedelta(days=1)
        as_it_was = research.ledger.data("derived", as_of=then)
        assert as_it_was.equals(research.ledger.data("new", as_of=then))


def test_an_edit_that_changes_no_value_makes_no_version(research: Research) -> None:
    declare(research, "TS_REF(close, 1)")
    refresh(research)
    declare(research, "TS_REF( close ,1)")
    assert research.freshness()["derived"] == "stale"
    assert research.ledger.run("derived").version is None
    assert research.freshness()["derived"] == "ready"


@pytest.mark.parametrize("is_revised_first", [False, True])
def test_what_was_withdrawn_upstream_is_gone_from_what_is_derived_and_from_then_on(
    research: Research, *, is_revised_first: bool
) -> None:
    gone = (DAYS[1], "A")
    declare(research, "CS_RANK(close)")
    refresh(research)
    if is_revised_first:
        write(research, {**CLOSES, gone: 100.0})
        refresh(research)
        assert values(research)["2024-01-03", "A"] == 1.0
    before = research.ledger.data("derived", as_of=EVENING)
    write(research, {key: close for key, close in CLOSES.items() if key != gone})
    refresh(research)
    now = values(research)
    assert (now["2024-01-03", "B"], now["2024-01-03", "C"]) == (0.5, 1.0)
    assert ("2024-01-03", "A") not in now
    assert research.ledger.data("derived", as_of=EVENING).equals(before), "the past was known as it was"
    # C was the first of three and is the first of two: nothing about it is new, unless A had been above it.
    known = research.ledger.data("derived").filter(pl.col("date") == DAYS[1])["known_at"] > EVENING
    assert known.to_list() == [True, is_revised_first]


def test_a_mean_forgets_a_withdrawn_value(research: Research) -> None:
    declare(research, "TS_MEAN(close, 3, min_periods=1)")
    refresh(research)
    write(research, {key: close for key, close in CLOSES.items() if key != (DAYS[1], "A")})
    refresh(research)
    # A was 10, 11, 12, 13.
    assert values(research)["2024-01-04", "A"] == 11.0
    assert values(research)["2024-01-05", "A"] == 12.5
    assert values(research, as_of=EVENING)["2024-01-04", "A"] == 11.0
    assert values(research, as_of=EVENING)["2024-01-05", "A"] == 12.0


def correct_a_close(research: Research) -> None:
    declare(research, "CS_RANK(close)")
    refresh(research)
    write(research, {**CLOSES, (DAYS[1], "A"): 100.0})
    research.ledger.run("prices", mode="full")


def test_a_full_refresh_of_the_same_expression_keeps_what_was_known_before_a_correction(research: Research) -> None:
    correct_a_close(research)
    before = research.ledger.data("derived", as_of=EVENING)
    assert research.ledger.run("derived", mode="full").metrics["rows_updated"] == 3
    assert values(research)["2024-01-03", "A"] == 1.0
    assert research.ledger.data("derived", as_of=EVENING).equals(before)


def test_a_completed_refresh_that_is_retried_keeps_what_was_known_before_a_correction(research: Research) -> None:
    correct_a_close(research)
    before = research.ledger.data("derived", as_of=EVENING)
    first = next(run for run in research.ledger.runs() if run.instance == "derived")
    assert research.ledger.execute(research.ledger.retry(first.id)).status == "completed"
    assert values(research)["2024-01-03", "A"] == 1.0
    assert research.ledger.data("derived", as_of=EVENING).equals(before)


def test_refreshes_of_an_expression_are_reproduced_identically(research: Research) -> None:
    correct_a_close(research)
    research.ledger.run("derived")
    declare(research, "CS_RANK(-close)")
    research.ledger.run("derived")
    refreshes = [run for run in research.ledger.runs() if run.instance == "derived"]
    assert [run.version for run in refreshes] == [3, 2, 1]
    for run in refreshes:
        again = research.ledger.reproduce(run.id)
        assert again.comparison is not None
        assert again.comparison["verdict"] == "identical", (run.version, again.comparison)
        assert again.metrics["rows_updated"] == run.metrics["rows_updated"]


AVERAGES = """

def averages(ctx, collects=False):
    sessions = np.busday_offset("2000-01-03", np.arange(4000))
    rows = pl.DataFrame({"date": np.tile(sessions, 40), "x": np.random.default_rng(3).normal(size=160_000)})
    lazy = rows.lazy().group_by(pl.col("date").cast(pl.Date)).agg(pl.col("x").mean())
    return lazy.collect() if collects else lazy
"""


@pytest.mark.parametrize("collects", ["false", "true"])
def test_an_average_that_a_definition_computes_lazily_is_the_same_in_every_refresh(
    research: Research, collects: str
) -> None:
    path = research.root / "sources.py"
    path.write_text("import numpy as np\n" + path.read_text() + AVERAGES)
    research.declare(
        "\n  averages: {kind: dataset, definition: sources:averages, key: [date],"
        f" params: {{collects: {collects}}}}}\n"
    )
    assert research.ledger.run("averages").version == 1
    assert [research.ledger.run("averages", mode="full").metrics["rows_updated"] for _ in range(4)] == [0] * 4
