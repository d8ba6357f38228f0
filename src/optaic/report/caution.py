"""The sentences that a reader of a backtest must see first, the most severe at the top."""

from __future__ import annotations

import math

from optaic.report.number import format_percent


def list_cautions(
    *,
    survivorship: float | None,
    has_costs: bool,
    is_ruined: bool = False,
    same_bar: bool = False,
    in_sample_rows: int = 0,
    view: str = "replay",
    has_risk_free: bool = True,
    missing_prices: int = 0,
    failed_solves: int = 0,
    fallbacks: int = 0,
    skipped_decisions: int = 0,
) -> tuple[str, ...]:
    """Say what is doubtful about a backtest.

    Parameters
    ----------
    survivorship
        Share of position-days in names that are alive at the panel's end, 0 to 1; None or NaN if it is not known.
    has_costs
        Whether trades cost anything.
    is_ruined
        Whether the value reached zero.
    same_bar
        Whether trades were at the price that decided them.
    in_sample_rows
        Predictions that were used though their fit had seen their dates.
    view
        `replay`, or `latest` where decisions saw later corrections.
    has_risk_free
        Whether there was a cash rate.
    missing_prices
        Position-days that were marked at an older price.
    failed_solves, fallbacks
        Rebalances at which an optimiser found nothing, and those of them at which its declared fallback was used; at
        the others the weights before were kept.
    skipped_decisions
        Rebalances at which nothing was known of whom to hold, and what was held was kept.

    Returns
    -------
    tuple of str
        Sentences, the most severe first; none where there is nothing to say.

    Examples
    --------
    >>> list_cautions(survivorship=0.4, has_costs=False)
    ('costs: none. Every figure is before commissions, spread and slippage; trading it would return less.',)
    """
    said: list[str] = []
    if survivorship is not None and round(survivorship, 6) >= 1.0:
        said.append(
            "Survivorship 100%: every position was in a name that is still alive at the end of the data. "
            "Names that failed are missing, so all figures below are too good."
        )
    if is_ruined:
        said.append("Ruined: the value reached zero. Figures of later sessions have no meaning.")
    if not has_costs:
        said.append(
            "costs: none. Every figure is before commissions, spread and slippage; trading it would return less."
        )
    if same_bar:
        said.append("same_bar: trades were filled at the very price that decided them. Nobody could have traded so.")
    if in_sample_rows > 0:
        rows, were = ("row", "was") if in_sample_rows == 1 else ("rows", "were")
        said.append(
            f"in_sample: {in_sample_rows:,} {rows} of predictions {were} used though their fit had seen what came. "
            "Nobody could have decided so."
        )
    if view == "latest":
        said.append("view: latest. Decisions saw corrections of the data that were published after them.")
    if missing_prices > 0:
        days = "position-day was" if missing_prices == 1 else "position-days were"
        said.append(f"Missing prices: {missing_prices:,} {days} marked at an older price.")
    if skipped_decisions > 0:
        times = "rebalance" if skipped_decisions == 1 else "rebalances"
        said.append(
            f"Skipped decisions: at {skipped_decisions:,} {times} nothing was known of whom to hold, and what was held "
            "was kept."
        )
    if failed_solves > 0:
        said.append(_tell_failures(failed_solves, fallbacks))
    if not has_risk_free:
        said.append("risk_free: none. Sharpe ratios are of returns, not of returns above cash.")
    return tuple(said)


def _tell_failures(failed_solves: int, fallbacks: int) -> str:
    times = "rebalance" if failed_solves == 1 else "rebalances"
    then = "the weights of before were kept"
    if fallbacks > 0:
        then = "its declared fallback was used"
        if fallbacks < failed_solves:
            then += f" at {fallbacks:,}, the weights of before were kept at {failed_solves - fallbacks:,}"
    return f"Failed solves: at {failed_solves:,} {times} the optimiser found no solution, and {then}."


def describe_survivorship(survivorship: float | None) -> str:
    """Write the share of position-days in names that are alive at the end, for the assumptions.

    Examples
    --------
    >>> describe_survivorship(0.973)
    '97.3% of position-days in names alive at the end of the data'
    """
    if survivorship is None or math.isnan(survivorship):
        return "not known"
    return f"{format_percent(survivorship, 1)} of position-days in names alive at the end of the data"
