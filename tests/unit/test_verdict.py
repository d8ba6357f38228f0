"""What a reproduction says of files: compared by value or digest, told when one of both lacks them."""

from __future__ import annotations

import datetime as dt
import uuid
from pathlib import Path

import pytest

from optaic.domain.artifact import Artifact
from optaic.domain.comparison import Comparison
from optaic.domain.kind import FlowKind, RunType
from optaic.domain.standing import Standing
from optaic.flows.task import Original, Result, Task
from optaic.flows.verdict import MODEL, judge
from optaic.storage.objects import open_store


def _judged(folder: Path, original: dict[str, bytes], reproduction: dict[str, bytes]) -> Comparison:
    store = open_store(str(folder))

    def kept(side: str, files: dict[str, bytes]) -> tuple[Artifact, ...]:
        return tuple(
            Artifact(
                name=name,
                kind="file",
                media_type="application/octet-stream",
                stored=store.put(f"{side}/{name}", data),
            )
            for name, data in files.items()
        )

    task = Task(
        run_id=uuid.uuid4(),
        attempt=1,
        tenant_id=1,
        instance="alpha",
        flow_kind=FlowKind.TRAIN,
        code_ref=None,
        code_digest=None,
        config={},
        params={},
        seed=0,
        as_of=None,
        mode=None,
        standing=Standing.OFFICIAL,
        started_at=dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
        current=None,
    )
    run = Original(
        run_id=uuid.uuid4(),
        run_type=RunType.TRAINING,
        status="completed",
        reason=None,
        metrics={},
        artifacts=kept("original", original),
    )
    return judge(run, task, Result(artifacts=kept("reproduction", reproduction)), store)


def test_models_of_the_same_bytes_are_compared_and_identical(tmp_path: Path) -> None:
    found = _judged(tmp_path, {"fits/0001.skops": b"one"}, {"fits/0001.skops": b"one"})
    assert (found.verdict, found.compared, found.left_out) == ("identical", ("fits/0001.skops", "metrics"), {})


def test_models_of_other_bytes_are_left_to_what_they_predict(tmp_path: Path) -> None:
    found = _judged(tmp_path, {"fits/0001.skops": b"one"}, {"fits/0001.skops": b"other"})
    assert (found.verdict, found.compared) == ("identical", ("metrics",))
    assert found.left_out == {"fits/0001.skops": MODEL}


@pytest.mark.parametrize(("fits", "where"), [((1, 2), "reproduction"), ((1,), "original")])
def test_a_fit_that_only_one_of_both_has_is_told(tmp_path: Path, fits: tuple[int, ...], where: str) -> None:
    ours = {f"fits/{number:04d}.skops": b"fit" for number in fits}
    theirs = {f"fits/{number:04d}.skops": b"fit" for number in {1, 2, 3} - set(fits) | {1}}
    found = _judged(tmp_path, theirs, ours)
    assert found.verdict == "different"
    assert f"only in the {where}" in {place.note for place in found.places}


def test_pages_for_people_are_left_out_and_other_files_go_by_digest(tmp_path: Path) -> None:
    found = _judged(tmp_path, {"report.html": b"a", "notes.txt": b"a"}, {"report.html": b"b", "notes.txt": b"b"})
    assert found.verdict == "different"
    assert [place.name for place in found.places] == ["notes.txt"]
    assert list(found.left_out) == ["report.html"]
