"""Expect: until when what a refresh brought is good, by the calendar of its dataset."""

from __future__ import annotations

import datetime as dt
import logging
import uuid

from optaic.errors import InvalidInputError
from optaic.flows.expectation import Reach, reach
from optaic.flows.task import Result
from optaic.ledger import catalog, runs
from optaic.ledger.catalog import Flow
from optaic.ledger.session import Database

_log = logging.getLogger("optaic.calendar")


def prepare(database: Database, run_id: uuid.UUID, result: Result) -> None:
    """Load the sessions that a completion will ask for: the first time this takes seconds, too long for a lock."""
    if result.dataset is None:
        return
    with database.read() as tx:
        run = runs.get(tx, run_id)
        flow = catalog.get_flow(tx, run.flow_id)
    good_until(flow, result.dataset.last_data_date or flow.last_data_date, run.ledger_now)


def good_until(flow: Flow, last_data_date: dt.date | None, asked_at: dt.datetime) -> Reach:
    """Say until when the data of a flow are good; of a calendar that does not know so far ahead, nothing is expected.

    Parameters
    ----------
    flow
        With what its calendar expects.
    last_data_date
        The last event date that the data reach.
    asked_at
        When the source was asked for them (UTC).
    """
    if flow.freshness_spec is None:
        return Reach()
    try:
        return reach(flow.freshness_spec, last_data_date, asked_at)
    except InvalidInputError as error:
        _log.warning("%s: nothing is expected of it: %s", flow.target, error.message)
        return Reach()
