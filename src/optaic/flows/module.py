"""Python modules as text: where they are, what they import and define. Nothing is imported or executed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from optaic.errors import InvalidInputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """The source of a module.

    Attributes
    ----------
    name
        Dotted, from the folder that it is imported from.
    path
        Its file.
    content
        Its bytes, with Unix line ends, so that a checkout on Windows has the same identity.
    tree
        Its syntax tree.
    """

    name: str
    path: Path
    content: bytes
    tree: ast.Module

    @property
    def package(self) -> list[str]:
        """The parts of the name that its relative imports start from."""
        parts = self.name.split(".")
        return parts if self.path.name == "__init__.py" else parts[:-1]


def find_module(folder: Path, name: str) -> Path | None:
    """Find the file of a module below a folder; None if there is none."""
    stem = folder.joinpath(*name.split("."))
    places = (stem / "__init__.py", stem.with_name(f"{stem.name}.py"))
    return next((path for path in places if path.is_file()), None)


def read_module(name: str, path: Path, *, shown: str) -> Module:
    """Read and parse a module.

    Parameters
    ----------
    name, path
        Its dotted name and its file.
    shown
        What messages call the file.

    Raises
    ------
    InvalidInputError
        If it cannot be read, or is not Python; the message has the line.
    """
    try:
        content = path.read_bytes().replace(b"\r\n", b"\n")
    except OSError as error:
        raise InvalidInputError(f"{shown} cannot be read: {error.strerror}") from None
    try:
        tree = ast.parse(content, filename=shown)
    except SyntaxError as error:
        place = f"{shown}:{error.lineno}" if error.lineno else shown
        raise InvalidInputError(f"{place}: {error.msg}", next_step="correct the line; nothing was executed") from None
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes; nesting beyond the parser
        raise InvalidInputError(f"{shown} is not Python source: {error}") from None
    return Module(name=name, path=path, content=content, tree=tree)


def top_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """Go through the statements that bind names of a module: also those within `if`, `try` and `with`."""
    waiting: list[ast.stmt] = list(tree.body)
    while waiting:
        statement = waiting.pop(0)
        yield statement
        for block in ("body", "orelse", "finalbody"):
            if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                waiting.extend(getattr(statement, block, ()))
        for handler in getattr(statement, "handlers", ()):
            waiting.extend(handler.body)
        for case in getattr(statement, "cases", ()):
            waiting.extend(case.body)


def bindings(tree: ast.Module) -> dict[str, ast.stmt]:
    """Give the names that a module binds at its top level, each with the last statement that binds it."""
    found: dict[str, ast.stmt] = {}
    for statement in top_level(tree):
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[statement.name] = statement
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            for alias in statement.names:
                found[alias.asname or alias.name.partition(".")[0]] = statement
        else:
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    found.setdefault(node.id, statement)
    return found


def source_of(module: Module, statement: ast.ImportFrom) -> str:
    """Give the dotted name of the module that a `from ... import` takes from; empty if it leads out of the package."""
    if statement.level == 0:
        return statement.module or ""
    package = module.package
    kept = len(package) - statement.level + 1
    if kept < 1:
        return ""
    return ".".join([*package[:kept], *((statement.module,) if statement.module else ())])


def imported_names(module: Module) -> set[str]:
    """Give the dotted names that a module may import, at its top level or inside functions, packages included.

    Of `from a import b`, `b` may be a module or not: both `a` and `a.b` are given. `import_module("a.b")` counts when
    its argument is a plain text.
    """
    found: set[str] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = source_of(module, node)
            if source:
                found.update((source, *(f"{source}.{alias.name}" for alias in node.names if alias.name != "*")))
        elif isinstance(node, ast.Call) and node.args:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            first = node.args[0]
            if name in {"import_module", "__import__"} and isinstance(first, ast.Constant):
                found.update({first.value} if isinstance(first.value, str) and first.value[:1] != "." else ())
    return {prefix for name in found for prefix in prefixes(name)}


def prefixes(name: str) -> list[str]:
    """Give a dotted name and the packages that it is in, outermost first: `a.b.c` gives `a`, `a.b`, `a.b.c`."""
    parts = name.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def names_beside(folder: Path, name: str) -> list[str]:
    """Give the modules of the package that a module would be in: what may have been meant."""
    package, _, _ = name.rpartition(".")
    place = folder.joinpath(*package.split(".")) if package else folder
    if not place.is_dir():
        return names_beside(folder, package) if package else []
    prefix = f"{package}." if package else ""
    stems = {path.stem for path in place.glob("*.py")} | {path.parent.name for path in place.glob("*/__init__.py")}
    return sorted(prefix + stem for stem in stems if stem.isidentifier() and stem != "__init__")
