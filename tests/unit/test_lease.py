from __future__ import annotations

import datetime as dt

from optaic.domain.lease import LeaseTerms, is_lost

NOW = dt.datetime(2024, 1, 2, tzinfo=dt.UTC)


def test_two_heartbeats_may_be_lost() -> None:
    terms = LeaseTerms(duration=dt.timedelta(seconds=30))
    assert terms.heartbeat * 3 == terms.duration


def test_a_lease_is_lost_once_it_has_expired() -> None:
    moment = dt.timedelta(microseconds=1)
    assert [is_lost(NOW + shift * moment, NOW) for shift in (-1, 0, 1)] == [True, False, False]
