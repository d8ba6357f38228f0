"""What `optaic init` writes."""

from __future__ import annotations

_PROJECT = """\
# A project of OptAIC Runs. After a change:  optaic apply   (shows what differs; may be repeated)
project: {name}

instances:
  # Daily closes of 20 stocks of the S&P 500, 1990 to 2022; they come with the package skfolio.
  prices:
    kind: dataset
    definition: optaic.sources:sp500_prices     # package.module:function
    params: {{end: 2022-12-28}}                   # the function's own parameters
    key: [date, symbol]                         # what identifies a row; the first is the event date
    known_at: {{lag: "close + 2h"}}               # when a row was known; or {{column: NAME}}, or observed
    freshness: {{frequency: irregular}}           # or {{frequency: daily, calendar: XNYS, deadline: "18:00"}}

  # Your own source: write the function in sources.py beside this file, take the marks away, and apply.
  # my_prices:
  #   kind: dataset
  #   definition: sources:my_prices
  #   params: {{token: "${{env:PRICES_TOKEN}}"}}    # a secret: read where the run executes, never stored
  #   inputs: {{reference: "prices[close]"}}      # read in the function by ctx.input("reference").frame()
  #   timeout: 10m                              # then the run is killed; 1h by default
  #   retry: {{max_attempts: 3, backoff: 2s, max_backoff: 5m, on: [ConnectionError, TimeoutError]}}
  #   seed: 0
"""

_SOURCES = '''\
"""Sources of this project: functions that fetch data. They run in a process of their own."""

from datetime import date

import polars as pl

import optaic


@optaic.pipeline
def my_prices(ctx: optaic.RunContext, start: date | None = None, *, scale: float = 1.0) -> pl.DataFrame:
    """Return rows from `start` on (all if None), with the key columns and any others."""
    days = pl.date_range(date(2024, 1, 1), date(2024, 1, 31), eager=True)
    frame = pl.DataFrame({"date": days, "symbol": "DEMO", "close": [scale * (100.0 + i) for i in range(len(days))]})
    ctx.log.info("fetched %d rows", len(frame))
    return frame if start is None else frame.filter(pl.col("date") >= start)
'''


def new_project_text(name: str) -> str:
    """Give the text of a new project file: one dataset that can be refreshed at once, and a commented one."""
    return _PROJECT.format(name=name)


def new_sources_text() -> str:
    """Give the text of a module with a source of the user's own, as an example."""
    return _SOURCES
