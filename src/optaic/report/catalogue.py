"""Metrics by name, unit and value, as the figures that a page shows: in groups, with what belongs beside them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from optaic.report.page import Figure

ERROR_SUFFIX = "_standard_error"

GROUPS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("total_return", "annualized_return", "cagr"), "Return"),
        **dict.fromkeys(
            ("sharpe_ratio", "probabilistic_sharpe_ratio", "deflated_sharpe_ratio", "sortino_ratio", "calmar_ratio"),
            "Return for risk",
        ),
        **dict.fromkeys(("volatility", "max_drawdown", "avg_drawdown", "drawdown_duration", "ruined"), "Risk"),
        **dict.fromkeys(("var_95", "cvar_95", "skewness", "kurtosis"), "Risk"),
        **dict.fromkeys(("beta", "alpha", "tracking_error", "information_ratio"), "Against the benchmark"),
        **dict.fromkeys(("turnover", "gross_exposure", "net_exposure", "survivorship"), "Book"),
        **dict.fromkeys(("num_trades", "win_rate", "profit_factor", "avg_trade_return"), "Trades"),
        **dict.fromkeys(("avg_holding_period", "open_episodes"), "Trades"),
    }
)
"""The heading that a metric of a backtest stands under; others stand under the last, which is `Other`."""

_LAST = "Other"


def list_figures(
    catalogue: Iterable[tuple[str, str, float | str | None]], *, notes: Mapping[str, str] = MappingProxyType({})
) -> list[Figure]:
    """Make figures of metrics.

    Parameters
    ----------
    catalogue
        Name, unit (as `format_value` names it) and value of each metric, in the order in which they are shown.
    notes
        A few words below the figure of that name: `{"sharpe_ratio": "deflated 0.90 over 100 trials"}`.

    Returns
    -------
    list of Figure
        One for each metric, group by group, but for those that belong to another, which is among them:
        `sharpe_ratio_standard_error` stands beside `sharpe_ratio`, and so does `risk_free` when it is `none`;
        `drawdown_open` beside `drawdown_duration`.

    Examples
    --------
    >>> [one] = list_figures([("ic", "score", 0.03), ("ic_standard_error", "score", 0.01)])
    >>> one.value, one.standard_error
    (0.03, 0.01)
    """
    entries = {name: (unit, value) for name, unit, value in catalogue}
    figures: list[Figure] = []
    for name, (unit, value) in entries.items():
        if _belongs_elsewhere(name, entries):
            continue
        error = entries.get(name + ERROR_SUFFIX, ("", None))[1]
        said = [notes.get(name, "")]
        if name == "sharpe_ratio" and entries.get("risk_free", ("", None))[1] == "none":
            said.append("risk_free: none")
        if name == "drawdown_duration" and entries.get("drawdown_open", ("", None))[1]:
            said.append("still open")
        figures.append(
            Figure(
                name=name,
                unit=unit,
                value=value,
                standard_error=error if isinstance(error, int | float) and math.isfinite(error) else None,
                note="; ".join(part for part in said if part),
                group=GROUPS.get(name, _LAST),
            )
        )
    order = [*dict.fromkeys(GROUPS.values()), _LAST]
    return sorted(figures, key=lambda figure: order.index(figure.group))


def _belongs_elsewhere(name: str, entries: Mapping[str, object]) -> bool:
    if name.endswith(ERROR_SUFFIX):
        return name.removesuffix(ERROR_SUFFIX) in entries
    owner = {"risk_free": "sharpe_ratio", "drawdown_open": "drawdown_duration"}.get(name)
    return owner is not None and owner in entries
