"""What an optimiser cannot do is told where it is first known: when it is declared, else by the run; never left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from optaic.errors import ProjectFileError
from tests.integration.test_optimize import INPUTS, MINIMUM
from tests.research import Research, open_research


@pytest.fixture
def lone(tmp_path: Path, sqlite_url: str) -> Iterator[Research]:
    """Where the database makes no difference."""
    with open_research(tmp_path / "project", sqlite_url) as opened:
        opened.declare(MINIMUM)
        yield opened


@pytest.mark.parametrize("groups", [", groups: sides", ""])
def test_a_misspelled_group_fails_the_run_and_says_what_was_meant(lone: Research, groups: str) -> None:
    sources = lone.root / "sources.py"
    sources.write_text(sources.read_text() + INPUTS)
    lone.declare(
        MINIMUM.replace("{max_weights: 0.1}", '{linear_constraints: ["eraly >= 0.4"]}').replace(
            "{prices: prices}", f"{{prices: prices{groups}}}"
        )
        + '  sides: {kind: dataset, definition: "sources:sides"}\n'
        + "    fallback: equal_weight\n".replace("    fallback", "  #")
    )
    run = lone.ledger.run("minimum", recursive=True)
    assert run.status == "failed"
    assert "names 'eraly', which is no group and no symbol" in (run.reason or "")
    assert ("did you mean 'early'?" in (run.reason or "")) == bool(groups)


@pytest.mark.parametrize(
    ("date", "calendar", "said", "step"),
    [
        (
            "2022-07-02",
            "weekdays",
            "is a Saturday, and no session of weekdays",
            "2022-07-01 or on 2022-07-04",
        ),
        ("2022-07-04", "XNYS", "is a Monday, and no session of XNYS", "2022-07-01 or on 2022-07-05"),
    ],
)
def test_a_date_that_is_no_session_is_refused_with_those_next_to_it(
    lone: Research, date: str, calendar: str, said: str, step: str
) -> None:
    declared = MINIMUM.replace("calendar: weekdays", f"calendar: {calendar}\n    date: {date}")
    with pytest.raises(ProjectFileError) as caught:
        lone.declare(declared)
    assert f"date {date} {said}" in caught.value.message
    assert step in f"{caught.value.message} {caught.value.next_step}"
    lone.declare(declared.replace("07-02", "07-01").replace("07-04", "07-05"))


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("HierarchicalRiskParity", "constraints: {gross: 0.5}", "cannot take constraints of gross or turnover"),
        ("HierarchicalRiskParity", "constraints: {turnover: 0.5}", "cannot take constraints of gross or turnover"),
        ("EqualWeighted", "inputs: {prices: prices, groups: prices}", "has no groups"),
        (
            "EqualWeighted",
            "target: {unit: return}\n    inputs: {prices: prices, expected_returns: prices}",
            "uses no expected returns",
        ),
    ],
)
def test_what_a_named_optimiser_has_no_means_for_is_refused_when_it_is_declared(
    lone: Research, name: str, more: str, said: str
) -> None:
    inputs = "" if "inputs" in more else "    inputs: {prices: prices}\n"
    declared = MINIMUM.partition("  minimum:")[0] + (
        "  minimum:\n    kind: portfolio_optimizer\n"
        f"    definition: skfolio.optimization:{name}\n    calendar: weekdays\n    {more}\n{inputs}"
    )
    with pytest.raises(ProjectFileError) as caught:
        lone.declare(declared)
    assert f"{name} {said}" in caught.value.message
    lone.declare(declared.replace(name, "MeanRisk"))
