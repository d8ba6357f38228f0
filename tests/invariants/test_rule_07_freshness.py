"""Rule 7: freshness is a definition, not a memory.

Random histories of a small graph of datasets on real databases, both of them. After every step what is stored, and what
reads say, agree with the definition applied to every flow anew. After a sweep what is stored says so by itself.
"""

from __future__ import annotations

import datetime as dt
from contextlib import AbstractContextManager

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

from optaic.ledger import downstream, freshness
from optaic.lifecycle.propagate import sweep
from tests.conftest import NewDatabase
from tests.graph_plans import PlannedGraph
from tests.recomputed import by_brute_force, check_plans, check_statuses, in_each_way, stored, summary


class Everything(PlannedGraph):
    """Two to seven datasets that read each other, and whatever may happen to them."""

    @rule(hours=st.sampled_from([1, 12, 36]))
    def let_time_pass(self, hours: int) -> None:
        """Let deadlines come: nobody writes when time passes."""
        self.clock.tick(dt.timedelta(hours=hours))

    @rule()
    def sweep(self) -> None:
        sweep(self.database)
        assert sweep(self.database) == 0
        with self.database.read() as tx:
            said = stored(tx)
            truth = by_brute_force(tx)
        assert {flow_id: summary(state) for flow_id, state in truth.items()} == said

    # ----------------------------------------------------------------------------------------------------- invariants

    @invariant()
    def reads_agree_with_the_definition(self) -> None:
        with self.database.read() as tx:
            truth = by_brute_force(tx)
            assert freshness.states(tx, truth.keys()) == truth
            check_statuses(tx, truth)
            for flow_id, state in truth.items():  # also one by one, when most is taken from what is stored
                assert freshness.states(tx, [flow_id]) == {flow_id: state}

    @invariant()
    def plans_agree_with_the_definition(self) -> None:
        check_plans(self.database)

    @invariant()
    def the_cache_agrees_with_the_definition_unless_time_has_passed(self) -> None:
        with self.database.read() as tx:
            if not freshness.late_flows(tx):
                assert {flow_id: summary(state) for flow_id, state in by_brute_force(tx).items()} == stored(tx)


@in_each_way
def test_the_cache_agrees_with_brute_force_after_every_step(
    new_database: NewDatabase, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, few: int, many: int
) -> None:
    monkeypatch.setattr(downstream, "FEW", few)
    monkeypatch.setattr(downstream, "MANY", many)

    class Here(Everything):
        def make(self) -> AbstractContextManager[str]:
            return new_database()

    # `HYPOTHESIS_PROFILE=explore` looks further on both.
    wanted = settings.get_profile(settings.get_current_profile_name())
    here = 4 if "postgresql" in request.node.name else 6
    examples = wanted.max_examples if wanted.max_examples > 100 else here
    run_state_machine_as_test(Here, settings=settings(wanted, max_examples=examples, stateful_step_count=20))


def test_plans_go_on_in_order_on_their_snapshot_and_end_whatever_happens_meanwhile(
    new_database: NewDatabase, request: pytest.FixtureRequest
) -> None:
    class Here(PlannedGraph):
        def make(self) -> AbstractContextManager[str]:
            return new_database()

    wanted = settings.get_profile(settings.get_current_profile_name())
    here = 8 if "postgresql" in request.node.name else 16
    examples = wanted.max_examples if wanted.max_examples > 100 else here
    run_state_machine_as_test(Here, settings=settings(wanted, max_examples=examples, stateful_step_count=30))
