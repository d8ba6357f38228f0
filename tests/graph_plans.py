"""Plans over the small graph of the state machines, and what must hold of them after every step."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from sqlalchemy import Row, select

from optaic.domain.freshness import CauseKind
from optaic.domain.plan import Plan, PlanMode, PlanStatus
from optaic.domain.sharing import Read
from optaic.ledger import catalog, plans
from optaic.ledger.session import Transaction
from optaic.ledger.state import load_facts
from optaic.ledger.tables import plan_members, plan_steps, run_inputs, runs
from optaic.ledger.tables import plans as plans_table
from optaic.lifecycle.cancel import cancel_plan
from optaic.lifecycle.claim import Claim, claim
from optaic.lifecycle.complete import end_attempt
from optaic.lifecycle.pins import pinned_version
from optaic.lifecycle.plan import PlanRequest, create
from tests.graphs import ERROR, LEASE, Graph, Wanted, number
from tests.planned import check_running_plans
from tests.recomputed import by_brute_force, steps_by_brute_force

some_mode = st.sampled_from(list(PlanMode))
some_names = st.lists(st.sampled_from([False, False, False, True]), min_size=7, max_size=7)
some_outcomes = st.lists(
    st.sampled_from(["changed", "changed", "changed", "unchanged", "fails", "lasts"]), min_size=1, max_size=4
)


class PlannedGraph(Graph):
    """The graph, and plans of any of its datasets at any moment.

    `snapshots` says, of each plan, which version everything that it reads had when it was made, and what its own steps
    have made of that since: what its runs must read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.snapshots: dict[uuid.UUID, dict[Read, uuid.UUID | None]] = {}

    def make_plan(self, index: int, mode: PlanMode, stale: list[bool]) -> Plan:
        """Make a plan after the code of some datasets has changed."""
        name = self.some_name(index)
        for other, is_stale in zip(sorted(self.declared), stale, strict=False):
            self.declared[other].code ^= is_stale
        self.apply()
        with self.database.read() as tx:
            facts, truth = load_facts(tx), by_brute_force(tx)
            wanted = steps_by_brute_force(facts, truth, catalog.find_flow(tx, name).id, mode)
            now = {
                (edge.flow_id, edge.upstream_flow_id, edge.selector_text): pinned_version(tx, edge)
                for edge in catalog.all_inputs(tx)
            }
        made = create(self.database, PlanRequest(target=name, mode=mode))
        assert [(step.flow_id, step.batch) for step in made.steps] == [(step.flow_id, step.batch) for step in wanted]
        planned = {step.flow_id for step in made.steps}
        self.snapshots[made.id] = {
            (upstream_id, selector): version_id
            for (flow_id, upstream_id, selector), version_id in now.items()
            if flow_id in planned
        }
        return made

    def start(self, run_id: uuid.UUID) -> Claim | None:
        held = super().start(run_id)
        if held is not None:
            self.check_pins(held)
        return held

    def take(self, plan_id: uuid.UUID) -> Claim | None:
        """Claim what a plan can run next."""
        held = claim(self.database, worker="w", lease=LEASE, plan_id=plan_id)
        if held is not None:
            self.held.append(held)
            self.check_pins(held)
        return held

    def check_pins(self, held: Claim) -> None:
        """Check that a run of a plan reads the plan's snapshot, whatever was published since; of each plan it is of."""
        if held.run.plan_step_id is None:
            return
        with self.database.read() as tx:
            query = select(run_inputs).where(run_inputs.c.run_id == held.run.id)
            read = {(row.upstream_flow_id, row.selector): row.version_id for row in tx.conn.execute(query)}
            members = plans_of(tx, held.run.plan_step_id)
        for plan_id in members:
            for one, version_id in read.items():
                pinned = self.snapshots[plan_id].get(one)
                assert pinned in (None, version_id), f"plan {plan_id} has {pinned}, its run reads {version_id}"

    def complete(self, held: Claim, result: Wanted) -> None:
        super().complete(held, result)
        if held.run.plan_step_id is None:
            return
        with self.database.read() as tx:
            version_id = catalog.get_flow(tx, held.run.flow_id).current_version_id
            members = plans_of(tx, held.run.plan_step_id)
        for plan_id in members:
            self.snapshots[plan_id][held.run.flow_id, "current"] = version_id

    def running_plans(self) -> list[uuid.UUID]:
        with self.database.read() as tx:
            query = select(plans_table.c.id).where(plans_table.c.status == PlanStatus.RUNNING)
            found = set(tx.conn.execute(query).scalars())
        return [plan_id for plan_id in self.snapshots if plan_id in found]

    # ---------------------------------------------------------------------------------------------------------- rules

    @rule(index=number, mode=some_mode, stale=some_names)
    def plan_one(self, index: int, mode: PlanMode, stale: list[bool]) -> None:
        self.make_plan(index, mode, stale)

    @precondition(lambda self: self.running_plans())
    @rule(index=number, outcomes=some_outcomes)
    def let_a_plan_go_on(self, index: int, outcomes: list[str]) -> None:
        """Run the next steps of a plan; what lasts ends by another rule, well or not, or is lost."""
        running = self.running_plans()
        for outcome in outcomes:
            held = self.take(running[index % len(running)])
            if held is None:
                return
            if outcome == "fails":
                self.held.remove(held)
                end_attempt(self.database, held.run.id, held.attempt, ERROR)
            elif outcome != "lasts":
                self.complete(held, Wanted(is_changed=outcome == "changed"))

    @rule(index=number, mode=some_mode, stale=some_names, changed=st.lists(st.booleans(), min_size=7, max_size=7))
    def plan_one_and_run_it_to_its_end(
        self, index: int, mode: PlanMode, stale: list[bool], changed: list[bool]
    ) -> None:
        """Run a plan alone: what it was for is ready then, but for data that the source does not have."""
        made = self.make_plan(index, mode, stale)
        for is_changed in changed:
            held = self.take(made.id)
            if held is not None:
                self.complete(held, Wanted(is_changed=is_changed))
        with self.database.read() as tx:
            ended = plans.get(tx, made.id)
            truth = by_brute_force(tx)
        if ended.status is PlanStatus.COMPLETED:
            for step in ended.steps:
                own = {cause.kind for cause in truth[step.flow_id].causes} - {CauseKind.UPSTREAM_NOT_READY}
                assert own <= {CauseKind.SOURCE_DELAYED}, f"{step.target} has run: {truth[step.flow_id]}"

    @precondition(lambda self: self.running_plans())
    @rule(index=number)
    def cancel_a_plan(self, index: int) -> None:
        """Cancel a plan: what another needs goes on as if nothing had happened, the rest ends or is asked to."""
        running = self.running_plans()
        plan_id = running[index % len(running)]
        with self.database.read() as tx:
            before = open_steps(tx, plan_id)
            needed = {step_id for step_id in before if set(plans_of(tx, step_id)) & {*running} - {plan_id}}
        cancel_plan(self.database, plan_id)
        with self.database.read() as tx:
            mine = select(plan_steps.c.id, plan_steps.c.status, runs.c.status, runs.c.cancel_requested_at)
            query = mine.outerjoin(runs, runs.c.id == plan_steps.c.run_id).where(plan_steps.c.id.in_(before.keys()))
            after = {row[0]: row for row in tx.conn.execute(query)}
            left = set(open_steps(tx, plan_id))
        for step_id, (_, status, run_status, asked_at) in after.items():
            if step_id in needed:
                assert after[step_id] == before[step_id]
            elif run_status == "running":
                assert status == "running"
                assert asked_at is not None
            else:
                assert status == "cancelled"
                assert run_status in (None, "cancelled")
        assert left == {step_id for step_id, row in after.items() if step_id not in needed and row[2] == "running"}

    @invariant()
    def plans_go_on_in_order_and_end(self) -> None:
        with self.database.read() as tx:
            check_running_plans(tx)


def plans_of(tx: Transaction, step_id: uuid.UUID) -> list[uuid.UUID]:
    """Read which plans a step is of."""
    query = select(plan_members.c.plan_id).where(plan_members.c.step_id == step_id)
    return list(tx.conn.execute(query).scalars())


def open_steps(tx: Transaction, plan_id: uuid.UUID) -> Mapping[uuid.UUID, Row[tuple[object, ...]]]:
    """Read the steps of a plan that have not ended: each with its status, and its run's."""
    query = (
        select(plan_steps.c.id, plan_steps.c.status, runs.c.status, runs.c.cancel_requested_at)
        .join(plan_members, plan_members.c.step_id == plan_steps.c.id)
        .outerjoin(runs, runs.c.id == plan_steps.c.run_id)
        .where(plan_members.c.plan_id == plan_id, plan_steps.c.ended_at.is_(None))
    )
    return {row[0]: row for row in tx.conn.execute(query)}
