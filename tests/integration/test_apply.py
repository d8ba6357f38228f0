"""Applying a project file, on both databases: idempotent, whole or not at all, and no other project's business."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import func, select

from optaic.domain.status import Freshness
from optaic.errors import CodeChangedError, ConflictError, InvalidInputError, NotFoundError
from optaic.ledger import catalog, freshness
from optaic.ledger.session import Database
from optaic.ledger.tables import activities, flows, instance_revisions, metadata
from optaic.lifecycle.apply import Changes, apply
from optaic.lifecycle.complete import complete
from optaic.lifecycle.submit import Submission, submit
from optaic.project import read_project
from optaic.storage.objects import ObjectStore, open_store
from tests.factories import claim_run, dataset_result, submit_run
from tests.rows import add_tenant

SOURCES = """
def prices(ctx, start=None, *, n: int = 3):
    ...

def returns(ctx):
    ...
"""
PRICES = "  prices: {kind: dataset, definition: 'sources:prices', params: {n: 5}}\n"
RETURNS = "  returns: {kind: dataset, definition: 'sources:returns', inputs: {close: 'prices[close]'}}\n"


@dataclass
class Home:
    """A project's folder with a ledger."""

    root: Path
    database: Database
    store: ObjectStore

    def apply(self, instances: str, *, project: str = "p", prune: bool = False, dry_run: bool = False) -> Changes:
        path = self.root / "optaic.yaml"
        path.write_text(f"project: {project}\ninstances:\n{instances}")
        return apply(self.database, self.store, read_project(path), prune=prune, dry_run=dry_run)

    def freshness(self, name: str) -> Freshness:
        with self.database.read() as tx:
            facts, states = freshness.all_states(tx)
        return states[next(flow.id for flow in facts if flow.target == name)].freshness


@pytest.fixture
def home(tmp_path: Path, database_url: str) -> Iterator[Home]:
    root = tmp_path / "project"
    root.mkdir()
    (root / "sources.py").write_text(SOURCES)
    database = Database(database_url)
    yield Home(root=root, database=database, store=open_store(str(tmp_path / "objects")))
    database.close()


def actions(changes: Changes) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(item.action, item.instance, item.details) for item in changes.items]


def rows(database: Database) -> dict[str, int]:
    with database.read() as tx:
        return {
            name: tx.conn.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in metadata.tables.items()
        }


def test_applying_twice_changes_nothing_the_second_time(home: Home) -> None:
    assert actions(home.apply(PRICES + RETURNS)) == [("created", "prices", ()), ("created", "returns", ())]
    before = rows(home.database)
    again = home.apply(PRICES + RETURNS)
    assert again.is_empty
    assert rows(home.database) == before


def test_a_dry_run_says_what_would_change_and_writes_nothing(home: Home) -> None:
    before = rows(home.database)
    assert actions(home.apply(PRICES, dry_run=True)) == [("created", "prices", ())]
    assert rows(home.database) == before
    assert list(home.store.list()) == []


def test_the_source_is_stored_once_for_each_state_of_it(home: Home) -> None:
    home.apply(PRICES)
    home.apply(PRICES)
    first = [item.key for item in home.store.list()]
    assert len(first) == 1
    (home.root / "sources.py").write_text(SOURCES + "\n# more\n")
    home.apply(PRICES)
    assert len(list(home.store.list())) == 2


def test_a_changed_config_is_a_new_revision_and_makes_the_flow_stale(home: Home) -> None:
    home.apply(PRICES)
    submit_run(home.database)
    held = claim_run(home.database)
    complete(home.database, held.run.id, 1, dataset_result(held))
    assert home.freshness("prices") is Freshness.READY

    assert actions(home.apply(PRICES.replace("n: 5", "n: 6"))) == [("updated", "prices", ("config",))]
    assert home.freshness("prices") is Freshness.STALE
    with home.database.read() as tx:
        assert tx.conn.execute(select(func.count()).select_from(instance_revisions)).scalar_one() == 2
    home.apply(PRICES)
    assert home.freshness("prices") is Freshness.READY


def test_a_changed_timeout_is_recorded_and_makes_nothing_stale(home: Home) -> None:
    home.apply(PRICES)
    submit_run(home.database)
    held = claim_run(home.database)
    complete(home.database, held.run.id, 1, dataset_result(held))
    changed = PRICES.replace("kind: dataset", "kind: dataset, timeout: 11m")
    assert actions(home.apply(changed)) == [("updated", "prices", ("config", "policies"))]
    assert home.freshness("prices") is Freshness.READY
    assert submit_run(home.database).timeout_seconds == 660


def test_changed_code_makes_the_flow_stale_and_must_be_applied_before_it_runs(home: Home) -> None:
    from optaic.flows.code import code_digest, locate

    home.apply(PRICES)
    (home.root / "sources.py").write_text(SOURCES.replace("...", "return 1"))
    digest = code_digest(locate("sources:prices", home.root))
    before = rows(home.database)
    with pytest.raises(CodeChangedError) as refused:
        submit(home.database, Submission(target="prices", code_digest=digest))
    assert refused.value.next_step is not None
    assert "optaic apply" in refused.value.next_step
    assert rows(home.database) == before
    assert actions(home.apply(PRICES)) == [("updated", "prices", ("code",))]
    assert submit(home.database, Submission(target="prices", code_digest=digest)).status == "pending"


def test_an_instance_that_left_the_file_is_kept_until_it_is_pruned_and_then_archived(home: Home) -> None:
    home.apply(PRICES + RETURNS)
    assert actions(home.apply(PRICES)) == [("unchanged", "prices", ()), ("kept", "returns", ())]
    assert actions(home.apply(PRICES, prune=True)) == [("unchanged", "prices", ()), ("archived", "returns", ())]
    with pytest.raises(NotFoundError), home.database.read() as tx:
        catalog.find_flow(tx, "returns")
    assert actions(home.apply(PRICES + RETURNS)) == [("unchanged", "prices", ()), ("created", "returns", ())]


def test_what_others_read_is_not_archived(home: Home) -> None:
    home.apply(PRICES)
    home.apply(RETURNS, project="other")
    with pytest.raises(ConflictError, match="returns read"):
        home.apply("  x: {kind: dataset, definition: 'sources:returns'}\n", prune=True)


def test_another_projects_instance_is_not_touched(home: Home) -> None:
    home.apply(PRICES)
    before = rows(home.database)
    with pytest.raises(ConflictError, match=r"optaic\.yaml:3:3: another project"):
        home.apply(PRICES, project="other")
    assert rows(home.database) == before
    changes = home.apply(RETURNS, project="other", prune=True)
    assert actions(changes) == [("created", "returns", ())]
    with home.database.read() as tx:
        assert catalog.instance_names(tx) == ["prices", "returns"]


def test_inputs_become_edges_and_follow_the_file(home: Home) -> None:
    home.apply(PRICES + RETURNS)
    with home.database.read() as tx:
        (edge,) = catalog.all_inputs(tx)
    assert (edge.role, edge.upstream_instance, edge.columns, edge.selector_text) == (
        "close",
        "prices",
        ("close",),
        "current",
    )
    changed = RETURNS.replace("prices[close]", "prices[close,volume]")
    assert actions(home.apply(PRICES + changed))[1] == ("updated", "returns", ("config", "inputs"))
    with home.database.read() as tx:
        (edge,) = catalog.all_inputs(tx)
    assert edge.columns == ("close", "volume")


@pytest.mark.parametrize(
    ("instances", "place", "problem"),
    [
        (PRICES.replace("sources:prices", "sources:price"), "optaic.yaml:3:", "did you mean 'prices'"),
        (PRICES.replace("sources:prices", "source:prices"), "optaic.yaml:3:", "source"),
        (PRICES.replace("n: 5", "m: 5"), "optaic.yaml:3:", "'m'"),
        (PRICES.replace("n: 5", "n: five"), "optaic.yaml:3:", "five"),
        (PRICES + RETURNS.replace("prices[close]", "price[close]"), "optaic.yaml:4:", "did you mean 'prices'"),
        (PRICES + PRICES, "optaic.yaml:4:3", "prices"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_nothing_is_written(
    home: Home, instances: str, place: str, problem: str
) -> None:
    before = rows(home.database)
    with pytest.raises(InvalidInputError) as refused:
        home.apply(instances)
    assert place in refused.value.message
    assert problem in refused.value.message
    assert rows(home.database) == before


def test_a_cycle_through_two_projects_is_refused(home: Home) -> None:
    home.apply("  a: {kind: dataset, definition: 'sources:prices'}\n", project="one")
    home.apply("  b: {kind: dataset, definition: 'sources:returns', inputs: {x: a}}\n", project="two")
    with pytest.raises(InvalidInputError, match="cycle"):
        home.apply("  a: {kind: dataset, definition: 'sources:prices', inputs: {y: b}}\n", project="one")


def test_two_applies_that_together_make_a_cycle_do_not_both_succeed(home: Home, tmp_path: Path) -> None:
    texts = {
        "one": "  a: {kind: dataset, definition: 'sources:prices', inputs: {y: b}}\n",
        "two": "  b: {kind: dataset, definition: 'sources:returns', inputs: {x: a}}\n",
    }
    projects = {}
    for name, text in texts.items():
        home.apply(text.split(", inputs")[0] + "}\n", project=name)
        path = tmp_path / name / "optaic.yaml"
        path.parent.mkdir()
        (path.parent / "sources.py").write_text(SOURCES)
        path.write_text(f"project: {name}\ninstances:\n{text}")
        projects[name] = read_project(path)
    barrier = threading.Barrier(2)
    outcomes: list[str] = []

    def go(name: str) -> None:
        barrier.wait()
        try:
            apply(home.database, home.store, projects[name])
        except InvalidInputError:
            outcomes.append("refused")
        else:
            outcomes.append("applied")

    threads = [threading.Thread(target=go, args=(name,)) for name in projects]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["applied", "refused"]


def test_every_change_is_an_activity(home: Home) -> None:
    home.apply(PRICES + RETURNS)
    home.apply(PRICES.replace("n: 5", "n: 6"), prune=True)
    with home.database.read() as tx:
        verbs = tx.conn.execute(select(activities.c.verb).order_by(activities.c.at, activities.c.id)).scalars().all()
    assert verbs == ["instance.created", "instance.created", "instance.updated", "instance.archived"]


def test_an_upstream_that_was_archived_is_refused_by_name(home: Home) -> None:
    home.apply(PRICES, project="one")
    home.apply("  other: {kind: dataset, definition: 'sources:prices'}\n", project="one", prune=True)
    before = rows(home.database)
    said = (
        r"optaic\.yaml:3:\d+: returns reads 'prices', and it was archived at \d{4}-.* UTC by an apply of project 'one'"
    )
    with pytest.raises(InvalidInputError, match=said) as refused:
        home.apply(RETURNS, project="two")
    assert refused.value.next_step == "declare prices again, or take this input out"
    assert rows(home.database) == before


@pytest.mark.parametrize(
    ("selector", "problem", "next_step"),
    [
        (
            "stage:champion",
            "returns reads stage:champion of prices, which is no model: its versions have no stages",
            "select current or version:N",
        ),
        ("stage:best", "'best' is not a stage", "use one of: stage:candidate, stage:champion, stage:archived"),
    ],
)
def test_a_stage_that_there_cannot_be_is_refused_with_its_place(
    home: Home, selector: str, problem: str, next_step: str
) -> None:
    reads = RETURNS.replace("'prices[close]'", f"{{from: prices, select: '{selector}'}}")
    before = rows(home.database)
    with pytest.raises(InvalidInputError, match=problem) as refused:
        home.apply(PRICES + reads)
    assert "optaic.yaml:4:" in refused.value.message
    assert refused.value.next_step == next_step
    assert rows(home.database) == before


def test_what_another_project_declares_can_be_read_and_what_another_tenant_declares_does_not_exist(home: Home) -> None:
    home.apply(PRICES, project="one")
    assert actions(home.apply(RETURNS, project="two")) == [("created", "returns", ())]
    add_tenant(home.database)
    theirs = Database(home.database.url, tenant_id=2)
    before = rows(home.database)
    path = home.root / "optaic.yaml"
    with pytest.raises(InvalidInputError, match="returns reads 'prices', and there is no such instance"):
        apply(theirs, home.store, read_project(path))
    theirs.close()
    assert rows(home.database) == before


def test_a_cycle_is_told_with_its_whole_path_and_nothing_is_written(home: Home) -> None:
    before = rows(home.database)
    reads = {"a": "c", "b": "a", "c": "b"}
    lines = [
        f"  {name}: {{kind: dataset, definition: 'sources:returns', inputs: {{x: {up}}}}}\n"
        for name, up in reads.items()
    ]
    with pytest.raises(InvalidInputError, match=r"form a cycle: (a -> b -> c -> a|b -> c -> a -> b|c -> a -> b -> c)"):
        home.apply("".join(lines))
    assert rows(home.database) == before


def test_a_chain_of_a_thousand_is_applied_and_known_to_its_end(home: Home) -> None:
    chain = ["  n0: {kind: dataset, definition: 'sources:prices'}\n"]
    chain += [
        f"  n{number}: {{kind: dataset, definition: 'sources:returns', inputs: {{x: n{number - 1}}}}}\n"
        for number in range(1, 1000)
    ]
    assert len(home.apply("".join(chain)).items) == 1000
    with home.database.read() as tx:
        _, states = freshness.all_states(tx)
        cached = tx.conn.execute(select(flows.c.id, flows.c.inherited_stale_from)).tuples().all()
    assert dict(cached) == {flow_id: state.inherited_from for flow_id, state in states.items()}
