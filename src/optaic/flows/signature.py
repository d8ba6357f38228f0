"""The parameters of an optimiser, read from its source: what its class, or the function that makes it, takes."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

from optaic.domain.parameters import OPEN_SCHEMA, check_params, schema_of
from optaic.domain.suggestion import did_you_mean
from optaic.errors import InvalidInputError, NotFoundError
from optaic.flows.code import CodeLocation, find_statement, locate
from optaic.flows.installed import refuse_function
from optaic.flows.module import Module, bindings, source_of

PACKAGE = "skfolio"
"""The package whose optimisers may be named; beside it those of the project."""

GIVEN = frozenset(
    {
        "add_constraints",
        "add_objective",
        "efficient_frontier_size",
        "fallback",
        "overwrite_expected_return",
        "portfolio_params",
        "previous_weights",
        "raise_on_failure",
        "save_problem",
    }
)
"""Parameters of skfolio's optimisers that are no values of a project file, or that the product itself sets."""


def check_optimizer(location: CodeLocation) -> None:
    """Refuse a definition that neither the project nor skfolio provides, and functions of skfolio.

    Raises
    ------
    InvalidInputError
        If it is from elsewhere, or its source shows a function.
    """
    name = location.module.name
    if location.module.provider is not None and name != PACKAGE and not name.startswith(f"{PACKAGE}."):
        raise InvalidInputError(
            f"{location.code_ref} is not an optimiser that may be used: those of {PACKAGE} and of the project are",
            next_step=f"name one of {PACKAGE}.optimization, or write a class in the project that makes this one",
        )
    refuse_function(location)


def optimizer_schema(location: CodeLocation, root: Path) -> dict[str, Any]:
    """Read the parameter schema of an optimiser; nothing is imported or executed.

    Parameters
    ----------
    location
        Where its class is, or a function of the project that makes one.
    root
        The project's folder.

    Returns
    -------
    dict
        As `optaic.domain.parameters` describes it. A parameter that is annotated with an enumeration takes the names
        of its members. Open where the signature cannot be read.

    Raises
    ------
    InvalidInputError
        If it may not be used, or its source cannot be parsed.
    NotFoundError
        If skfolio has none of this name.
    """
    check_optimizer(location)
    module, statement = find_statement(location)
    function = statement
    if isinstance(statement, ast.ClassDef):
        function = _initializer(statement)
    elif isinstance(statement, ast.FunctionDef):
        function = copy.deepcopy(statement)  # as a method: it has no context to leave out
        place = function.args.posonlyargs or function.args.args
        place.insert(0, ast.arg(arg="self"))
    is_own = location.module.provider is None
    if statement is None and module is not None and not is_own:
        # Packages that serve old names by a function have them all, as far as their source says.
        known = [name for name, one in bindings(module.tree).items() if not isinstance(one, ast.Import | ast.Assign)]
        raise NotFoundError(
            f"module {location.module.name} has no optimiser {location.attribute!r}"
            f"{did_you_mean(location.attribute, known)}",
            next_step="name one of the classes of skfolio.optimization",
        )
    if module is None or not isinstance(function, ast.FunctionDef):
        return dict(OPEN_SCHEMA)
    schema = schema_of(function, given=() if is_own else GIVEN)
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    for argument in arguments:
        entry = schema["params"].get(argument.arg)
        if entry is not None and "default" in entry and not is_own:
            # Defaults of a library are its own, and there are dozens: they are not written into the config.
            entry["default_text"] = repr(entry.pop("default"))
        members = _members(argument.annotation, module, root)
        if entry is not None and members:
            entry["type"] = f"Literal[{', '.join(map(repr, members))}]"
            if argument.annotation is not None and re.search(r"\bNone\b", ast.unparse(argument.annotation)):
                entry["type"] += " | None"
    return schema


_NEEDED = {
    "constraints": ("add_constraints", "cannot take constraints of gross or turnover", "take `constraints:` out"),
    "groups": ("groups", "has no groups", "take groups out of its inputs"),
    "expected_returns": ("prior_estimator", "uses no expected returns", "take expected_returns out of its inputs"),
}
"""By what is declared beside the params: the parameter that it needs, and what is said where there is none."""


def check_means(location: CodeLocation, declared: Collection[str], *, instance: str) -> None:
    """Refuse what an optimiser of skfolio has no means to keep or use; nothing is imported or executed.

    Parameters
    ----------
    location
        Where its class is; of those of the project only a fit can tell.
    declared
        `constraints`, and the roles of its inputs.
    instance
        For the message.

    Raises
    ------
    InvalidInputError
        If its class has no parameter for it.
    """
    module, statement = find_statement(location)
    if module is None or location.module.provider is None or not isinstance(statement, ast.ClassDef):
        return
    function = _initializer(statement)
    if function is None or function.args.kwarg is not None:
        return
    names = {one.arg for one in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)}
    for what, (needed, said, step) in _NEEDED.items():
        if what in declared and needed not in names:
            raise InvalidInputError(
                f"{instance}: {statement.name} {said}",
                next_step=f"{step}, or use skfolio.optimization:MeanRisk",
            )


def check_parts(params: Mapping[str, Any], root: Path, *, instance: str) -> None:
    """Check the estimators within params, `{definition: skfolio.prior:EmpiricalPrior, params: {...}}`, and theirs.

    Parameters
    ----------
    params
        Of the optimiser.
    root
        The project's folder.
    instance
        Whose they are, for messages.

    Raises
    ------
    InvalidInputError
        If one may not be used, or has a param that it does not take.
    NotFoundError
        If there is none of that name.
    """
    for name, value in params.items():
        if isinstance(value, Mapping) and "definition" in value:
            part = cast("Mapping[str, Any]", value)
            what = f"{instance}: {name}"
            unknown = sorted(set(part) - {"definition", "params"})
            if unknown:
                raise InvalidInputError(
                    f"{what} has no field {unknown[0]!r}", next_step="its fields: definition, params"
                )
            schema = optimizer_schema(locate(str(part["definition"]), root), root)
            check_parts(check_params(schema, part.get("params") or {}, instance=what), root, instance=what)


def _initializer(statement: ast.ClassDef) -> ast.FunctionDef | None:
    return next((one for one in statement.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)


def _members(annotation: ast.expr | None, module: Module, root: Path) -> list[str]:
    """Give the names of the members of the enumerations that an annotation names."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            annotation = ast.parse(annotation.value, mode="eval").body
        except SyntaxError:
            return []
    found: list[str] = []
    parts = [annotation] if annotation is not None else []
    while parts:
        part = parts.pop(0)
        if isinstance(part, ast.BinOp):
            parts = [part.left, part.right, *parts]
        elif isinstance(part, ast.Name):
            found += [name for name in _enumeration(part.id, module, root) if name not in found]
    return found


def _is_enumeration(statement: ast.ClassDef, module: Module) -> bool:
    """Whether a class, or one of its bases in the same module, is based on what is called an enumeration."""
    for base in statement.bases:
        name = ast.unparse(base)
        bound = bindings(module.tree).get(name)
        if "Enum" in name or (
            isinstance(bound, ast.ClassDef) and bound is not statement and _is_enumeration(bound, module)
        ):
            return True
    return False


def _enumeration(name: str, module: Module, root: Path) -> list[str]:
    """Give the members of an enumeration that a module defines or imports; none if the name is something else."""
    bound = bindings(module.tree).get(name)
    if isinstance(bound, ast.ImportFrom):
        source = source_of(module, bound)
        attribute = next(alias.name for alias in bound.names if (alias.asname or alias.name) == name)
        try:
            home, bound = find_statement(locate(f"{source}:{attribute}", root)) if source else (None, None)
        except (InvalidInputError, NotFoundError):
            return []
        module = home or module
    if not isinstance(bound, ast.ClassDef) or not _is_enumeration(bound, module):
        return []
    targets = [one.targets[0] for one in bound.body if isinstance(one, ast.Assign)]
    return [target.id for target in targets if isinstance(target, ast.Name) and not target.id.startswith("_")]
