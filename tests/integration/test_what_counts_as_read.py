"""What a flow learns of its inputs counts as read, however it learns it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.research import SOURCES, open_research

READERS = """

def spans(ctx):
    first, last = ctx.input("close").date_range
    return pl.DataFrame({"date": [first], "symbol": ["X"], "days": [float((last - first).days)]})


def numbers(ctx):
    day = dt.date(2021, 1, 4)
    return pl.DataFrame({"date": [day], "symbol": ["X"], "number": [float(ctx.input("close").version)]})


def names(ctx):
    return pl.DataFrame({"date": [dt.date(2021, 1, 4)], "symbol": ["X"], "roles": [float(len(ctx.inputs))]})


def volumes(ctx):
    volume = 2.0 if Path("volume").exists() else 1.0
    return prices(ctx).with_columns(volume=volume)
"""
SOURCE = '  prices: {kind: dataset, definition: "sources:volumes", known_at: {lag: "close + 2h"}}\n'


def reader(name: str) -> str:
    return f'  {name}: {{kind: dataset, definition: "sources:{name}", inputs: {{close: "prices[close]"}}}}\n'


@pytest.mark.parametrize(("name", "expected"), [("spans", "stale"), ("numbers", "stale"), ("names", "ready")])
def test_a_flow_that_published_the_dates_or_the_number_of_a_version_is_stale_after_the_next(
    tmp_path: Path, database_url: str, name: str, expected: str
) -> None:
    with open_research(tmp_path / "project", database_url) as research:
        (research.root / "sources.py").write_text(SOURCES + READERS)
        (research.root / "days").write_text("100")
        research.declare(f"\n{SOURCE}{reader(name)}")
        assert research.ledger.run(name, recursive=True).status == "completed"
        assert research.freshness()[name] == "ready"
        (research.root / "days").write_text("101")
        research.ledger.run("prices", mode="full")
        assert research.freshness()[name] == expected
        assert (research.ledger.run(name, force=True).version == 2) == (expected == "stale")


@pytest.mark.parametrize(("name", "expected"), [("spans", "ready"), ("numbers", "stale")])
def test_another_column_than_those_declared_changes_the_number_of_a_version_and_not_its_dates(
    tmp_path: Path, database_url: str, name: str, expected: str
) -> None:
    with open_research(tmp_path / "project", database_url) as research:
        (research.root / "sources.py").write_text(SOURCES + READERS)
        (research.root / "days").write_text("100")
        research.declare(f"\n{SOURCE}{reader(name)}")
        research.ledger.run(name, recursive=True)
        (research.root / "volume").write_text("")
        research.ledger.run("prices", mode="full")
        assert research.freshness()[name] == expected
