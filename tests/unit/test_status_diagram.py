"""The reference page shows the table that the code obeys. `UPDATE_DOCS=1 make test TESTS=<this file>` draws it anew."""

from __future__ import annotations

import os
import re
from pathlib import Path

from optaic.domain.status import TRANSITIONS, WORST_FIRST, RunStatus

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "run-status.md"
_DRAWN = re.compile(r"(<!-- drawn from [^\n]* -->\n).*?(<!-- the end of what is drawn -->)", re.DOTALL)
_ROW = re.compile(r"^\| (\w+) \| (\w+) \|", re.MULTILINE)


def diagram() -> str:
    """Draw the table as a mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {RunStatus.PENDING}"]
    for status, following in TRANSITIONS.items():
        lines += [f"    {status} --> {after}" for after in RunStatus if after in following]
    lines += [f"    {status} --> [*]" for status in RunStatus if status.is_terminal]
    return "\n".join(["```mermaid", *lines, "```", ""])


def test_page_shows_the_transitions_of_the_code() -> None:
    page = PAGE.read_text()
    drawn, count = _DRAWN.subn(lambda match: match.group(1) + diagram() + match.group(2), page)
    assert count == 1
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(drawn)
    assert PAGE.read_text() == drawn, "the table has changed: UPDATE_DOCS=1"


def test_page_explains_each_transition_once() -> None:
    explained = _ROW.findall(PAGE.read_text().split("## What moves a run")[1])
    assert sorted(row for row in explained if row != ("from", "to")) == sorted(
        (before.value, after.value) for before, following in TRANSITIONS.items() for after in following
    )


def test_page_gives_the_order_of_flow_statuses() -> None:
    assert ", ".join(f"`{status}`" for status in WORST_FIRST) in PAGE.read_text()
