"""The report of a backtest, from plain data."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from optaic.errors import InvalidInputError
from optaic.report.chart import Band, area_chart, column_chart, line_chart
from optaic.report.markup import EMPTY, Html, element, join
from optaic.report.number import UNKNOWN, format_percent
from optaic.report.page import (
    Figure,
    Heading,
    Section,
    figure_cell,
    figure_groups,
    label_of,
    table,
    terms,
    tiles,
    write_page,
)
from optaic.report.series import Series, read_series

HEADLINE = ("cagr", "sharpe_ratio", "max_drawdown", "volatility", "turnover")
"""The figures that are written large."""

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A variant of the backtest: the same with delistings at -30 %, or its benchmark.

    Attributes
    ----------
    label
        What it is.
    figures
        Its metrics; columns of the table are those that any variant has.
    """

    label: str
    figures: Sequence[Figure]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BacktestReport:
    """What the report of a backtest shows. Every frame may be None, empty or of one session.

    Attributes
    ----------
    run_id, instance
        Which run, of what.
    period
        First and last session; None for none.
    created_at
        When, aware.
    figures
        The metrics, in the order and groups in which they are shown.
    chips
        Its standing, and other facts of a word or two.
    warnings
        Sentences, the most severe first; `list_cautions` writes them.
    assumptions
        Label to text, in order: costs, execution, survivorship, risk_free, ...
    equity_curve
        `date`, `value` (money at the close, net of costs), optionally `benchmark` (money, rebased by the caller).
    drawdowns
        `date`, `drawdown` (fraction, at most 0).
    rolling_sharpe
        `date`, `sharpe_ratio` (annualised), `standard_error` (annualised; without it the page says that it is not
        known).
    monthly_returns
        `year`, `month` (1 to 12), `return` (fraction).
    exposures
        `date`, `gross`, `net` (fractions of the value, at the close).
    turnover
        `date` of each rebalance, `turnover` (one-way, fraction of the value).
    costs
        `date`, `cost` (all until then, fraction of the capital).
    comparisons
        Variants, the first the backtest itself.
    benchmark
        What the benchmark is called.
    currency
        Of the equity curve; empty if not known.
    headline
        Names of the figures that are written large; those that are not among the figures are left out.
    """

    run_id: str
    instance: str
    period: tuple[dt.date, dt.date] | None
    created_at: dt.datetime
    figures: Sequence[Figure]
    chips: Sequence[str] = ()
    warnings: Sequence[str] = ()
    assumptions: Mapping[str, str]
    equity_curve: pl.DataFrame | None = None
    drawdowns: pl.DataFrame | None = None
    rolling_sharpe: pl.DataFrame | None = None
    monthly_returns: pl.DataFrame | None = None
    exposures: pl.DataFrame | None = None
    turnover: pl.DataFrame | None = None
    costs: pl.DataFrame | None = None
    comparisons: Sequence[Comparison] = ()
    benchmark: str = "benchmark"
    currency: str = ""
    headline: Sequence[str] = HEADLINE


def backtest_page(report: BacktestReport) -> str:
    """Write the report of a backtest as one HTML document.

    Parameters
    ----------
    report
        What it shows.

    Returns
    -------
    str
        Warnings first, then assumptions, figures and charts. The same report gives the same characters.

    Raises
    ------
    InvalidInputError
        If a frame lacks a column or has one of a wrong type, a month is not 1 to 12 or there twice, or `created_at`
        has no time zone.
    """
    large = [figure for name in report.headline for figure in report.figures if figure.name == name]
    sections = [
        Section(title="Assumptions", body=terms(report.assumptions)),
        Section(title="Result", body=join([tiles(large), _equity(report), _drawdowns(report)])),
        Section(
            title="Compared",
            lead="Beside it: the same backtest under other assumptions, and what it is measured against.",
            body=_compared(report.comparisons),
        ),
        Section(
            title="Monthly returns",
            lead="In percent, net of costs; years are compounded from their months.",
            body=_months(report),
        ),
        Section(title="Figures", body=figure_groups(report.figures)),
        Section(title="Over time", body=_over_time(report)),
    ]
    heading = Heading(
        kind="Backtest",
        title=report.instance,
        run_id=report.run_id,
        period=report.period,
        created_at=report.created_at,
        chips=report.chips,
    )
    return write_page(heading, report.warnings, sections)


def _equity(report: BacktestReport) -> Html:
    lines = [_read(report.equity_curve, "value", report.instance)]
    if report.equity_curve is not None and "benchmark" in report.equity_curve.columns:
        lines.append(_read(report.equity_curve, "benchmark", report.benchmark, is_quiet=True))
    note = f"Value at the close, {report.currency}".rstrip(", ")
    return line_chart("equity", "Equity", lines, unit="money", is_log=True, note=note, height_px=300)


def _drawdowns(report: BacktestReport) -> Html:
    line = _read(report.drawdowns, "drawdown", "Drawdown")
    return area_chart("drawdown", "Drawdown", line, unit="fraction", note="Below the highest value so far")


def _over_time(report: BacktestReport) -> Html:
    exposures = [_read(report.exposures, "gross", "Gross"), _read(report.exposures, "net", "Net")]
    charts = [
        _rolling(report.rolling_sharpe),
        line_chart(
            "exposure",
            "Exposure",
            exposures,
            unit="fraction",
            includes_zero=True,
            note="At the close, of the value",
            height_px=180,
        ),
        column_chart(
            "turnover",
            "Turnover",
            _read(report.turnover, "turnover", "Turnover"),
            unit="fraction",
            note="One-way, at each rebalance",
            height_px=180,
        ),
        line_chart(
            "cost",
            "Costs",
            [_read(report.costs, "cost", "Costs")],
            unit="fraction",
            includes_zero=True,
            note="All until then, of the capital",
            height_px=180,
        ),
    ]
    return element("div", *charts, class_="pair")


def _rolling(frame: pl.DataFrame | None) -> Html:
    line = _read(frame, "sharpe_ratio", "Sharpe ratio")
    if frame is None or "standard_error" not in frame.columns:
        note = "Annualised; standard error not known"
        return line_chart(
            "sharpe", "Rolling Sharpe ratio", [line], unit="ratio", includes_zero=True, note=note, height_px=180
        )
    error = read_series(frame, "standard_error", label="").values
    band = Band(
        low=Series(label="", days=line.days, values=line.values - error),
        high=Series(label="", days=line.days, values=line.values + error),
        label="± 1 standard error",
    )
    return line_chart(
        "sharpe",
        "Rolling Sharpe ratio",
        [line],
        unit="ratio",
        includes_zero=True,
        band=band,
        note="Annualised",
        height_px=180,
    )


def _read(frame: pl.DataFrame | None, column: str, label: str, *, is_quiet: bool = False) -> Series:
    nothing = pl.DataFrame(schema={"date": pl.Date, column: pl.Float64})
    return read_series(nothing if frame is None else frame, column, label=label, is_quiet=is_quiet)


def _compared(comparisons: Sequence[Comparison]) -> Html:
    columns: dict[str, str] = {}
    for comparison in comparisons:
        for figure in comparison.figures:
            columns.setdefault(figure.name, label_of(figure))
    rows: list[list[str]] = []
    for comparison in comparisons:
        cells = {figure.name: figure_cell(figure) for figure in comparison.figures}
        rows.append([comparison.label, *(cells.get(name, UNKNOWN) for name in columns)])
    return table(["", *columns.values()], rows)


def _months(report: BacktestReport) -> Html:
    frame = report.monthly_returns
    if frame is None or frame.is_empty():
        return element("p", "No data.", class_="empty")
    returns = _read_months(frame)
    strongest = sorted(abs(value) for value in returns.values() if value is not None)
    # The nine largest of ten would be pale if one crash gave the scale.
    scale = strongest[int(0.95 * (len(strongest) - 1))] if strongest else 0.0
    rows: list[Html] = []
    for year in sorted({year for year, _ in returns}):
        months = [returns.get((year, month)) for month in range(1, 13)]
        there = [value for value in months if value is not None]
        total = math.prod(1 + value for value in there) - 1 if there else None
        cells = [element("td", _write_month(value), class_=_heat(value, scale)) for value in months]
        rows.append(
            element(
                "tr", element("th", str(year), scope="row"), *cells, element("td", _write_month(total), class_="total")
            )
        )
    heads = [element("th", name, scope="col") for name in ("", *_MONTHS, "Year")]
    whole = element("table", element("thead", element("tr", *heads)), element("tbody", *rows), class_="months")
    return element("div", whole, class_="wide")


def _read_months(frame: pl.DataFrame) -> dict[tuple[int, int], float | None]:
    missing = sorted({"year", "month", "return"} - set(frame.columns))
    if missing:
        raise InvalidInputError(
            f"monthly returns have no column {', '.join(missing)}", next_step="give year, month (1 to 12) and return"
        )
    returns: dict[tuple[int, int], float | None] = {}
    for year, month, value in frame.select("year", "month", pl.col("return").cast(pl.Float64)).iter_rows():
        if year is None or month not in range(1, 13) or (year, month) in returns:
            raise InvalidInputError(
                f"monthly returns have a month that is no month, or is there twice: {year}-{month}",
                next_step="give one row for each year and month, 1 to 12",
            )
        returns[year, month] = value if value is not None and math.isfinite(value) else None
    return returns


def _write_month(value: float | None) -> Html | str:
    return EMPTY if value is None else format_percent(value, 1).removesuffix("%")


def _heat(value: float | None, scale: float) -> str | None:
    if value is None or scale <= 0 or round(value, 3) == 0:
        return None
    level = min(5, max(1, math.ceil(5 * abs(value) / scale)))
    return f"{'u' if value > 0 else 'd'}{level}"
