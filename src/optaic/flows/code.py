"""The identity of code: where a definition's source is, its parameters, its digest, and loading it in the runner."""

from __future__ import annotations

import ast
import hashlib
import importlib
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from optaic.domain.fingerprint import digest_of
from optaic.domain.parameters import OPEN_SCHEMA, START, schema_of
from optaic.domain.suggestion import closest
from optaic.domain.usage import with_used_params
from optaic.errors import CodeChangedError, InvalidInputError, NotFoundError, SecretMissingError
from optaic.flows.importing import import_from
from optaic.flows.lookup import ModuleFile, look_up
from optaic.flows.module import Module, bindings, find_module, imported_names, prefixes, read_module, source_of
from optaic.flows.secret import REFERENCE
from optaic.flows.source import SourceSnapshot, source_snapshot

__all__ = [
    "CodeLocation",
    "SourceSnapshot",
    "code_digest",
    "find_statement",
    "load_definition",
    "locate",
    "params_schema",
    "resolve_secrets",
    "source_snapshot",
]

MAX_HOPS = 10
"""How many names a definition is followed through from where it is named to where it is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeLocation:
    """Where a definition is.

    Attributes
    ----------
    code_ref
        `package.module:attribute`.
    module
        The module's file, and who provides it.
    attribute
        The name in the module.
    """

    code_ref: str
    module: ModuleFile
    attribute: str

    @property
    def path(self) -> Path:
        """The module's file."""
        return self.module.path

    @property
    def distribution(self) -> str | None:
        """The installed distribution that provides it; None if the project does."""
        return self.module.provider.name if self.module.provider else None

    @property
    def distribution_version(self) -> str | None:
        """That distribution's version."""
        return self.module.provider.version if self.module.provider else None


def locate(code_ref: str, root: Path) -> CodeLocation:
    """Find a definition without importing anything.

    Parameters
    ----------
    code_ref
        `package.module:attribute`, in the project or in an installed distribution.
    root
        The project's folder.

    Raises
    ------
    InvalidInputError
        If it is not written so, is no function, lies in Python itself or outside, or its module cannot be parsed.
    NotFoundError
        If there is no such module, or it has no such attribute.
    """
    name, colon, attribute = code_ref.partition(":")
    if not colon or not attribute.isidentifier() or not all(part.isidentifier() for part in name.split(".")):
        raise InvalidInputError(
            f"{code_ref[:200]!r} does not name a definition",
            next_step="write package.module:function, such as sources:prices",
        )
    location = CodeLocation(code_ref=code_ref, module=look_up(name, root), attribute=attribute)
    if location.module.is_source:
        _check_attribute(location, _read(location, name, location.path))
    return location


def code_digest(location: CodeLocation) -> str:
    """Digest the code of a definition.

    It covers the code_ref, name and version of the distribution that provides it, the module that writes the
    definition, and for code of the project (or of a distribution that is installed in place) all modules of the same
    folder that it imports, through each other and inside functions too, with the packages that they lie in. It is the
    same on every machine and in every folder. Files that the code reads as data, and the versions of other libraries
    that it uses, are no part of it.

    Returns
    -------
    str
        SHA-256, as 64 hexadecimal digits.

    Raises
    ------
    InvalidInputError
        If a module cannot be read or parsed.
    """
    folder = location.module.folder
    files = {
        path.relative_to(folder).as_posix(): hashlib.sha256(content).hexdigest()
        for path, content in _closure(location).values()
    }
    provider = location.module.provider
    return digest_of(
        {
            "code_ref": location.code_ref,
            "distribution": [provider.name, provider.version] if provider else None,
            "files": files,
        }
    )


def params_schema(
    location: CodeLocation, *, given: Collection[str] = (START,), takes_context: bool = True
) -> dict[str, Any]:
    """Read the parameter schema of a definition from its source; nothing is executed.

    Parameters
    ----------
    location
        Where it is.
    given
        Parameters that the flow itself passes, and users do not set.
    takes_context
        Whether it is called with the run's context first. If not, it may be a class too, that of an estimator.

    Returns
    -------
    dict
        As `optaic.domain.parameters` describes it; open where the signature cannot be read so: a class, a name that is
        computed, `**params`.

    Raises
    ------
    InvalidInputError
        If the function takes no context, or its module cannot be parsed.
    """
    found = _trail(location)[1] if location.module.is_source else None
    if not takes_context:
        return _constructor_schema(found)
    return (
        with_used_params(schema_of(found, given=given), found)
        if isinstance(found, ast.FunctionDef)
        else dict(OPEN_SCHEMA)
    )


def _constructor_schema(found: ast.stmt | None) -> dict[str, Any]:
    """Read what makes an object: a class by its own `__init__`, or a function."""
    if isinstance(found, ast.ClassDef):
        own = (one for one in found.body if isinstance(one, ast.FunctionDef) and one.name == "__init__")
        made = next(own, None)
        return dict(OPEN_SCHEMA) if made is None else schema_of(made, given=())
    if not isinstance(found, ast.FunctionDef):
        return dict(OPEN_SCHEMA)
    arguments = found.args
    first = [ast.arg(arg="self"), *arguments.args]  # where a method or a flow has what it is called on
    described = ast.arguments(
        posonlyargs=arguments.posonlyargs,
        args=first,
        vararg=arguments.vararg,
        kwonlyargs=arguments.kwonlyargs,
        kw_defaults=arguments.kw_defaults,
        kwarg=arguments.kwarg,
        defaults=arguments.defaults,
    )
    return schema_of(ast.FunctionDef(name=found.name, args=described, body=[], decorator_list=[]), given=())


def find_statement(location: CodeLocation) -> tuple[Module | None, ast.stmt | None]:
    """Find the statement that writes a definition, and the module that it stands in; nothing is executed.

    Returns
    -------
    tuple of (Module or None, ast.stmt or None)
        None where its name cannot be followed so far, or it is not there as source.

    Raises
    ------
    InvalidInputError
        If a module cannot be read or parsed.
    """
    if not location.module.is_source:
        return None, None
    trail, statement = _trail(location)
    return trail[-1], statement


def load_definition(code_ref: str, root: Path) -> Callable[..., Any]:
    """Import a definition; in a run's own process only.

    Parameters
    ----------
    code_ref
        `package.module:attribute`.
    root
        The project's folder; becomes the first place where modules are looked for. Its modules are compiled from their
        source as it is now.

    Raises
    ------
    InvalidInputError
        As `locate` does, and if the attribute is no function.
    NotFoundError
        As `locate` does, and if the module has no such attribute once it is executed.
    CodeChangedError
        If Python imports another file than the one that was located.
    """
    location = locate(code_ref, root)
    import_from(root)
    if location.module.provider is None:
        for name in _closure(location):
            sys.modules.pop(name, None)
    module = importlib.import_module(location.module.name)
    imported = getattr(module, "__file__", None)
    if imported is None or Path(imported).resolve() != location.path.resolve():
        raise CodeChangedError(
            f"{location.module.name} was imported from {imported}, not from {location.path}",
            next_step="rename the module: another one of this name is in its way",
        )
    found = getattr(module, location.attribute, None)
    if found is None:
        raise NotFoundError(f"module {location.module.name} has no function {location.attribute!r}")
    if not callable(found):
        raise InvalidInputError(f"{code_ref} is a {type(found).__name__}, not a function")
    return cast("Callable[..., Any]", found)


def resolve_secrets(params: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """Replace each `${env:NAME}` in parameters by the variable's value; in a run's own process only.

    Parameters
    ----------
    params
        JSON values by name.
    environ
        The process's environment.

    Raises
    ------
    SecretMissingError
        If a variable is not set; it names variable and parameter, never a value.
    """
    return {name: _resolve(value, name, environ) for name, value in params.items()}


def _resolve(value: Any, place: str, environ: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for name in REFERENCE.findall(value):
            if name not in environ:
                raise SecretMissingError(
                    f"parameter {place} needs the environment variable {name}, which is not set",
                    next_step=f"set {name} where runs are executed, then run it again",
                )
        return REFERENCE.sub(lambda match: environ[match[1]], value)
    if isinstance(value, Mapping):
        pairs = cast("Mapping[str, Any]", value).items()
        return {key: _resolve(inner, f"{place}.{key}", environ) for key, inner in pairs}
    if isinstance(value, list | tuple):
        items = cast("list[Any]", value)
        return [_resolve(inner, f"{place}[{number}]", environ) for number, inner in enumerate(items)]
    return value


def _read(location: CodeLocation, name: str, path: Path) -> Module:
    return read_module(name, path, shown=path.relative_to(location.module.folder).as_posix())


def _check_attribute(location: CodeLocation, module: Module) -> None:
    """Refuse an attribute that the module cannot have, or that is plainly no function."""
    names = bindings(module.tree)
    bound = names.get(location.attribute)
    if bound is None:
        if "*" in names or "__getattr__" in names:
            return  # what it has is known only by executing it
        functions = [name for name, node in names.items() if not isinstance(node, ast.Import)]
        meant = closest(location.attribute, [name for name in functions if not name.startswith("_")])
        next_step = "name one of its functions, or write this one"
        if meant is not None:
            next_step = f"write {module.name}:{meant}"
        elif location.distribution is not None:
            next_step = f"name a function or a class that {location.distribution} documents in {module.name}"
        raise NotFoundError(
            f"module {module.name} has no function {location.attribute!r}"
            f"{'' if meant is None else f'; did you mean {meant!r}?'}",
            next_step=next_step,
        )
    value = bound.value if isinstance(bound, ast.Assign | ast.AnnAssign) else None
    if isinstance(value, ast.Constant | ast.List | ast.Dict | ast.Set | ast.Tuple):
        raise InvalidInputError(f"{location.code_ref} is a value, not a function", next_step="name a function")
    if isinstance(bound, ast.AsyncFunctionDef):
        raise InvalidInputError(
            f"{location.code_ref} is a coroutine function; a definition is a plain one", next_step="write it with `def`"
        )


def _trail(location: CodeLocation) -> tuple[list[Module], ast.stmt | None]:
    """Follow a definition's name, through imports and other names, to the statement that writes it.

    Gives the modules on the way, and the statement; None if it cannot be followed that far.
    """
    name, path, attribute = location.module.name, location.path, location.attribute
    trail: list[Module] = []
    for _ in range(MAX_HOPS):
        module = _read(location, name, path)
        trail.append(module)
        bound = bindings(module.tree).get(attribute)
        if isinstance(bound, ast.Assign) and isinstance(bound.value, ast.Name):
            attribute = bound.value.id
        elif isinstance(bound, ast.ImportFrom):
            name = source_of(module, bound)
            attribute = next(alias.name for alias in bound.names if (alias.asname or alias.name) == attribute)
            found = find_module(location.module.folder, name) if name else None
            if found is None:
                return trail, None
            path = found
        else:
            return trail, bound
    return trail, None


def _closure(location: CodeLocation) -> dict[str, tuple[Path, bytes]]:
    """Give, by name, file and content of the modules that the digest covers."""
    provider = location.module.provider
    if not location.module.is_source:
        return {}  # compiled for one machine; the version of its distribution speaks for it
    found: dict[str, tuple[Path, bytes]] = {}
    waiting = prefixes(location.module.name)
    if provider is not None and not provider.is_editable:
        # The version of a distribution speaks for its code, unless its source can be edited in place.
        return {module.name: (module.path, module.content) for module in _trail(location)[0]}
    while waiting:
        name = waiting.pop()
        path = None if name in found else find_module(location.module.folder, name)
        if path is None:
            continue
        module = _read(location, name, path)
        found[name] = (path, module.content)
        waiting.extend(imported_names(module))
    return found
