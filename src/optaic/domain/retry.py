"""When a failed attempt is tried again."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from typing import Any

DEFAULT_RETRY_ON = ("ConnectionError", "TimeoutError")
"""Exceptions that mean that the world, not the code, is at fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how soon a run is tried again.

    Attributes
    ----------
    max_attempts
        Attempts that count, the first included; released ones do not count.
    backoff
        Wait after the first failed attempt; doubled after each further one.
    max_backoff
        The longest wait.
    on
        Names of exception classes that are retried, besides `RetryableError`; a base class counts.
    """

    max_attempts: int = 3
    backoff: dt.timedelta = dt.timedelta(seconds=2)
    max_backoff: dt.timedelta = dt.timedelta(minutes=5)
    on: tuple[str, ...] = DEFAULT_RETRY_ON

    def allows(self, counted_attempts: int) -> bool:
        """Whether another attempt may follow so many that counted."""
        return counted_attempts < self.max_attempts

    def wait(self, counted_attempts: int, token: str) -> dt.timedelta:
        """Give the wait before the next attempt: exponential, with jitter of a half to the whole.

        Parameters
        ----------
        counted_attempts
            Attempts so far that counted, at least 1.
        token
            What the jitter is drawn from, for example run id and attempt: the same token gives the same wait, and many
            runs that failed together do not come back together.
        """
        # In seconds: a timedelta of days, doubled often, overflows.
        doubled = self.backoff.total_seconds() * 2.0 ** min(counted_attempts - 1, 30)
        draw = int.from_bytes(hashlib.sha256(token.encode()).digest()[:8], "big") / 2**64
        return dt.timedelta(seconds=min(doubled, self.max_backoff.total_seconds()) * (0.5 + draw / 2))

    def to_json(self) -> dict[str, Any]:
        """Give the policy as the ledger keeps it; durations in seconds."""
        return {
            "max_attempts": self.max_attempts,
            "backoff_seconds": self.backoff.total_seconds(),
            "max_backoff_seconds": self.max_backoff.total_seconds(),
            "on": list(self.on),
        }

    @classmethod
    def from_json(cls, value: Any) -> RetryPolicy:
        """Read the policy as the ledger keeps it; what is missing takes its default.

        What is no policy allows no second attempt. It is not refused: a list of runs must not fail for one of them.
        """
        default = cls()
        try:
            return cls(
                max_attempts=int(value.get("max_attempts", default.max_attempts)),
                backoff=dt.timedelta(seconds=float(value.get("backoff_seconds", default.backoff.total_seconds()))),
                max_backoff=dt.timedelta(
                    seconds=float(value.get("max_backoff_seconds", default.max_backoff.total_seconds()))
                ),
                on=tuple(str(name) for name in value.get("on", default.on)),
            )
        except (AttributeError, TypeError, ValueError, OverflowError):
            return cls(max_attempts=1, on=())
