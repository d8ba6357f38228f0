"""Curves of a run, drawn in the terminal."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

from optaic.cli import render
from optaic.cli.app import use_colour

if TYPE_CHECKING:
    from optaic.handle import RunHandle

MAX_WIDTH, HEIGHT = 100, 9


def print_curves(run: RunHandle) -> None:
    """Draw what a completed backtest was worth, and how far below its highest value it was; nothing of other runs."""
    if run.type != "BacktestRun" or not {"equity_curve.parquet", "drawdowns.parquet"} <= set(run.artifacts):
        return
    from optaic.report.series import read_series
    from optaic.report.terminal import LEAST_WIDTH, draw_lines

    width = min(shutil.get_terminal_size((80, 24)).columns, MAX_WIDTH)
    if width < LEAST_WIDTH:
        return
    equity = read_series(run.frame("equity_curve"), "value", label="value")
    drawdown = read_series(run.frame("drawdowns"), "drawdown", label="drawdown")
    encoding = sys.stdout.encoding or "ascii"
    render.say()
    render.say("value at the close, net of costs (log scale)")
    render.say(
        draw_lines(
            [equity], width, HEIGHT, unit="money", is_log=True, encoding=encoding, has_colour=use_colour(sys.stdout)
        )
    )
    render.say()
    render.say("drawdown: below the highest value so far")
    render.say(
        draw_lines(
            [drawdown],
            width,
            HEIGHT - 2,
            unit="fraction",
            includes_zero=True,
            encoding=encoding,
            has_colour=use_colour(sys.stdout),
        )
    )
