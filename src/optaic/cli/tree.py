"""Trees on a terminal: drawn with box characters, without recursion."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Branch:
    """A line of a tree, and what hangs below it; `cells` stand beside it in a table."""

    text: str
    cells: tuple[str, ...] = ()
    below: list[Branch] = field(default_factory=list["Branch"])


@dataclass(frozen=True, slots=True)
class Drawn:
    """A branch with what stands before its first line, and before its further lines."""

    first: str
    rest: str
    branch: Branch


def draw(branches: Sequence[Branch]) -> Iterator[Drawn]:
    """Give the branches of a tree with their guides, in order of reading."""
    last, middle, blank, line = ("└─ ", "├─ ", "   ", "│  ") if _has_boxes() else ("`- ", "|- ", "   ", "|  ")
    stack = [(branch, "", index == len(branches) - 1) for index, branch in enumerate(branches)][::-1]
    while stack:
        branch, before, is_last = stack.pop()
        below = before + (blank if is_last else line)
        yield Drawn(before + (last if is_last else middle), below + (line if branch.below else ""), branch)
        count = len(branch.below)
        stack.extend((child, below, index == count - 1) for index, child in reversed(list(enumerate(branch.below))))


def _has_boxes() -> bool:
    try:
        "└├│─".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
