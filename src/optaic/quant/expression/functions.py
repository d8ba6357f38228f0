"""The catalogue of functions: `optaic functions` lists it, and the parser checks calls against it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from optaic.quant.expression.signature import Function, Shape
from optaic.quant.expression.tree import Kind

_ANY = "null if an argument is null"
_FINITE = "null if an argument is null, or the result is not a finite number"
_CELLS = "null unless all n cells exist; min_periods= relaxes"
_PAIRS = "null unless both exist in all n cells; min_periods= relaxes; null where a deviation is zero"
_SPREAD = "null unless all n cells exist (min_periods= relaxes), and where the deviation is zero"
_CROSS = "ignores nulls and non-members, and is null there; null on dates with fewer than 2 values or zero deviation"
_GROUPS = "as a cross-section, within the group: null with fewer than 2 values or zero deviation, or without a group"
_LAST = "the last n sessions, today included"


def _element(
    name: str, signature: str, meaning: str, example: str, *, nulls: str = _FINITE, gives: Kind = Kind.NUMBER
) -> Function:
    return Function(
        name=name,
        shape=Shape.ELEMENT,
        signature=signature,
        meaning=meaning,
        nulls=nulls,
        example=example,
        gives=gives,
    )


def _time(
    name: str,
    meaning: str,
    example: str,
    *,
    signature: str = "x, n, *, min_periods=",
    nulls: str = _CELLS,
    window: str = _LAST,
    least: int = 1,
) -> Function:
    return Function(
        name=name,
        shape=Shape.TIME,
        signature=signature,
        meaning=meaning,
        nulls=nulls,
        window=window,
        example=example,
        full_history=name == "TS_EMA",
        looks_ahead=name == "LEAD",
        least=least,
    )


def _across(name: str, signature: str, meaning: str, example: str, *, nulls: str = "") -> Function:
    shape = Shape.GROUP if name.startswith("GROUP_") else Shape.CROSS_SECTION
    usual = _GROUPS if shape is Shape.GROUP else _CROSS
    return Function(name=name, shape=shape, signature=signature, meaning=meaning, nulls=nulls or usual, example=example)


_ALL = (
    # ---------------------------------------------------------------------------------------------------- element
    _element("ABS", "x", "The absolute value.", "ABS(close - open)"),
    _element("LOG", "x", "The natural logarithm; null for x <= 0.", "LOG(close)"),
    _element("EXP", "x", "e to the power of x.", "EXP(-ABS(close / open - 1))"),
    _element("SQRT", "x", "The square root; null for x < 0.", "SQRT(volume)"),
    _element("SIGN", "x", "-1, 0 or 1.", "SIGN(close - open)"),
    _element("POWER", "x, y", "x to the power of y, as `x ** y`.", "POWER(close / open, 2)"),
    _element(
        "SIGNED_POWER", "x, y", "SIGN(x) times ABS(x) to the power of y.", "SIGNED_POWER(TS_RETURN(close, 1), 0.5)"
    ),
    _element("CLIP", "x, low, high", "x, but at least `low` and at most `high`.", "CLIP(close / open - 1, -0.1, 0.1)"),
    _element(
        "IF",
        "condition, then, otherwise",
        "`then` where the condition is true, `otherwise` where it is false.",
        "IF(close > open, volume, -volume)",
        nulls="null where the condition or what it has chosen is null",
        gives=Kind.ANY,
    ),
    _element(
        "COALESCE",
        "*values",
        "The first argument that is not null.",
        "COALESCE(TS_MEAN(close, 20), close)",
        nulls="null where all arguments are",
        gives=Kind.ANY,
    ),
    _element(
        "IS_NULL",
        "value",
        "Whether the cell is null.",
        "IF(IS_NULL(volume), 0, volume)",
        nulls="never null",
        gives=Kind.CONDITION,
    ),
    _element("GREATER", "x, y", "The greater of two numbers.", "GREATER(open, close)", nulls=_ANY),
    _element("LESS", "x, y", "The lesser of two numbers.", "LESS(open, close)", nulls=_ANY),
    # ------------------------------------------------------------------------------------------------------- time
    _time(
        "TS_REF",
        "The value n sessions ago.",
        "TS_REF(close, 21)",
        signature="x, n",
        nulls="null where the cell n sessions ago is",
        window="the session n sessions ago alone",
    ),
    _time(
        "TS_DELTA",
        "x minus its value n sessions ago.",
        "TS_DELTA(close, 5)",
        signature="x, n",
        nulls="null where either cell is",
        window="today and n sessions ago",
    ),
    _time(
        "TS_RETURN",
        "x over its value n sessions ago, minus 1: a fraction, not annualised.",
        "TS_RETURN(close, 21)",
        signature="x, n=1",
        nulls="null where either cell is, or the earlier one is 0",
        window="today and n sessions ago",
    ),
    _time("TS_SUM", "The sum.", "TS_SUM(volume, 20)"),
    _time("TS_PRODUCT", "The product.", "TS_PRODUCT(1 + TS_RETURN(close), 20) - 1"),
    _time("TS_MEAN", "The mean.", "close / TS_MEAN(close, 20) - 1"),
    _time("TS_STD", "The standard deviation, ddof=1.", "TS_STD(TS_RETURN(close), 21)", least=2),
    _time("TS_VAR", "The variance, ddof=1.", "TS_VAR(TS_RETURN(close), 21)", least=2),
    _time("TS_MIN", "The least value.", "close / TS_MIN(low, 252)"),
    _time("TS_MAX", "The greatest value.", "close / TS_MAX(high, 252)"),
    _time("TS_MEDIAN", "The median.", "TS_MEDIAN(volume, 63)"),
    _time(
        "TS_QUANTILE",
        "The quantile q, interpolated linearly.",
        "TS_QUANTILE(TS_RETURN(close), 63, 0.05)",
        signature="x, n, q, *, min_periods=",
    ),
    _time(
        "TS_MAD",
        "The median absolute deviation from the median, not scaled to a standard deviation.",
        "TS_MAD(TS_RETURN(close), 21)",
    ),
    _time(
        "TS_SKEW",
        "The skewness, bias-corrected, as pandas.",
        "TS_SKEW(TS_RETURN(close), 63)",
        nulls=_SPREAD,
        least=3,
    ),
    _time(
        "TS_KURT",
        "The excess kurtosis (normal: 0), bias-corrected, as pandas.",
        "TS_KURT(TS_RETURN(close), 63)",
        nulls=_SPREAD,
        least=4,
    ),
    _time(
        "TS_RANK",
        "The rank of today's value among those of the window, over their count: in (0, 1]; ties have the average rank.",
        "TS_RANK(volume, 21)",
        nulls=_CELLS + "; null where today's cell is",
    ),
    _time(
        "TS_ZSCORE",
        "Today's value minus the mean, over the standard deviation (ddof=1).",
        "TS_ZSCORE(volume, 63)",
        nulls=_SPREAD + " or today's cell null",
        least=2,
    ),
    _time(
        "TS_EMA",
        "The exponential mean of span n (weight 2 / (n + 1)) from the first value on, as pandas ewm(adjust=False).",
        "TS_EMA(close, 12) - TS_EMA(close, 26)",
        signature="x, n",
        nulls="null until n cells exist, and where today's cell is null",
        window="all sessions from the first on: recomputed from the start",
    ),
    _time(
        "TS_DECAY",
        "The mean with linear weights: n today, n - 1 a session ago, ... 1; over the sum of the weights that exist.",
        "TS_DECAY(CS_RANK(volume), 10)",
    ),
    _time(
        "TS_CORR",
        "The correlation of two series.",
        "TS_CORR(close, volume, 20)",
        signature="x, y, n, *, min_periods=",
        nulls=_PAIRS,
        least=2,
    ),
    _time(
        "TS_COV",
        "The covariance of two series, ddof=1.",
        "TS_COV(TS_RETURN(close), TS_RETURN(volume), 20)",
        signature="x, y, n, *, min_periods=",
        nulls="null unless both exist in all n cells; min_periods= relaxes",
        least=2,
    ),
    _time(
        "TS_BETA",
        "The slope of the regression of x on y, with an intercept: their covariance over the variance of y.",
        "TS_BETA(TS_RETURN(close), TS_RETURN(open), 63)",
        signature="x, y, n, *, min_periods=",
        nulls="null unless both exist in all n cells (min_periods= relaxes), and where the deviation of y is zero",
        least=2,
    ),
    _time(
        "TS_SLOPE",
        "The slope of the regression of x on the session number: units of x per session.",
        "TS_SLOPE(LOG(close), 21)",
        least=2,
    ),
    _time(
        "TS_RSQUARE",
        "The share of the variance of x that its regression on the session number explains: from 0 to 1.",
        "TS_RSQUARE(LOG(close), 21)",
        nulls=_SPREAD,
        least=2,
    ),
    _time(
        "TS_RESID",
        "Today's residual of the regression of x on the session number.",
        "TS_RESID(LOG(close), 21)",
        nulls=_CELLS + "; null where today's cell is",
        least=2,
    ),
    _time(
        "TS_ARGMAX", "How many sessions ago the greatest value was; of equal ones the latest.", "TS_ARGMAX(high, 20)"
    ),
    _time("TS_ARGMIN", "How many sessions ago the least value was; of equal ones the latest.", "TS_ARGMIN(low, 20)"),
    _time(
        "TS_COUNT",
        "In how many of the sessions the condition was true.",
        "TS_COUNT(close > open, 10)",
        signature="condition, n, *, min_periods=",
    ),
    _time(
        "TS_FFILL",
        "The last value that exists, at most `limit` sessions old.",
        "TS_FFILL(volume, 5)",
        signature="x, limit",
        nulls="null where neither today's cell nor one of the `limit` sessions before exists",
        window="the last limit + 1 sessions, today included",
    ),
    _time(
        "LEAD",
        "The value n sessions later: the future, so only a model's target may use it.",
        "LEAD(close, 5) / close - 1",
        signature="x, n",
        nulls="null where the cell n sessions later is",
        window="the session n sessions later alone",
    ),
    # ----------------------------------------------------------------------------------------------- cross-section
    _across("CS_RANK", "x", "The average rank over the count: in (0, 1], the greatest 1.", "CS_RANK(volume)"),
    _across(
        "CS_ZSCORE",
        "x",
        "x minus the mean, over the standard deviation (ddof=1).",
        "CS_ZSCORE(TS_REF(close, 2) / TS_REF(close, 20) - 1)",
    ),
    _across("CS_DEMEAN", "x", "x minus the mean.", "CS_DEMEAN(TS_RETURN(close, 5))"),
    _across(
        "CS_SCALE",
        "x",
        "x over the sum of the absolute values, which then is 1.",
        "CS_SCALE(CS_DEMEAN(volume))",
    ),
    _across(
        "CS_WINSORIZE",
        "x, quantile=, *, mads=",
        "x, clipped to its quantiles `quantile` and 1 - `quantile` (interpolated linearly), or to the median plus and "
        "minus `mads` median absolute deviations (not scaled).",
        "CS_WINSORIZE(volume, mads=3)",
        nulls=_CROSS + "; with mads= also if the median absolute deviation is zero",
    ),
    _across(
        "CS_GAUSS",
        "x",
        "The normal quantile of the rank: of (average rank - 1/2) / count.",
        "CS_GAUSS(TS_RETURN(close, 21))",
    ),
    _across(
        "CS_BUCKET",
        "x, buckets",
        "The number of the bucket, 1 (least) to `buckets`: CS_RANK times `buckets`, rounded up; ties share one.",
        "CS_BUCKET(volume, 5)",
    ),
    _across(
        "CS_NEUTRALIZE",
        "x, *exposures, group=",
        "The residual of the regression (OLS) of x on the exposures, with dummies of the group or else an intercept; "
        "an exposure that is text is a group too.",
        "CS_NEUTRALIZE(TS_RETURN(close, 21), LOG(volume), group=sector)",
        nulls=_CROSS + "; null also where an exposure or the group is",
    ),
    # ------------------------------------------------------------------------------------------------------- group
    _across("GROUP_RANK", "x, group", "CS_RANK within the group.", "GROUP_RANK(volume, sector)"),
    _across("GROUP_ZSCORE", "x, group", "CS_ZSCORE within the group.", "GROUP_ZSCORE(volume, sector)"),
    _across(
        "GROUP_MEAN",
        "x, group",
        "The mean of the group.",
        "volume / GROUP_MEAN(volume, sector)",
        nulls="ignores nulls and non-members, and is null there and without a group; a single value is its own mean",
    ),
    _across("GROUP_DEMEAN", "x, group", "CS_DEMEAN within the group.", "GROUP_DEMEAN(TS_RETURN(close, 5), sector)"),
)

CATALOGUE: Mapping[str, Function] = MappingProxyType({function.name: function for function in _ALL})
"""Every function, by name, in the order in which they are listed."""
