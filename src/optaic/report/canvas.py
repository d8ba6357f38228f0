"""What all charts share: a figure with a caption, and an SVG that tells in words what it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optaic.report.markup import EMPTY, Html, element, join


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A chart's name and place.

    Attributes
    ----------
    name
        Letters, digits and hyphens, once on a page: ids are made from it.
    title
        What is shown.
    height_px
        Height of the drawing on the page.
    note
        A sentence below the title.
    """

    name: str
    title: str
    height_px: int
    note: str = ""


def write_figure(plot: Plot, drawing: Html, *, keys: Sequence[Html] = ()) -> Html:
    """Put a drawing below its title, legend and note."""
    return element("figure", _caption(plot, keys), drawing, class_="chart")


def write_empty(plot: Plot) -> Html:
    """Say below the title that there are no data."""
    return write_figure(plot, element("p", "No data.", class_="empty"))


def write_svg(plot: Plot, told: str, children: Sequence[Html]) -> Html:
    """Write an image as wide as its place, which `told` describes to those who do not see it."""
    return element(
        "svg",
        element("title", plot.title, id=f"{plot.name}-title"),
        element("desc", told, id=f"{plot.name}-desc"),
        *children,
        role="img",
        aria_labelledby=f"{plot.name}-title {plot.name}-desc",
        width="100%",
        height=plot.height_px,
    )


def write_key(label: str, colour: str) -> Html:
    """Write an entry of a legend: a swatch of a class of the style, and a label."""
    return element("span", element("i", class_=f"swatch {colour}"), label, class_="key")


def write_percent(share: float) -> str:
    """Write a share of the width, as SVG takes it.

    Examples
    --------
    >>> write_percent(0.125)
    '12.50%'
    """
    return f"{share * 100:.2f}%"


def _caption(plot: Plot, keys: Sequence[Html]) -> Html:
    legend = element("span", join(keys), class_="legend") if keys else EMPTY
    note = element("p", plot.note) if plot.note else EMPTY
    return element("figcaption", element("h3", plot.title), legend, note)
