"""What tests of models share: a project with random prices, two features and a model on them."""

from __future__ import annotations

from tests.research import SOURCES, Research

FEATURES = '''

def trend(ctx, n=20):
    """What became of the price over n sessions."""
    frame = ctx.input("close").frame().sort("symbol", "date")
    value = (pl.col("close") / pl.col("close").shift(n) - 1).over("symbol")
    return frame.select("date", "symbol", value=value).drop_nulls()


def noise(ctx):
    """Two features that know nothing; a file beside this may add a third."""
    sessions, values = panel()
    change = Path("noise").read_text() if Path("noise").exists() else ""
    names = [f"S{number:02d}" for number in range(values.shape[1])]
    chance = np.random.default_rng(3)
    frame = pl.DataFrame(
        {
            "date": np.repeat(sessions, len(names)),
            "symbol": names * len(sessions),
            "a": chance.normal(size=values.size),
            "b": chance.normal(size=values.size),
        }
    ).with_columns(pl.col("date").cast(pl.Date))
    if change == "wider":
        return frame.with_columns(c=-pl.col("b"))
    return frame
'''

ESTIMATORS = '''
"""Estimators of the project's own."""

from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


class Steady(Ridge):
    """A ridge regression that is named otherwise."""

    def __init__(self, alpha=1.0):
        super().__init__(alpha=alpha)


def scaled(alpha: float = 1.0):
    """Make a pipeline that ends in an estimator of the project."""
    return make_pipeline(StandardScaler(), Steady(alpha=alpha))
'''

INSTANCES = """
  prices: {kind: dataset, definition: "sources:prices", known_at: {lag: close, calendar: weekdays}}
  trend:
    kind: dataset
    definition: sources:trend
    inputs: {close: "prices[close]"}
    known_at: {lag: close, calendar: weekdays}
  noise: {kind: dataset, definition: "sources:noise", known_at: {lag: close, calendar: weekdays}}
"""

ALPHA = """
  alpha:
    kind: model
    definition: DEFINITION
    params: {}
    inputs: {trend: trend, noise: noise, prices: prices}
    target: {horizon: 5, transform: cs_rank}
    refit: {every: 60, window: expanding, min_train: 150}
    calendar: weekdays
"""


def alpha(definition: str = "sklearn.linear_model:Ridge", **lines: str) -> str:
    """Give the declaration of the model; `lines` replace or add fields."""
    text = ALPHA.replace("DEFINITION", definition)
    for name, value in lines.items():
        kept = [line for line in text.splitlines() if not line.startswith(f"    {name}:")]
        text = "\n".join([*kept, f"    {name}: {value}", ""])
    return text


def prepare(research: Research) -> None:
    """Write the project's modules."""
    (research.root / "sources.py").write_text(SOURCES + FEATURES)
    (research.root / "estimators.py").write_text(ESTIMATORS)
