"""Pipeline definitions that ship with the product."""

from optaic.sources.sp500 import factors, sp500_index, sp500_prices

__all__ = ["factors", "sp500_index", "sp500_prices"]
