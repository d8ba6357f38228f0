"""Report: what an attempt has told and the ledger does not hold yet, kept while the database is away."""

from __future__ import annotations

import math
import time
import uuid

from optaic.flows.report import Batch, instant
from optaic.ledger import attempts
from optaic.ledger.attempts import Report
from optaic.ledger.session import Transaction

MAX_WAITING = 100_000
"""Metric points and log lines that wait for a database that is away; of more than these, the oldest are dropped."""


class Unwritten:
    """Batches of reports that are not written yet, in order, and the place in the attempt where they go.

    Whoever calls has a lock.

    Attributes
    ----------
    position
        Number of the next metric point or log chunk within the attempt.
    is_doubted
        Whether a transaction that wrote some of them was broken off, perhaps after its commit.
    """

    def __init__(self) -> None:
        self.position = 0
        self.is_doubted = False
        self._batches: list[Batch] = []
        self._doubted = 0
        self._doubted_size = 0
        self._dropped = 0

    def add(self, batch: Batch) -> None:
        """Add a batch after all others; the oldest are dropped when there are too many."""
        self._batches.append(batch)
        waiting = sum(len(one.points) + len(one.lines) for one in self._batches)
        while waiting > MAX_WAITING and len(self._batches) > 1:
            oldest = self._batches.pop(0)
            self._doubted = max(self._doubted - 1, 0)
            self._dropped += len(oldest.points) + len(oldest.lines)
            waiting -= len(oldest.points) + len(oldest.lines)

    def clear(self) -> None:
        """Give all of them up."""
        self._batches, self._doubted, self._dropped, self.is_doubted = [], 0, 0, False

    def report(self) -> Report:
        """Make one report of all; of their progress, the last."""
        progress = next((one.progress for one in reversed(self._batches) if one.progress is not None), None)
        lines = [line for batch in self._batches for line in batch.lines]
        if self._dropped:
            text = f"{self._dropped} metric values and log lines were dropped here: the database was away for too long"
            lines.insert(0, (time.time(), "WARNING", text, "system"))
        return Report(
            progress=None if progress is None else (progress[0], progress[1]),
            points=[
                (key, step, None if math.isnan(value) else value, instant(at))
                for batch in self._batches
                for key, value, step, at in batch.points
            ],
            lines=[
                {"at": instant(at).isoformat(), "level": level, "stream": stream, "text": text}
                for at, level, text, stream in lines
            ],
        )

    def write(self, tx: Transaction, run_id: uuid.UUID, attempt: int) -> None:
        """Write all; the caller has renewed the lease in the same transaction, and says `written` after its commit."""
        if self.is_doubted:
            # The renewed lease has waited for the transaction that was broken off: it is over by now.
            if attempts.has_reported(tx, run_id, attempt, self.position):
                del self._batches[: self._doubted]
                self.position += self._doubted_size
            self.is_doubted = False
        report = self.report()
        self._doubted, self._doubted_size, self.is_doubted = len(self._batches), _size(report), True
        attempts.write_report(tx, run_id, attempt, report, position=self.position)

    def written(self) -> None:
        """Note that the transaction was committed."""
        self.position += self._doubted_size
        self.clear()

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(self._batches)


def _size(report: Report) -> int:
    return max(len(report.points), 1)
