"""The claim with 100,000 pending runs against the claim with 100, on SQLite and PostgreSQL.

Measured are whole claims: the transaction that finds the next run, opens its attempt and pins what it reads; and the
look of an idle worker that finds nothing to do. The ratio of two medians of the same database says what the number of
waiting runs costs. The cases that hurt a claim that walks along its queue are measured too.
"""

from __future__ import annotations

import argparse
import datetime as dt
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import _ledgers
from _ledgers import Databases
from sqlalchemy import func, insert, literal, select, text, update
from sqlalchemy.types import Uuid

from optaic.ledger.columns import db_now
from optaic.ledger.session import Database
from optaic.ledger.tables import runs
from optaic.lifecycle.claim import claim, has_work
from tests.factories import add_dataset, claim_run, submit_run

LEASE = dt.timedelta(hours=1)
CLAIMS = 40
FLOWS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What waits.

    Attributes
    ----------
    name
        What the table calls it.
    prepare
        Makes the waiting runs, so many.
    is_idle
        Whether nothing can be claimed, so that the look is measured.
    """

    name: str
    prepare: Callable[[Database, int], None]
    is_idle: bool = False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--many", type=int, default=100_000)
    parser.add_argument("--few", type=int, default=100)
    given = parser.parse_args()
    _ledgers.say_conditions(f"claims: medians of {CLAIMS}, milliseconds, with so many runs pending")
    print(f"  {'':12} {'':46} {given.few:>9,} {given.many:>9,}   ratio")
    with _ledgers.servers() as servers:
        for system, databases in servers.items():
            _ledgers.migrated(databases, "base")
            for case in CASES:
                few = _measure(databases, case, given.few)
                many = _measure(databases, case, given.many)
                print(f"  {system:12} {case.name:46} {few:9.2f} {many:9.2f}   {many / few:5.2f}", flush=True)


def _measure(databases: Databases, case: Case, count: int) -> float:
    url = databases.create_database("measured", template="base")
    try:
        with closing(Database(url)) as database:
            case.prepare(database, count)
            with database.write() as tx:
                tx.conn.execute(text("ANALYZE"))
            times: list[float] = []
            for number in range(CLAIMS + 3):
                started = time.perf_counter()
                found = has_work(database) if case.is_idle else claim(database, worker="bench", lease=LEASE)
                seconds = time.perf_counter() - started
                assert bool(found) is not case.is_idle
                if number >= 3:  # the first ones compile their statements
                    times.append(seconds)
        return _ledgers.median_ms(times)
    finally:
        databases.drop_database("measured")


def _trials(database: Database, count: int) -> None:
    """Trials of one flow, as a sweep makes them."""
    add_dataset(database, "swept", params={"n": 1})
    run = submit_run(database, "swept", params={"n": 2})
    _multiply(database, run.id, count - 1)


def _flows(database: Database, count: int) -> None:
    """Official runs of many flows, each with several."""
    per_flow = max(count // FLOWS, 1)
    for number in range(min(FLOWS, count)):
        add_dataset(database, f"flow_{number}")
        _multiply(database, submit_run(database, f"flow_{number}").id, per_flow - 1)


def _half_later(database: Database, count: int) -> None:
    """Trials, every other of which may not be claimed yet; those wait in front."""
    _trials(database, count)
    with database.write() as tx:
        tx.conn.execute(text("UPDATE runs SET priority = 0"))
        later = update(runs).where(runs.c.seed % 2 == 0).values(available_at=db_now(86_400.0), priority=1)
        tx.conn.execute(later)


def _blocked(database: Database, count: int) -> None:
    """Official runs of one flow, of which one is running: none may start."""
    add_dataset(database, "busy")
    held = claim_run(database, submit_run(database, "busy"), lease=LEASE)
    assert held.attempt == 1
    _multiply(database, submit_run(database, "busy").id, count - 1)


def _behind_blocked(database: Database, count: int) -> None:
    """Official runs that may not start, and behind them trials of another flow that may."""
    _blocked(database, count)
    add_dataset(database, "free", params={"n": 1})
    _multiply(database, submit_run(database, "free", params={"n": 2}, priority=-1).id, CLAIMS + 10)


CASES = (
    Case(name="trials of one flow", prepare=_trials),
    Case(name=f"official runs of {FLOWS} flows", prepare=_flows),
    Case(name="trials, the first half not available yet", prepare=_half_later),
    Case(name="behind official runs of a running flow", prepare=_behind_blocked),
    Case(name="nothing but those: the look of an idle worker", prepare=_blocked, is_idle=True),
)


def _multiply(database: Database, run_id: uuid.UUID, count: int) -> None:
    """Repeat a pending run so many times, each with the next seed, by one statement in the database."""
    if count < 1:
        return
    with database.write() as tx:
        numbers = select(literal(1).label("number")).cte("numbers", recursive=True)
        following = numbers.c.number + 1
        numbers = numbers.union_all(select(following).where(numbers.c.number < count))
        new_id = func.gen_random_uuid(type_=Uuid()) if tx.is_postgresql else func.lower(func.hex(func.randomblob(16)))
        columns = [column for column in runs.c if column.name not in {"id", "seed"}]
        rows = select(new_id, numbers.c.number, *columns).join_from(runs, numbers, literal(1) == 1)
        names = ["id", "seed", *(column.name for column in columns)]
        tx.conn.execute(insert(runs).from_select(names, rows.where(runs.c.id == run_id)))


if __name__ == "__main__":
    main()
