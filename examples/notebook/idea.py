"""A loop of one's own, tracked: a script or a notebook cell in the folder of a project that has `prices`."""

import polars as pl

import optaic

WINDOW = 20

with optaic.connect() as ledger, ledger.track("idea", params={"window": WINDOW}, inputs=["prices"]) as run:
    prices = run.input("prices").frame()  # exactly the version that the ledger pinned for this run
    returns = prices.sort("date").select(
        "date",
        "symbol",
        past=(pl.col("close") / pl.col("close").shift(WINDOW) - 1).over("symbol"),
        next=(pl.col("close").shift(-1) / pl.col("close") - 1).over("symbol"),
    )
    scores = returns.drop_nulls().group_by("date").agg(ic=pl.corr("past", "next", method="spearman")).sort("date")
    run.log_metric("ic", scores.select(pl.col("ic").fill_nan(None).mean()).item())
    run.log_frame("scores", scores)
    print(f"run {run.id}: see it with: optaic show idea@latest")
