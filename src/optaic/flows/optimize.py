"""Optimise: allocate among the names that can be held, and keep weights, moments and what was constrained."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, cast

import polars as pl

from optaic.domain.fingerprint import digest_of
from optaic.domain.optimizer import OPTIONAL_ROLES, Fallback
from optaic.errors import InvalidInputError, SolverFailedError
from optaic.flows.allotment import without_effect, write_report
from optaic.flows.calendar import annual_sessions
from optaic.flows.context import RunContext
from optaic.flows.evidence import Evidence, gather
from optaic.flows.optimizer import load_optimizer
from optaic.flows.refit import Floats, Refit, Solution
from optaic.flows.secret import REFERENCE
from optaic.flows.task import Output, Result, Task
from optaic.quant.allocation import describe_allocation
from optaic.quant.constraint import measure_residuals
from optaic.storage.objects import ObjectStore

Metrics = dict[str, float | int | str | None]

SETUP = "optimizer"
"""Where an instance's config has what is no param of its optimiser: lookback, date, fallback, constraints, target."""

_ROUNDED = 10
"""Decimals of the weights that identify an allocation: solvers repeat themselves to more than that."""


def optimize(
    task: Task,
    definition: Callable[..., Any],
    context: RunContext,
    store: ObjectStore,  # noqa: ARG001 - flows of all kinds are called alike
) -> Result:
    """Optimise a portfolio.

    Parameters
    ----------
    task
        What to optimise.
    definition
        The optimiser: a class with the interface of scikit-learn, whose `fit(X)` sets `weights_`, or a function that
        makes one; called with the params.
    context
        Of the run; `prices` and, if they are declared, `expected_returns`, `previous_weights`, `groups` and `universe`
        are read.
    store
        Not used: what is written goes through the context.

    Returns
    -------
    Result
        The artifacts `weights.parquet` (date, symbol, weight), `expected_returns.parquet` (symbol, expected_return,
        volatility; per year), `covariance.parquet` (symbol, with_symbol, covariance; per year) and `report.html`, and
        the metrics of a PortfolioOptimizationRun.

    Raises
    ------
    SolverFailedError
        If there is no solution that holds, and no fallback; the residuals are metrics of the failed run.
    InvalidInputError
        If params or inputs cannot be used.
    NothingKnownError, InSampleInputError
        As `optaic.flows.evidence.gather` says.
    """
    setup = complete_setup(cast("Mapping[str, Any]", task.config.get(SETUP) or {}))
    refit = _refit(definition, task.params, setup, instance=task.instance, seed=task.seed)
    evidence = gather(context, setup)
    context.progress(20, f"{len(evidence.symbols)} names, {len(evidence.returns)} sessions")
    solution = refit.solve(
        evidence.returns,
        symbols=evidence.symbols,
        previous=evidence.previous,
        held_outside=evidence.held_outside,
        expected_returns=evidence.expected_returns,
        groups=evidence.groups,
        names=evidence.names,
    )
    for note in (*solution.notes, without_effect(setup, evidence)):
        if note is not None:
            context.say(note, level="WARNING")
    context.progress(70, solution.status)
    weights = solution.weights
    if weights is None:
        _fail(context, solution)
    if solution.fallback is not None:
        context.say(f"{_what_failed(context.instance, solution)}; {solution.fallback} is used", level="WARNING")
    metrics = describe(weights, solution, evidence, setup, risk_free_rate=_risk_free_rate(task.params))
    frames = tables(weights, solution, evidence, setup)
    artifacts = tuple(context.log_frame(name, frame) for name, frame in frames.items())
    context.progress(90, "written")
    with tempfile.TemporaryDirectory(prefix="optaic-") as folder:
        path = Path(folder) / "report.html"
        path.write_text(
            write_report(task, setup, evidence, solution, weights=weights, metrics=metrics), encoding="utf-8"
        )
        report = context.log_file("report.html", path)
    detail = describe_basis(task, setup)
    return Result(
        metrics=metrics,
        artifacts=(*artifacts, report),
        output=Output(
            artifacts=tuple(item.name for item in artifacts),
            first_data_date=evidence.date,
            last_data_date=evidence.date,
            changed_from=evidence.date,
            identity=_identity(detail, evidence, weights),
            detail={**detail, "date": evidence.date.isoformat()},
        ),
        fields={
            "objective": objective_of(task),
            "decision_at": (evidence.decided_at or context.as_of or task.started_at).isoformat(),
            "lookback_sessions": int(setup["lookback"]),
            "solver_status": solution.status[:50],
            "fallback": solution.fallback,
            "residuals": {
                name: _finite(value) for name, value in measure_residuals(solution.constraints, weights).items()
            },
        },
    )


def open_refit(detail: Mapping[str, Any], root: Path, *, instance: str) -> Refit:
    """Make the optimiser of a version again, to be fitted at each rebalance of a backtest; in a run's own process only.

    Parameters
    ----------
    detail
        Of the pinned version of a portfolio optimiser: `ctx.input("optimizer").read_detail(...)`.
    root
        The project's folder.
    instance
        The optimiser, for messages.

    Returns
    -------
    Refit
        Its lookback is `detail["optimizer"]["lookback"]`.

    Raises
    ------
    InvalidInputError, NotFoundError
        If its definition cannot be found or used, or its params name secrets.
    CodeChangedError
        If its code is not that of the version.
    """
    setup = complete_setup(cast("Mapping[str, Any]", detail[SETUP]))
    definition = load_optimizer(str(detail["definition"]), root, digest=str(detail["code_digest"]))
    params = cast("Mapping[str, Any]", detail["params"])
    if REFERENCE.search(str(params)):
        raise InvalidInputError(
            f"the params of {instance} name secrets, which only its own runs are given",
            next_step="let its definition read them from the environment",
        )
    return _refit(definition, params, setup, instance=instance, seed=int(detail["seed"]))


def complete_setup(setup: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in the defaults of what is declared beside the params: a lookback of 252 sessions, the calendar XNYS."""
    calendar = str(setup.get("calendar") or "XNYS")
    return {
        "lookback": 252,
        "date": None,
        "fallback": None,
        "constraints": {},
        "target": {"unit": "return"},
        **setup,
        "calendar": calendar,
        "sessions_per_year": annual_sessions(calendar),
    }


def describe(
    weights: Floats, solution: Solution, evidence: Evidence, setup: Mapping[str, Any], *, risk_free_rate: float = 0.0
) -> Metrics:
    """Give the metrics of a PortfolioOptimizationRun; of each constraint also `residual_` and its name.

    Parameters
    ----------
    weights : ndarray of shape (n_symbols,), float64
        The optimiser's own, or those of the fallback.
    solution, evidence, setup
        What they were made of.
    risk_free_rate
        Per session.
    """
    figures = describe_allocation(
        weights,
        expected_returns=solution.expected_returns,
        covariance=solution.covariance,
        sessions_per_year=float(setup["sessions_per_year"]),
        risk_free_rate=risk_free_rate,
        previous=evidence.previous,
    )
    if figures["turnover"] is not None:
        figures["turnover"] += evidence.held_outside / 2.0
    residuals = measure_residuals(solution.constraints, weights)
    return {
        **figures,
        "asset_count": len(evidence.symbols),
        "solver_status": solution.status,
        "fallback": solution.fallback or "none",
        "iterations": solution.iterations,
        "solve_seconds": solution.solve_seconds,
        "constraint_residual": _worst(residuals),
        **{f"residual_{name}": _finite(value) for name, value in residuals.items()},
        "sessions_per_year": float(setup["sessions_per_year"]),
    }


def tables(
    weights: Floats, solution: Solution, evidence: Evidence, setup: Mapping[str, Any]
) -> dict[str, pl.DataFrame]:
    """Give the tables that are its output, by file name; moments are per year."""
    symbols = list(evidence.symbols)
    annual = float(setup["sessions_per_year"])
    covariance = annual * solution.covariance
    names = pl.Series("symbol", symbols, dtype=pl.String)
    allotted = pl.DataFrame({"date": [evidence.date] * len(symbols), "symbol": names, "weight": weights})
    means = pl.DataFrame(
        {
            "symbol": names,
            "expected_return": annual * solution.expected_returns,
            "volatility": [math.sqrt(max(one, 0.0)) for one in covariance.diagonal().tolist()],
        }
    )
    pairs = pl.DataFrame(
        {
            "symbol": [one for one in symbols for _ in symbols],
            "with_symbol": symbols * len(symbols),
            "covariance": covariance.ravel(),
        }
    )
    return {"weights.parquet": allotted, "expected_returns.parquet": means, "covariance.parquet": pairs}


def objective_of(task: Task) -> str:
    """Say what is optimised, in a few words: the optimiser, its objective and its measure of risk."""
    name = (task.code_ref or "").rpartition(":")[2]
    words = [str(task.params[key]) for key in ("objective_function", "risk_measure") if task.params.get(key)]
    return " ".join([name, *words])[:100]


def describe_basis(task: Task, setup: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a backtest needs to fit the optimiser again; params as they are declared, without secrets.

    Two versions of one `basis` decide alike in a backtest: on what date the optimiser itself decides is no part of it.
    """
    told: dict[str, Any] = {
        "definition": task.code_ref,
        "code_digest": task.code_digest,
        "params": dict(cast("Mapping[str, Any]", task.config.get("params") or {})),
        "seed": task.seed,
        "reads": sorted({one.role for one in task.inputs} & set(OPTIONAL_ROLES)),
        SETUP: dict(setup),
    }
    return {**told, "basis": digest_of({**told, SETUP: {**setup, "date": None}})}


def _refit(
    definition: Callable[..., Any], params: Mapping[str, Any], setup: Mapping[str, Any], *, instance: str, seed: int
) -> Refit:
    return Refit(
        definition=definition,
        params=params,
        instance=instance,
        constraints=cast("Mapping[str, float]", setup["constraints"]),
        fallback=cast("Fallback | None", setup["fallback"]),
        seed=seed,
    )


def _identity(detail: Mapping[str, Any], evidence: Evidence, weights: Floats) -> str:
    rounded = [round(weight, _ROUNDED) for weight in cast("list[float]", weights.tolist())]
    return digest_of(
        {
            "basis": detail["basis"],
            "date": evidence.date,
            "weights": dict(zip(evidence.symbols, rounded, strict=True)),
        }
    )


def _fail(context: RunContext, solution: Solution) -> NoReturn:
    """Fail the run with the residuals, which stay with it as metrics."""
    for name, value in solution.residuals.items():
        context.log_metric(f"residual_{name}", value)
    worst = _worst(solution.residuals)
    if worst is not None:
        context.log_metric("constraint_residual", worst)
    raise SolverFailedError(
        _what_failed(context.instance, solution),
        next_step="loosen its constraints, or declare `fallback: equal_weight | inverse_volatility | previous`",
    )


def _what_failed(instance: str, solution: Solution) -> str:
    said = f"the optimisation of {instance} has no solution that holds: {solution.status}"
    if solution.message:
        said += f" ({solution.message})"
    if solution.broken:
        nearest = "the nearest weights break" if solution.status == "infeasible" else "it breaks"
        said += f"; {nearest} {', '.join(solution.broken)}"
    return said


def _risk_free_rate(params: Mapping[str, Any]) -> float:
    rate = params.get("risk_free_rate")
    return float(rate) if isinstance(rate, int | float) else 0.0


def _worst(residuals: Mapping[str, float]) -> float | None:
    return _finite(max(residuals.values(), key=lambda one: math.inf if math.isnan(one) else one)) if residuals else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
