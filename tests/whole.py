"""Whether a ledger is whole: what must hold of it at any moment, whatever was killed."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

from sqlalchemy import Row, Table, select, text

from optaic.domain.artifact import StoredObject
from optaic.ledger.session import Database, Transaction
from optaic.ledger.tables import activities, artifacts, attempts, flows, runs, segments, version_segments, versions
from optaic.storage.objects import ObjectStore

_ENDS = ("completed", "failed", "cancelled")


def check_whole(database: Database, store: ObjectStore) -> None:
    """Check everything, in one snapshot; asserts."""
    with database.read() as tx:
        if not tx.is_postgresql:  # which checks its foreign keys itself
            assert tx.conn.execute(text("PRAGMA foreign_key_check")).all() == []
            assert tx.conn.execute(text("PRAGMA quick_check")).scalars().all() == ["ok"]
        by_id = {row.id: row for row in _rows(tx, runs)}
        _check_attempts(tx, by_id)
        _check_ends(tx, by_id)
        _check_versions(tx, by_id)
        files = [*_rows(tx, segments), *_rows(tx, artifacts)]
    for row in files:
        # Read whole and compared with its size and digest.
        store.get(StoredObject(key=row.storage_key, size_bytes=row.size_bytes, sha256=row.sha256))


def _rows(tx: Transaction, table: Table) -> list[Row[Any]]:
    return list(tx.conn.execute(select(table)).all())


def _check_attempts(tx: Transaction, by_id: dict[Any, Row[Any]]) -> None:
    numbers: dict[Any, list[int]] = defaultdict(list)
    is_open: Counter[Any] = Counter()
    for row in _rows(tx, attempts):
        numbers[row.run_id].append(row.number)
        if row.ended_at is None:
            is_open[row.run_id] += 1
            assert row.number == by_id[row.run_id].attempt, "an attempt that is not the last one is open"
    for run in by_id.values():
        assert is_open[run.id] == (run.status == "running"), f"{run.id} is {run.status} with {is_open[run.id]} open"
        assert sorted(numbers[run.id]) == list(range(1, run.attempt + 1)), f"{run.id}: attempts {numbers[run.id]}"


def _check_ends(tx: Transaction, by_id: dict[Any, Row[Any]]) -> None:
    ends: Counter[tuple[str, str]] = Counter()
    for row in _rows(tx, activities):
        ends[row.resource_id, row.verb.rpartition(".")[2]] += 1
    for run in by_id.values():
        told = {end: ends[str(run.id), end] for end in _ENDS}
        assert told == {end: int(run.status == end) for end in _ENDS}, f"{run.id} is {run.status}; it was told {told}"


def _check_versions(tx: Transaction, by_id: dict[Any, Row[Any]]) -> None:
    found = _rows(tx, versions)
    for row in [*found, *_rows(tx, segments), *_rows(tx, artifacts)]:
        assert by_id[row.run_id].status == "completed", (
            f"{by_id[row.run_id].status} run {row.run_id} has left something"
        )
    listed: dict[Any, list[Any]] = defaultdict(list)
    for row in sorted(_rows(tx, version_segments), key=lambda row: row.position):
        listed[row.version_id].append(row.segment_id)
    by_flow: dict[Any, list[Row[Any]]] = defaultdict(list)
    for row in sorted(found, key=lambda row: row.number):
        assert by_id[row.run_id].standing == "official"
        by_flow[row.flow_id].append(row)
    for flow in _rows(tx, flows):
        chain = by_flow[flow.id]
        assert [row.number for row in chain] == list(range(1, len(chain) + 1))
        assert flow.current_version_id == (chain[-1].id if chain else None)
        for before, after in pairwise(chain):
            assert after.previous_id == before.id
            assert listed[after.id][: len(listed[before.id])] == listed[before.id]
            assert len(listed[after.id]) > len(listed[before.id])
