"""Targets as people write them: an instance, `instance.flow_kind`, or columns of a dataset, `prices[close]`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy import select

from optaic.domain.kind import BY_FLOW_KIND, OutputKind
from optaic.domain.suggestion import did_you_mean
from optaic.errors import InvalidInputError
from optaic.ledger import catalog
from optaic.ledger.catalog import Flow
from optaic.ledger.session import Transaction
from optaic.ledger.tables import versions

_WITH_COLUMNS = re.compile(r"([^\[\]]+)\[([^\[\]]+)\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a person means: a flow, and the columns of its dataset that were named; empty for all of it.

    `is_key` says whether one of these is of the key, which every reader reads.
    """

    flow: Flow
    columns: tuple[str, ...] = ()
    is_key: bool = False

    @property
    def text(self) -> str:
        """How it is written."""
        return self.flow.target + (f"[{','.join(self.columns)}]" if self.columns else "")

    def is_read_by(self, columns: list[str] | None) -> bool:
        """Whether a reader reads it whose edge declares some columns; None or none for all."""
        return not self.columns or self.is_key or not columns or bool(set(columns) & set(self.columns))


def find_target(tx: Transaction, target: str) -> Target:
    """Read what a person means; of a dataset also by columns. A dataset without a version may have any.

    Raises
    ------
    NotFoundError
        If there is no such instance, or it has no such flow; the message names similar ones.
    InvalidInputError
        If there is no such kind of flow, or no such column; the message names similar ones.
    """
    match = _WITH_COLUMNS.fullmatch(target.strip())
    if match is None:
        return Target(flow=catalog.find_flow(tx, target))
    flow = catalog.find_flow(tx, match[1])
    columns = tuple(dict.fromkeys(name.strip() for name in match[2].split(",")))
    if BY_FLOW_KIND[flow.kind].output is not OutputKind.DATASET:
        raise InvalidInputError(
            f"{flow.target} makes no rows, so it has no column {columns[0]!r}",
            next_step=f"name it alone: {flow.target}",
        )
    query = select(versions.c.columns, versions.c.key_columns).where(
        versions.c.tenant_id == tx.tenant_id, versions.c.id == flow.current_version_id
    )
    version = tx.conn.execute(query).one_or_none()
    if version is None:
        return Target(flow=flow, columns=columns)
    has = [column["name"] for column in version.columns]
    for name in columns:
        if name not in has:
            raise InvalidInputError(
                f"{flow.target} has no column {name!r}{did_you_mean(name, has)}", next_step=f"it has: {', '.join(has)}"
            )
    return Target(flow=flow, columns=columns, is_key=bool(set(columns) & set(version.key_columns)))
