"""A name that is new, tracked or declared by several at the same moment: one makes it, the others find it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from optaic.bootstrap import open_runtime
from optaic.client import Ledger
from optaic.errors import ConflictError
from tests.projects import Project, open_project


def track(ledger: Ledger, name: str) -> None:
    with ledger.track(name) as run:
        run.log_metric("ic", 0.1)


def at_once(project: Project, works: list[Callable[[Ledger], object]]) -> list[BaseException]:
    """Do all of it at the same moment, each on a ledger opened for it; give what was raised."""
    failures: list[BaseException] = []
    barrier = threading.Barrier(len(works), timeout=30.0)

    def go(work: Callable[[Ledger], object]) -> None:
        try:
            with Ledger(open_runtime(project.settings)) as mine:
                barrier.wait()
                work(mine)
        except BaseException as error:  # noqa: BLE001 - told to the test
            failures.append(error)

    threads = [threading.Thread(target=go, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)
    return failures


def test_a_new_name_that_several_track_at_once_is_made_by_one_and_used_by_all(
    tmp_path: Path, database_url: str
) -> None:
    with open_project(tmp_path / "project", database_url) as project:
        assert at_once(project, [lambda ledger: track(ledger, "idea")] * 4) == []
        assert [run.status for run in project.ledger.runs(instance="idea")] == ["completed"] * 4


def test_who_declares_a_name_that_others_begin_to_track_is_told_or_they_are(tmp_path: Path, database_url: str) -> None:
    with open_project(tmp_path / "project", database_url) as project:
        for number in range(8):
            name = f"idea{number}"
            declared = f"project: faults\ninstances:\n  {name}: {{kind: dataset, definition: 'sources:market'}}\n"
            (project.root / "optaic.yaml").write_text(declared)

            def begin(ledger: Ledger, name: str = name) -> None:
                track(ledger, name)

            failures = at_once(project, [Ledger.apply, begin, begin])
            assert {type(failure) for failure in failures} == {ConflictError}
            assert len(failures) in {1, 2}  # the declaration was too late, or both blocks were
