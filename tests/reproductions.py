"""Reproductions of runs in a real project: sources that may say something else, and what came out."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from optaic.engines.process import ForkServer
from optaic.handle import RunHandle
from optaic.ledger.tables import flow_inputs, flows, versions
from tests.projects import Project

MORE_SOURCES = '''

def outside(ctx, *, file: str, noise: float = 0.0):
    """What a file says that is no part of the project: a vendor, who may correct the past."""
    frame = pl.read_csv(file, try_parse_dates=True)
    ctx.log_frame("raw", frame)
    return frame


def grows(ctx, start: dt.date | None = None, *, days: int = 3):
    ctx.log.info("from %s", start)
    first = dt.date(2024, 1, 1)
    frame = pl.DataFrame({"date": [first + dt.timedelta(days=n) for n in range(days)], "symbol": "A", "close": 1.5})
    return frame if start is None else frame.filter(pl.col("date") >= start)


def chance(ctx, *, scale: float = 1.0):
    import numpy
    ctx.log_metric("random", random.random())
    ctx.log_metric("numpy", float(numpy.random.default_rng(ctx.seed).normal()))
    return table(scale * float(numpy.random.random()))


def halves(ctx):
    frame = ctx.input("close").frame()
    ctx.log_metric("total", float(frame["close"].sum()))
    return frame.select("date", "symbol", pl.col("close") / 2)


def vintages(ctx, *, file: str):
    frame = pl.read_csv(file, try_parse_dates=True)
    published = pl.Series("published_at", [dt.datetime(2024, 2, day, tzinfo=dt.UTC) for day in (1, 2, 3)])
    ctx.log_frame("changes/1", frame)  # a name that the product uses too
    return frame.with_columns(published, date=dt.date(2024, 1, 2))


def reads_own_file(ctx):
    return table(float(Path("local").read_text()))
'''

ROWS = "date,symbol,close\n2024-01-02,A,{}\n2024-01-02,B,2.0\n2024-01-03,A,3.0\n"


def reproduced(project: Project, server: ForkServer, run: RunHandle) -> RunHandle:
    """Reproduce a run, in a process of its own."""
    again = project.ledger.reproduce(run.id, detach=True)
    thread, failures = project.supervising(server, again)
    thread.join(60.0)
    assert failures == []
    return again.refresh()


def verdict(run: RunHandle) -> tuple[str, list[tuple[str, str | None, Any, Any]]]:
    """Give the verdict, and the places: thing, column, both values."""
    assert run.status == "completed", run.reason
    comparison = run.comparison
    assert comparison is not None
    assert comparison["place_count"] == len(comparison["places"])
    return comparison["verdict"], [
        (place["name"], place["column"], place["original"], place["reproduction"]) for place in comparison["places"]
    ]


def state(project: Project) -> dict[str, list[Any]]:
    """Read what a reproduction must not touch: flows with their freshness, edges, versions."""
    with project.database.read() as tx:
        return {
            table.name: sorted(map(tuple, tx.conn.execute(select(table)).all()), key=repr)
            for table in (flows, flow_inputs, versions)
        }
