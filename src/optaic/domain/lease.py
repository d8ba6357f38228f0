"""Attempts and their leases."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum


class AttemptOutcome(StrEnum):
    """How an attempt ended."""

    COMPLETED = "completed"
    """Its completion was the run's."""
    FAILED = "failed"
    """It ended with an error; the run failed, or waits to be tried again."""
    CANCELLED = "cancelled"
    """It was stopped because a principal asked for it."""
    LOST = "lost"
    """Its lease expired."""
    RELEASED = "released"
    """Its worker was shut down and gave the run back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTerms:
    """How long a lease lasts and how often it is renewed.

    Attributes
    ----------
    duration
        From a claim or heartbeat to the expiry, by the database's clock.
    heartbeat
        Between two heartbeats: a third of the duration, so that two may be lost.
    """

    duration: dt.timedelta

    @property
    def heartbeat(self) -> dt.timedelta:
        """The time between two heartbeats."""
        return self.duration / 3


def is_lost(lease_expires_at: dt.datetime, now: dt.datetime) -> bool:
    """Whether a lease has expired; both instants are the database's."""
    return lease_expires_at < now
