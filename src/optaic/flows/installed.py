"""What may be called of installed packages, where a config names it: classes, and no functions."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from typing import Any

from optaic.errors import InvalidInputError, NotFoundError
from optaic.flows.code import CodeLocation, find_statement, locate
from optaic.flows.module import Module, bindings, source_of

_MAX_BASES = 100
"""So many bases of a class are followed."""

_NO_MODELS = frozenset({"ClusterMixin", "OutlierMixin", "DensityMixin", "BiclusterMixin"})
_MODELS = frozenset({"RegressorMixin", "ClassifierMixin"})


def refuse_function(location: CodeLocation) -> None:
    """Refuse a function of an installed package as far as its source shows it; nothing is imported.

    A function takes params from the config, and some take code. The project's own functions are its own code.

    Raises
    ------
    InvalidInputError
        If the name is bound to a function of an installed package.
    """
    if location.module.provider is not None and isinstance(find_statement(location)[1], ast.FunctionDef):
        raise _no_class(location)


def check_class(location: CodeLocation, found: Callable[..., Any]) -> None:
    """Refuse what is no class of an installed package, before it is called; in a run's own process only.

    Classes that a package only imports from Python itself are refused too.

    Raises
    ------
    InvalidInputError
        If it is of an installed package, and no class of its own.
    """
    if location.module.provider is None:
        return
    top = getattr(found, "__module__", "").partition(".")[0]
    if not isinstance(found, type) or top in sys.stdlib_module_names:
        raise _no_class(location)


def refuse_no_model(location: CodeLocation) -> None:
    """Refuse a class of an installed package whose source shows that it is no model; nothing is imported.

    Raises
    ------
    InvalidInputError
        If neither it nor any of its bases can predict, or if it groups or finds outliers and predicts no target.
    """
    module, statement = find_statement(location)
    if location.module.provider is None or module is None or not isinstance(statement, ast.ClassDef):
        return
    classes, is_whole = _ancestry(location, module, statement)
    names = {one.name for one in classes}
    if names & _MODELS:
        return
    if names & _NO_MODELS or (is_whole and not any(_has(one, "predict") for one in classes)):
        raise InvalidInputError(
            f"{location.code_ref} is neither a regressor nor a classifier, so it is no model",
            next_step="name a regressor or a classifier, or write a class in the project that predicts with this one",
        )


def _no_class(location: CodeLocation) -> InvalidInputError:
    return InvalidInputError(
        f"{location.code_ref} is no class, and of installed packages only classes are called",
        next_step="name a class; or write a function in the project that calls this one",
    )


def _has(statement: ast.ClassDef, name: str) -> bool:
    """Whether a class itself has a method or an attribute of this name."""
    return any(
        (isinstance(node, ast.FunctionDef) and node.name == name)
        or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == name)
        for node in ast.walk(statement)
    )


def _ancestry(location: CodeLocation, module: Module, statement: ast.ClassDef) -> tuple[list[ast.ClassDef], bool]:
    """Give a class and its bases as they are written, up to one that says it is a model; and whether all were found."""
    waiting, classes, is_whole = [(module, statement)], list[ast.ClassDef](), True
    while waiting and len(classes) < _MAX_BASES:
        home, one = waiting.pop()
        classes.append(one)
        if one.name in _MODELS:
            return classes, False
        for base in one.bases:
            found = _base(base, home, location)
            if found is not None:
                waiting.append(found)
            elif ast.unparse(base) not in ("object", "ABC"):
                is_whole = False
    return classes, is_whole and not waiting


def _base(base: ast.expr, module: Module, location: CodeLocation) -> tuple[Module, ast.ClassDef] | None:
    """Find the statement that writes a base; None if it is not there as source, or named in another way."""
    if not isinstance(base, ast.Name):
        return None
    bound = bindings(module.tree).get(base.id)
    home: Module | None = module
    if isinstance(bound, ast.ImportFrom):
        attribute = next(one.name for one in bound.names if (one.asname or one.name) == base.id)
        try:
            home, bound = find_statement(locate(f"{source_of(module, bound)}:{attribute}", location.module.folder))
        except (InvalidInputError, NotFoundError):
            return None
    return (home, bound) if home is not None and isinstance(bound, ast.ClassDef) else None
