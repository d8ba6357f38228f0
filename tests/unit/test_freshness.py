from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import replace

import pytest

from optaic.domain.freshness import CauseKind, Change, Consumed, FlowFacts, evaluate, touches
from optaic.domain.status import Freshness

DAY = dt.date(2024, 1, 2)
LATER = dt.date(2024, 1, 3)
PRICES, RETURNS = uuid.UUID(int=1), uuid.UUID(int=2)


def ready(flow_id: uuid.UUID) -> FlowFacts:
    return FlowFacts(
        id=flow_id,
        has_output=True,
        config_digest="c",
        code_digest="d",
        run_config_digest="c",
        run_code_digest="d",
    )


def reader(*changes: Change, selector: str = "current", last_date: dt.date | None = DAY) -> FlowFacts:
    consumed = Consumed(
        upstream_id=PRICES,
        upstream="prices",
        role="close",
        selector=selector,
        last_date=last_date,
        columns=("close",),
        changes=changes,
    )
    edge = (PRICES, "prices", "close", selector)
    return replace(ready(RETURNS), upstreams=(edge,), consumed=(consumed,))


def decide(*flows: FlowFacts) -> tuple[Freshness, list[CauseKind]]:
    freshness, causes = evaluate(flows)[flows[-1].id]
    return freshness, [cause.kind for cause in causes]


def test_a_flow_is_ready_when_nothing_has_changed() -> None:
    assert decide(ready(PRICES), reader()) == (Freshness.READY, [])


@pytest.mark.parametrize(
    ("flow", "cause"),
    [
        (replace(ready(PRICES), run_config_digest="old"), CauseKind.CONFIG_CHANGED),
        (replace(ready(PRICES), run_code_digest="old"), CauseKind.CODE_CHANGED),
        (reader(Change(number=2, changed_from=DAY)), CauseKind.INPUT_CHANGED),
    ],
)
def test_what_has_changed_makes_it_stale(flow: FlowFacts, cause: CauseKind) -> None:
    assert decide(flow) == (Freshness.STALE, [cause])


def test_a_flow_that_never_completed_has_that_one_cause() -> None:
    assert decide(replace(ready(PRICES), has_output=False)) == (Freshness.NOT_INITIALIZED, [CauseKind.NEVER_RUN])


def test_an_upstream_that_is_not_ready_is_not_good_to_read() -> None:
    stale = replace(ready(PRICES), run_code_digest="old")
    for flows in ((stale, reader()), (reader(), stale)):
        freshness, causes = evaluate(flows)[RETURNS]
        assert (freshness, [cause.kind for cause in causes]) == (Freshness.STALE, [CauseKind.UPSTREAM_NOT_READY])


def test_a_selected_version_is_not_changed_by_a_refresh() -> None:
    stale = replace(ready(PRICES), run_code_digest="old")
    pinned = reader(Change(number=2, changed_from=DAY), selector="version")
    assert decide(stale, pinned) == (Freshness.READY, [])


@pytest.mark.parametrize(
    ("changed_from", "columns", "last_date", "is_touched"),
    [
        (DAY, (), DAY, True),
        (LATER, (), DAY, False),
        (LATER, (), None, True),
        (None, (), DAY, True),
        (DAY, ("close",), DAY, True),
        (DAY, ("volume",), DAY, False),
        (DAY, ("volume", "close"), DAY, True),
    ],
)
def test_a_change_matters_where_it_meets_what_was_read(
    changed_from: dt.date | None, columns: tuple[str, ...], last_date: dt.date | None, *, is_touched: bool
) -> None:
    (consumed,) = reader(last_date=last_date).consumed
    assert touches(Change(number=2, changed_from=changed_from, columns=columns), consumed) is is_touched


def test_a_chain_of_a_few_thousand_flows_is_decided() -> None:
    flows = [replace(ready(uuid.UUID(int=1)), run_code_digest="old")]
    for number in range(2, 3000):
        edge = (uuid.UUID(int=number - 1), str(number - 1), "up", "current")
        flows.append(replace(ready(uuid.UUID(int=number)), upstreams=(edge,)))
    decided = evaluate(flows[::-1])
    assert {freshness for freshness, _ in decided.values()} == {Freshness.STALE}
