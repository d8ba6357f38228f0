"""A small graph of datasets to which everything may happen: the ground of the state machines."""

from __future__ import annotations

import datetime as dt
import tempfile
import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from sqlalchemy import select, update

from optaic.domain.kind import FlowKind, InstanceKind
from optaic.domain.reason import Reason
from optaic.errors import UpstreamNotReadyError
from optaic.flows.task import Result
from optaic.ledger.columns import db_now
from optaic.ledger.session import Database
from optaic.ledger.tables import attempts, runs
from optaic.lifecycle.apply import apply
from optaic.lifecycle.cancel import cancel
from optaic.lifecycle.claim import Claim, claim
from optaic.lifecycle.complete import complete, end_attempt
from optaic.lifecycle.rescue import rescue
from optaic.project import InputSpec, InstanceSpec, Project
from optaic.storage.objects import open_store
from tests.clock import Clock
from tests.factories import dataset_result, submit_run

ERROR = Reason(code="flow_error", message="ValueError: no", next_step="mend it")
DAYS = [dt.date(2024, 1, day) for day in (2, 3, 4, 5)]
MORNING = dt.datetime(2024, 1, 2, 12, tzinfo=dt.UTC)
COLUMNS = ("close", "volume")
NAMES = tuple("abcdefg")
LEASE = dt.timedelta(days=1000)  # what runs outlives the ticks of the clock, until it is lost on purpose

some_columns = st.sampled_from([(), ("close",), ("volume",), COLUMNS])
some_selector = st.sampled_from(["current", "current", "current", "current", "version:1", "version:2"])
some_expectation = st.sampled_from(
    [
        {"frequency": "irregular"},
        {"frequency": "daily", "calendar": "XNYS", "deadline": "close + 2h"},
        {"frequency": "daily", "calendar": "weekdays"},
        {"frequency": "interval", "every": "6h"},
    ]
)
number = st.integers(0, 20)


@dataclass
class Declared:
    """What the project file says of a dataset."""

    n: int = 0
    code: int = 0
    inputs: dict[str, InputSpec] = field(default_factory=dict[str, InputSpec])
    expectation: Mapping[str, Any] = field(default_factory=dict[str, Any])
    on_delayed: str = "wait"

    @property
    def freshness(self) -> dict[str, Any]:
        """Its `freshness:`, with what readers do if there is something that can be late."""
        if self.expectation.get("frequency", "irregular") == "irregular":
            return {"frequency": "irregular"}
        return {**self.expectation, "on_delayed": self.on_delayed}


def write_project(folder: Path, declared: Mapping[str, Declared], name: str = "p") -> Project:
    """Write the code of some datasets into a folder; give what a project file there would say."""
    text = "".join(f"def {one}(ctx, *, n: int = 0):\n    return {said.code}\n\n\n" for one, said in declared.items())
    (folder / "sources.py").write_text(text)
    specs = tuple(_spec(one, said) for one, said in declared.items())
    return Project(name=name, path=folder / "optaic.yaml", root=folder, instances=specs, digest="0" * 64)


def _spec(name: str, one: Declared) -> InstanceSpec:
    shown = {role: f"{item.instance}{list(item.columns)}@{item.selector}" for role, item in one.inputs.items()}
    return InstanceSpec(
        name=name,
        kind=InstanceKind.DATASET,
        definition=f"sources:{name}",
        params={"n": one.n},
        inputs=tuple(one.inputs.values()),
        flow_inputs={FlowKind.REFRESH: tuple(one.inputs.values())},
        policies={},
        freshness=one.freshness,
        schedule=None,
        config={"inputs": shown, "key": ["date", "symbol"], "freshness": one.freshness},
        line=1,
        column=1,
    )


class Graph(RuleBasedStateMachine):
    """Two to seven datasets that read each other, and whatever may happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.database = Database(self.stack.enter_context(self.make()))
        self.clock = Clock(self.database, MORNING)
        self.root = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.store = open_store(str(self.root / "objects"))
        self.declared: dict[str, Declared] = {}
        self.held: list[Claim] = []
        self.waiting: list[uuid.UUID] = []
        self.project_folder = self.root / "project"
        self.project_folder.mkdir()

    def make(self) -> AbstractContextManager[str]:
        raise NotImplementedError

    def teardown(self) -> None:
        self.database.close()
        self.stack.close()

    # ---------------------------------------------------------------------------------------------------- the project

    def apply(self) -> None:
        apply(self.database, self.store, write_project(self.project_folder, self.declared), prune=True)

    @initialize(
        size=st.integers(2, 7),
        edges=st.lists(st.booleans(), min_size=21, max_size=21),
        expectations=st.lists(some_expectation, min_size=7, max_size=7),
    )
    def declare(self, size: int, edges: list[bool], expectations: list[dict[str, Any]]) -> None:
        wanted = iter(edges)
        for position, name in enumerate(NAMES[:size]):
            one = self.declared[name] = Declared(expectation=expectations[position])
            for upstream in NAMES[:position]:
                if next(wanted) or upstream == NAMES[position - 1]:
                    one.inputs[upstream] = InputSpec(role=upstream, instance=upstream)
        self.apply()
        # Most of what can happen happens to what has run.
        for name in self.declared:
            self.refresh(name, Wanted())

    def some_name(self, index: int) -> str:
        names = sorted(self.declared)
        return names[index % len(names)]

    @rule(index=number)
    def change_config(self, index: int) -> None:
        one = self.declared[self.some_name(index)]
        one.n = 1 - one.n
        self.apply()

    @rule(index=number)
    def change_code(self, index: int) -> None:
        one = self.declared[self.some_name(index)]
        one.code = 1 - one.code
        self.apply()

    @rule(index=number)
    def change_what_readers_do_when_it_is_late(self, index: int) -> None:
        one = self.declared[self.some_name(index)]
        one.on_delayed = "run" if one.on_delayed == "wait" else "wait"
        self.apply()

    @rule(index=number, expectation=some_expectation)
    def change_what_is_expected(self, index: int, expectation: dict[str, Any]) -> None:
        self.declared[self.some_name(index)].expectation = expectation
        self.apply()

    @rule(index=number, other=number, columns=some_columns, selector=some_selector)
    def change_an_edge(self, index: int, other: int, columns: tuple[str, ...], selector: str) -> None:
        name, upstream = sorted((self.some_name(index), self.some_name(other)))[::-1]
        if name != upstream:
            self.declared[name].inputs[upstream] = InputSpec(
                role=upstream, instance=upstream, columns=columns, selector=selector
            )
            self.apply()

    @rule(index=number)
    def remove_an_edge(self, index: int) -> None:
        one = self.declared[self.some_name(index)]
        if one.inputs:
            del one.inputs[sorted(one.inputs)[index % len(one.inputs)]]
            self.apply()

    @rule(index=number)
    def archive_or_declare_again(self, index: int) -> None:
        name = NAMES[index % len(NAMES)]
        if name not in self.declared:
            self.declared[name] = Declared()
        elif len(self.declared) > 1:
            del self.declared[name]
            for other in self.declared.values():
                other.inputs.pop(name, None)
        self.apply()

    # ----------------------------------------------------------------------------------------------------------- runs

    def submit(self, name: str, *, seed: int | None = None, is_forced: bool = True) -> uuid.UUID | None:
        try:
            return submit_run(self.database, name, seed=seed, is_forced=is_forced).id
        except UpstreamNotReadyError:
            return None

    def start(self, run_id: uuid.UUID) -> Claim | None:
        held = claim(self.database, worker="w", lease=LEASE, run_id=run_id)
        if held is not None:
            self.held.append(held)
        return held

    def refresh(self, name: str, result: Wanted) -> None:
        run_id = self.submit(name)
        if run_id is not None:
            held = self.start(run_id)
            if held is None:  # another run of it is running, or what it reads does not exist
                self.waiting.append(run_id)
            else:
                self.complete(held, result)

    def complete(self, held: Claim, result: Wanted) -> None:
        self.held.remove(held)
        complete(self.database, held.run.id, held.attempt, result.of(held))

    @rule(
        index=number,
        is_changed=st.booleans(),
        day=st.sampled_from(DAYS),
        columns=some_columns,
        until=st.sampled_from([None, *DAYS]),
        unread=st.sampled_from([None, None, 0, 1]),
    )
    def refresh_one(
        self,
        index: int,
        day: dt.date,
        columns: tuple[str, ...],
        until: dt.date | None,
        unread: int | None,
        *,
        is_changed: bool,
    ) -> None:
        wanted = Wanted(is_changed=is_changed, day=day, columns=columns, until=until, unread=unread)
        self.refresh(self.some_name(index), wanted)

    @rule(until=st.sampled_from([None, *DAYS]))
    def refresh_all(self, until: dt.date | None) -> None:
        for name in sorted(self.declared):
            self.refresh(name, Wanted(is_changed=False, until=until))

    @rule(index=number, seed=st.sampled_from([None, None, 7]), is_forced=st.booleans())
    def begin(self, index: int, seed: int | None, *, is_forced: bool) -> None:
        """Start a run that will end some steps later: what it reads may be old by then."""
        run_id = self.submit(self.some_name(index), seed=seed, is_forced=is_forced)
        if run_id is not None and self.start(run_id) is None:
            self.waiting.append(run_id)

    @precondition(lambda self: self.held)
    @rule(index=number, is_changed=st.booleans(), day=st.sampled_from(DAYS), until=st.sampled_from([None, *DAYS]))
    def complete_what_runs(self, index: int, day: dt.date, until: dt.date | None, *, is_changed: bool) -> None:
        self.complete(self.held[index % len(self.held)], Wanted(is_changed=is_changed, day=day, until=until))

    @precondition(lambda self: self.held)
    @rule(index=number, is_cancelled=st.booleans())
    def end_what_runs(self, index: int, *, is_cancelled: bool) -> None:
        held = self.held.pop(index % len(self.held))
        if is_cancelled:
            cancel(self.database, held.run.id)
        end_attempt(self.database, held.run.id, held.attempt, ERROR)

    @precondition(lambda self: self.held)
    @rule(index=number)
    def lose_what_runs(self, index: int) -> None:
        held = self.held.pop(index % len(self.held))
        with self.database.write() as tx:
            tx.conn.execute(
                update(attempts).where(attempts.c.run_id == held.run.id).values(lease_expires_at=db_now(-60.0))
            )
        assert rescue(self.database) == [held.run.id]
        self.waiting.append(held.run.id)

    @precondition(lambda self: self.waiting)
    @rule(index=number)
    def start_or_cancel_what_waits(self, index: int) -> None:
        run_id = self.waiting.pop(index % len(self.waiting))
        with self.database.read() as tx:
            status = tx.conn.execute(select(runs.c.status).where(runs.c.id == run_id)).scalar_one()
        if status == "pending" and self.start(run_id) is None:
            with self.database.read() as tx:
                status = tx.conn.execute(select(runs.c.status).where(runs.c.id == run_id)).scalar_one()
            if status == "pending":
                cancel(self.database, run_id)


@dataclass(frozen=True)
class Wanted:
    """What a refresh shall return."""

    is_changed: bool = True
    day: dt.date = DAYS[0]
    columns: tuple[str, ...] = ()
    until: dt.date | None = None
    unread: int | None = None

    def of(self, held: Claim) -> Result:
        """Make the result: every input was read until a date, but for one that was not read at all."""
        result = dataset_result(held, is_changed=self.is_changed, day=self.day)
        assert result.dataset is not None
        dataset = replace(result.dataset, changed_columns=self.columns if self.is_changed else ())
        slices: dict[str, tuple[dt.date | None, dt.date | None] | None] = {}
        for position, item in enumerate(held.task.inputs):
            if position == self.unread:
                slices[item.role] = None
            elif self.until is not None:
                slices[item.role] = (DAYS[0], self.until)
        return replace(result, dataset=dataset, slices=slices)
