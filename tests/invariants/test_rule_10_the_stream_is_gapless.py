"""Rule 10: numbers are given by the relay to what has been committed, so a reader who resumes misses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from optaic.ledger import activities
from optaic.ledger.session import Database
from optaic.lifecycle.publish import events_after, relay
from tests.crossing import cross
from tests.factories import add_dataset, submit_run


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


def note(database: Database, *names: str) -> None:
    with database.write() as tx:
        activities.record_all(tx, "alert.raised", [(name, {}) for name in names])


def drain(database: Database) -> None:
    while relay(database, limit=7):
        pass


def test_what_was_inserted_first_and_committed_last_is_still_seen(postgres_url: str) -> None:
    slow, fast = Database(postgres_url), Database(postgres_url)
    with slow.write() as tx:
        activities.record(tx, "alert.raised", "slow", {})
        note(fast, "fast")
        drain(fast)
        (seen,) = events_after(fast, 0)
        assert (seen.seq, seen.resource_id) == (1, "fast")
    drain(fast)
    assert [(event.seq, event.resource_id) for event in events_after(fast, seen.seq)] == [(2, "slow")]
    slow.close()
    fast.close()


def test_many_writers_and_relays_at_once_leave_no_gap(database: Database) -> None:
    add_dataset(database)
    for turn in range(8):
        writers = [partial(note, database, f"{turn}-{number}-a", f"{turn}-{number}-b") for number in range(4)]
        found = cross(*writers, *[partial(relay, database, limit=3)] * 3)
        assert not [item for item in found if isinstance(item, BaseException)]
        # Whoever reads now reads a beginning of the stream without a hole.
        seen = events_after(database, 0)
        assert [event.seq for event in seen] == list(range(1, len(seen) + 1))
    drain(database)
    seen = events_after(database, 0)
    assert [event.seq for event in seen] == list(range(1, 65))
    assert len({event.resource_id for event in seen}) == 64


def test_a_reader_that_resumes_anywhere_reads_the_rest(database: Database) -> None:
    note(database, *(str(number) for number in range(20)))
    drain(database)
    whole = events_after(database, 0)
    assert [event.resource_id for event in whole] == [str(number) for number in range(20)]
    for place in range(21):
        assert events_after(database, place) == whole[place:]
    assert events_after(database, 3, limit=2) == whole[3:5]


def test_what_was_rolled_back_has_no_number(database: Database) -> None:
    note(database, "before")

    class SuddenError(Exception):
        pass

    def write_and_fail() -> None:
        with database.write() as tx:
            activities.record(tx, "alert.raised", "never", {})
            raise SuddenError

    with pytest.raises(SuddenError):
        write_and_fail()
    note(database, "after")
    drain(database)
    assert [(event.seq, event.resource_id) for event in events_after(database, 0)] == [(1, "before"), (2, "after")]


def test_a_relay_without_anything_new_changes_nothing(database: Database) -> None:
    add_dataset(database)
    submit_run(database)
    drain(database)
    last = events_after(database, 0)
    assert relay(database) == 0
    assert events_after(database, 0) == last
