"""The house's own gates on source files: those that no linter has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.repository import PACKAGE, place, python_files

MAX_LINES = 400
_IGNORES = re.compile(r"#\s*(?:type|pyright):\s*ignore")
_WAIVER = re.compile(r"#\s*noqa(?!: [A-Z]+[0-9]+(?:, ?[A-Z]+[0-9]+)* - \S)")
_SECTION = re.compile(r"^Raises\n-{6,}\n(.*?)(?=^\S[^\n]*\n-{3,}$|\Z)", re.MULTILINE | re.DOTALL)
_NAMES = re.compile(r"^(\w[\w., ]*)$", re.MULTILINE)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def test_no_file_is_longer_than_anybody_wants_to_open() -> None:
    long = {
        place(path, count)
        for path in python_files("src", "tests", "benchmarks", "examples")
        if "migrations" not in path.parts and (count := len(path.read_text().splitlines())) > MAX_LINES
    }
    assert not long, f"above {MAX_LINES} lines: a file this long is two files"


def test_type_checker_is_never_told_to_look_away() -> None:
    found = _matches(_IGNORES)
    assert not found, "mend what the type checker found, or give the untyped value its type where it enters"


def test_each_waived_lint_says_why() -> None:
    found = _matches(_WAIVER)
    assert not found, "write `noqa: CODE - why`"


def _matches(pattern: re.Pattern[str]) -> list[str]:
    return [
        place(path, number)
        for path in python_files("src", "tests", "benchmarks", "examples")
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if pattern.search(line)
    ]


@pytest.mark.parametrize(
    "path",
    # The docstring of a command is its help text.
    [path for path in python_files("src") if "migrations" not in path.parts and "cli" not in path.parts],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_docstrings_name_the_errors_that_are_raised(path: Path) -> None:
    missing = [
        f"{place(path, line)}: {function.name} raises {error}"
        for function in _public_functions(ast.parse(path.read_text()))
        for error, line in _raised(function)
        if error not in documented_errors(ast.get_docstring(function) or "")
    ]
    assert not missing, "name each error, with its condition, in the Raises section"


def test_gate_reads_docstrings_as_people_write_them() -> None:
    text = (
        "Do it.\n\nRaises\n------\nNotFoundError, ConflictError\n    If not.\nLedgerError\n    If so.\n\n"
        "Notes\n-----\nOther\n"
    )
    assert documented_errors(text) == {"NotFoundError", "ConflictError", "LedgerError"}
    assert documented_errors("Raise a NotFoundError.") == set()


def test_gate_sees_errors_in_the_function_itself_only() -> None:
    tree = ast.parse(
        "def f():\n"
        "    if x:\n        raise NotFoundError('a')\n"
        "    def inner():\n        raise ConflictError\n"
        "    raise click.UsageError('b') from None\n"
        "def _private():\n    raise LedgerError\n"
    )
    assert [error for function in _public_functions(tree) for error, _ in _raised(function)] == [
        "NotFoundError",
        "UsageError",
    ]


def documented_errors(docstring: str) -> set[str]:
    section = _SECTION.search(docstring)
    if section is None:
        return set()
    return {name.strip() for line in _NAMES.findall(section.group(1)) for name in line.split(",")}


def _public_functions(tree: ast.Module | ast.ClassDef) -> Iterator[Function]:
    for node in tree.body:
        if isinstance(node, Function) and not node.name.startswith("_"):
            yield node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _public_functions(node)


def _raised(node: ast.AST) -> Iterator[tuple[str, int]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(child, ast.Raise) and (name := _error_name(child.exc)):
            yield name, child.lineno
        yield from _raised(child)


def _error_name(node: ast.expr | None) -> str | None:
    """Name the class in `raise Class`, `raise Class(...)`, `raise module.Class(...)`; a variable has no known class."""
    if isinstance(node, ast.Call):
        node = node.func
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return name if name.endswith("Error") and name[0].isupper() else None
