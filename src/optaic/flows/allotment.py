"""The report of an optimisation: what was decided, on what, and whether it keeps its constraints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from optaic.domain.metric.optimization import OPTIMIZATION
from optaic.flows.evidence import Evidence
from optaic.flows.judgement import TOLERANCE
from optaic.flows.refit import Floats, Solution
from optaic.flows.task import Task
from optaic.quant.constraint import Constraint
from optaic.report.catalogue import list_figures
from optaic.report.optimization import Holding, OptimizationReport, Residual, optimization_page

HEADLINE = ("expected_return", "expected_volatility", "expected_sharpe", "effective_n", "turnover")


def write_report(
    task: Task,
    setup: Mapping[str, Any],
    evidence: Evidence,
    solution: Solution,
    *,
    weights: Floats,
    metrics: Mapping[str, float | int | str | None],
) -> str:
    """Write the report of an optimisation as one page of HTML, the same for the same optimisation.

    Parameters
    ----------
    task, setup
        The run that it belongs to, and what is declared beside its params.
    evidence, solution
        What was seen, and what came of it.
    weights : ndarray of shape (n_symbols,), float64
        The weights: the optimiser's own, or those of the fallback.
    metrics
        The run's.
    """
    annual = float(setup["sessions_per_year"])
    deviations = [math.sqrt(max(annual * one, 0.0)) for one in solution.covariance.diagonal().tolist()]
    before: Sequence[float | None] = (
        [None] * len(weights) if evidence.previous is None else cast("list[float]", evidence.previous.tolist())
    )
    means = cast("list[float]", (annual * solution.expected_returns).tolist())
    holdings = [
        Holding(symbol=symbol, weight=weight, previous=previous, expected_return=mean, volatility=deviation)
        for symbol, weight, previous, mean, deviation in zip(
            evidence.symbols, cast("list[float]", weights.tolist()), before, means, deviations, strict=True
        )
    ]
    known = "what the pinned versions hold"
    if evidence.decided_at is not None:
        known = f"what was known by {evidence.decided_at:%Y-%m-%d %H:%M} UTC, before the next session opened"
    target = cast("Mapping[str, Any]", setup["target"])
    expected = "estimated by the optimiser, of the same returns"
    if evidence.expected_returns is not None:
        expected = "from its input"
        if target["unit"] == "score":
            expected = f"scores of its input, scaled with IC {target['ic']:g} over {target['horizon']} sessions"
    report = OptimizationReport(
        run_id=str(task.run_id),
        instance=task.instance,
        period=(evidence.sessions[0].astype(object), evidence.sessions[-1].astype(object)),
        created_at=task.started_at,
        figures=list_figures((one.name, one.unit.value, metrics[one.name]) for one in OPTIMIZATION),
        holdings=holdings,
        residuals=_residuals(solution.constraints, weights),
        chips=(str(task.standing),),
        warnings=_warnings(setup, evidence, solution),
        assumptions={
            "optimiser": str(task.code_ref),
            "params": ", ".join(f"{name}: {value}" for name, value in _own_params(task).items()) or "its defaults",
            "constraints": ", ".join(f"{name}: {value:g}" for name, value in setup["constraints"].items())
            or "those of its params",
            "decided on": known,
            "lookback": f"{setup['lookback']} sessions; names without a price on each of them are left out",
            "expected returns": expected,
            "annualised by": f"{annual:g} sessions a year",
            "fallback": str(setup["fallback"] or "none: without a solution the run fails"),
        },
        headline=HEADLINE,
    )
    return optimization_page(report)


def _own_params(task: Task) -> dict[str, Any]:
    """Give the params that are set; without those that stand for a secret."""
    declared = cast("Mapping[str, Any]", task.config.get("params") or {})
    return {
        name: declared[name] if "${env:" in str(declared.get(name)) else value
        for name, value in task.params.items()
        if value is not None
    }


def _residuals(constraints: Sequence[Constraint], weights: Floats) -> list[Residual]:
    return [Residual(constraint=one.text, value=one.residual(weights), tolerance=TOLERANCE) for one in constraints]


def without_effect(setup: Mapping[str, Any], evidence: Evidence) -> str | None:
    """Say that a declared constraint limits nothing here; None if each of them does."""
    if "turnover" in setup["constraints"] and evidence.previous is None:
        return "constraints: turnover limits nothing: there are no previous weights, so all of it is a first purchase"
    return None


def _warnings(setup: Mapping[str, Any], evidence: Evidence, solution: Solution) -> list[str]:
    said: list[str] = []
    if (idle := without_effect(setup, evidence)) is not None:
        said.append(f"{idle}.")
    if solution.fallback is not None:
        said.append(
            f"The solver gave no solution ({solution.status}): the weights are those of the declared fallback, "
            f"{solution.fallback}."
        )
    if evidence.left_out:
        said.append(f"{evidence.left_out} names with a price at the decision are left out.")
    return [*said, *solution.notes]
