"""The page that all reports share: one file that opens without a network, asks for nothing and can be printed."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optaic.errors import InvalidInputError
from optaic.report.markup import EMPTY, Html, element, join
from optaic.report.number import UNKNOWN, format_value
from optaic.report.style import SCRIPT, STYLE

SHARPE_SUFFIX = "sharpe_ratio"

_NOT_SHARPE = frozenset({"deflated_sharpe_ratio", "probabilistic_sharpe_ratio"})
"""Probabilities, in spite of their names."""

_NAMES = {"cagr": "CAGR", "var_95": "VaR 95%", "cvar_95": "CVaR 95%"}

_WORDS = {
    **{word: word.upper() for word in ("auc", "ic", "ir", "ks", "mae", "psi", "rmse")},
    "num": "number of",
    "sharpe": "Sharpe",
    "sortino": "Sortino",
}
"""Words that are not written as they stand in names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What the page is about.

    Attributes
    ----------
    kind
        In a word or two: `Backtest`.
    title
        The name of the instance.
    run_id
        The run that made the report.
    period
        First and last date, inclusive; None if there are no data.
    created_at
        When the report was made, aware.
    chips
        Its standing and other short facts.
    """

    kind: str
    title: str
    run_id: str
    period: tuple[dt.date, dt.date] | None
    created_at: dt.datetime
    chips: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One metric.

    Attributes
    ----------
    name
        Its key, as in searches: `sharpe_ratio`.
    unit
        As `format_value` names it.
    value
        None and NaN are shown as unknown.
    label
        What it is called on the page; empty for its name in words.
    standard_error
        In the unit of the value; shown beside it. A Sharpe ratio without one says so.
    note
        A few words below the value.
    group
        The heading that it stands under.
    """

    name: str
    unit: str
    value: float | str | None
    label: str = ""
    standard_error: float | None = None
    note: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page.

    Attributes
    ----------
    title
        Its heading.
    body
        Its markup.
    lead
        A sentence below the heading.
    """

    title: str
    body: Html
    lead: str = ""


def write_page(heading: Heading, warnings: Sequence[str], sections: Sequence[Section], *, top: Html = EMPTY) -> str:
    """Write a page.

    Parameters
    ----------
    heading
        What it is about.
    warnings
        Sentences, the most severe first: that one is the first line of the page, above its title.
    sections
        In order; those with an empty body are left out.
    top
        What stands between the heading and the first section.

    Returns
    -------
    str
        A whole HTML document. The same arguments give the same characters. Its content security policy allows its own
        style and script, by their digests, and nothing else.

    Raises
    ------
    InvalidInputError
        If `created_at` has no time zone.
    """
    if heading.created_at.tzinfo is None:
        raise InvalidInputError(
            f"the report's created_at has no time zone: {heading.created_at.isoformat()}",
            next_step="give an aware datetime",
        )
    policy = (
        f"default-src 'none'; style-src '{_digest(STYLE)}'; script-src '{_digest(SCRIPT)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"{heading.title} · {heading.kind}"),
        element("style", Html(STYLE)),
    )
    body = element(
        "body",
        element("p", warnings[0], class_="alert first", role="alert") if warnings else EMPTY,
        element(
            "main",
            _header(heading),
            element("ul", *(element("li", warning) for warning in warnings[1:]), class_="alert")
            if warnings[1:]
            else EMPTY,
            top,
            *(_write_section(section) for section in sections if section.body),
            element("footer", f"{heading.kind} {heading.title}, run {heading.run_id}"),
        ),
        element("script", Html(SCRIPT)),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _digest(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _header(heading: Heading) -> Html:
    created = heading.created_at.astimezone(dt.UTC)
    period = "no sessions" if heading.period is None else f"{heading.period[0]} to {heading.period[1]}"
    return element(
        "header",
        element("p", heading.kind, class_="kind"),
        element("h1", heading.title),
        element(
            "p",
            element("span", period),
            element("span", "run ", element("code", heading.run_id)),
            element("span", f"made {created:%Y-%m-%d %H:%M} UTC"),
            class_="facts",
        ),
        *(element("span", chip, class_="chip") for chip in heading.chips),
    )


def _write_section(section: Section) -> Html:
    lead = element("p", section.lead, class_="lead") if section.lead else EMPTY
    return element("section", element("h2", section.title), lead, section.body)


def terms(facts: Mapping[str, str]) -> Html:
    """Write facts as `label: text`, in their order."""
    if not facts:
        return EMPTY
    rows = (element("div", element("dt", f"{label}:"), " ", element("dd", fact)) for label, fact in facts.items())
    return element("dl", *rows, class_="terms")


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, numbers_from: int = 1) -> Html:
    """Write a table whose first column names the row.

    Parameters
    ----------
    headings
        One for each column.
    rows
        As many cells in each; text, or markup.
    numbers_from
        Columns from here on (from 0) are set to the right, in digits of one width.
    """
    if not rows:
        return EMPTY
    styles = ["number" if at >= numbers_from else None for at in range(len(headings))]
    head = [element("th", name, scope="col", class_=style) for name, style in zip(headings, styles, strict=True)]
    body = [
        element(
            "tr",
            element("th", row[0], scope="row"),
            *(element("td", cell, class_=style) for cell, style in zip(row[1:], styles[1:], strict=True)),
        )
        for row in rows
    ]
    whole = element("table", element("thead", element("tr", *head)), element("tbody", *body))
    return element("div", whole, class_="wide")


def tiles(figures: Sequence[Figure]) -> Html:
    """Write a few figures large."""
    if not figures:
        return EMPTY
    return element(
        "div",
        *(
            element(
                "div",
                element("span", label_of(figure), title=figure.name),
                element("b", format_value(figure.value, figure.unit)),
                *(element("small", part) for part in _beside(figure)),
                class_="tile",
            )
            for figure in figures
        ),
        class_="tiles",
    )


def figure_groups(figures: Sequence[Figure]) -> Html:
    """Write all figures as small tables, one for each group, in the order in which groups appear."""
    groups: dict[str, list[Figure]] = {}
    for figure in figures:
        groups.setdefault(figure.group, []).append(figure)
    parts: list[Html] = []
    for name, members in groups.items():
        rows = [
            element(
                "tr",
                element("th", label_of(figure), scope="row", title=figure.name),
                element("td", figure_cell(figure), class_="number"),
            )
            for figure in members
        ]
        title = element("h3", name) if name else EMPTY
        parts.append(element("section", title, element("table", element("tbody", *rows))))
    return element("div", *parts, class_="groups") if parts else EMPTY


def figure_cell(figure: Figure) -> Html:
    """Write a figure's value, with its standard error and note below it."""
    return join([format_value(figure.value, figure.unit), *(element("small", part) for part in _beside(figure))])


def _beside(figure: Figure) -> list[str]:
    said: list[str] = []
    is_sharpe = figure.name.endswith(SHARPE_SUFFIX) and figure.name not in _NOT_SHARPE
    if figure.standard_error is not None:
        said.append(f"± {format_value(figure.standard_error, figure.unit)} standard error")
    elif is_sharpe and format_value(figure.value, figure.unit) != UNKNOWN:
        said.append("standard error not known")
    if figure.note:
        said.append(figure.note)
    return said


def label_of(figure: Figure) -> str:
    """Give what a figure is called: its label, else its name in words, and `per year` where its unit says so.

    Examples
    --------
    >>> label_of(Figure(name="max_drawdown", unit="fraction", value=None))
    'Max drawdown'
    >>> label_of(Figure(name="volatility", unit="fraction_per_year", value=None))
    'Volatility per year'
    >>> label_of(Figure(name="num_positions", unit="count", value=None))
    'Number of positions'
    """
    if figure.label:
        return figure.label
    words = _NAMES.get(figure.name) or " ".join(_WORDS.get(word, word) for word in figure.name.split("_"))
    words = words[:1].upper() + words[1:]
    return f"{words} per year" if figure.unit == "fraction_per_year" else words
