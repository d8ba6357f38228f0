"""Constraints over groups and names, in skfolio's language: each is understood as a whole, or refused."""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from optaic.domain.suggestion import did_you_mean
from optaic.errors import InvalidInputError
from optaic.quant.constraint import Constraint

Floats = npt.NDArray[np.float64]

_OPERATORS = re.compile(r"[<>=]=|[-+*<>=]")
_SHOWN = 10
"""So many groups are named in a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What constraints may name, whether or not it can be held at this decision.

    Attributes
    ----------
    symbols
        Every name of which there is anything.
    groups
        Every group that any of them was ever in; None where no groups are read.
    """

    symbols: frozenset[str] = frozenset()
    groups: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Equation:
    """One of `linear_constraints`.

    Attributes
    ----------
    text
        As it is declared.
    constraint
        What it asks of the weights; of what cannot be held the coefficients are left out, for it has no weight.
    is_whole
        Whether all that it names can be held. skfolio leaves out all of an equation of which it finds a name nowhere.
    """

    text: str
    constraint: Constraint
    is_whole: bool


def read_equations(params: Mapping[str, Any], symbols: Sequence[str], names: Names | None = None) -> list[Equation]:
    """Read the `linear_constraints` of an estimator.

    Parameters
    ----------
    params
        Of the estimator: `linear_constraints` and `groups`; the names of `group_cardinalities` are checked too.
    symbols
        The names, in the order of the weights.
    names
        What else may be named; None for the symbols and their groups alone.

    Raises
    ------
    InvalidInputError
        If one names what is neither a group nor a symbol, or is no equation.
    """
    texts = [str(text) for text in params.get("linear_constraints") or ()]
    counted = cast("Mapping[str, Any]", params.get("group_cardinalities") or {})
    if not texts and not counted:
        return []
    levels = _levels(params.get("groups"), symbols)
    known = _all_names(params.get("groups"), levels, symbols, names or Names())
    for name in counted:
        if name not in _union(known):
            raise _unknown("group_cardinalities", str(name), known)
    return [_read(text, levels, symbols, known) for text in texts]


def replace_equations(params: Mapping[str, Any], equations: Sequence[Equation]) -> dict[str, Any]:
    """Give the params that make skfolio keep equations that name what cannot be held; it would leave them out.

    Parameters
    ----------
    params
        Of the estimator; without `left_inequality` and `right_inequality` there is nothing that could be done.
    equations
        Its own.

    Returns
    -------
    dict
        Those that change: as matrices what is left of such equations; empty if there are none.

    Notes
    -----
    An equation of which nothing is left is not among the matrices: it is kept by all weights, or by none.
    """
    partial = [one.constraint for one in equations if not one.is_whole]
    if not partial or "left_inequality" not in params or "right_inequality" not in params:
        return {}
    rows: list[Floats] = []
    limits: list[Floats] = []
    if params["left_inequality"] is not None and params["right_inequality"] is not None:
        rows.append(np.atleast_2d(np.asarray(params["left_inequality"], dtype=np.float64)))
        limits.append(np.asarray(params["right_inequality"], dtype=np.float64))
    for one in partial:
        if one.linear is None or not one.linear.any():
            continue
        signs = (1.0, -1.0) if one.sense == "equal" else (1.0,)
        rows += [sign * one.linear for sign in signs]
        limits += [sign * one.limits for sign in signs]
    return {
        "linear_constraints": [one.text for one in equations if one.is_whole] or None,
        "left_inequality": np.concatenate(rows) if rows else None,
        "right_inequality": np.concatenate(limits) if limits else None,
    }


def _levels(groups: Any, symbols: Sequence[str]) -> npt.NDArray[np.object_]:
    """Give the labels that skfolio sees: an array of shape (n_levels, n_symbols)."""
    names = np.array(symbols, dtype=object)
    if groups is None:
        return names[None, :]
    input_to_array: Any = importlib.import_module("skfolio.utils.tools").input_to_array
    try:
        found: Any = input_to_array(
            items=groups, n_assets=len(symbols), fill_value="", dim=2, assets_names=names, name="groups"
        )
    except ValueError as error:
        raise InvalidInputError(f"groups cannot be read: {error}", next_step="give groups by name") from error
    return np.asarray(found, dtype=object)


def _all_names(groups: Any, levels: npt.NDArray[np.object_], symbols: Sequence[str], names: Names) -> Names:
    """Add to what may be named what the estimator is given itself."""
    labels = {str(one) for one in levels.ravel().tolist() if one is not None} - {""}
    if isinstance(groups, Mapping):
        for one in cast("Mapping[str, Any]", groups).values():
            labels |= {one} if isinstance(one, str) else {str(label) for label in one}
    every = names.symbols | set(symbols)
    labels |= names.groups or set()
    return Names(symbols=every, groups=None if groups is None and names.groups is None else frozenset(labels - every))


def _union(names: Names) -> frozenset[str]:
    return names.symbols | (names.groups or frozenset())


def _read(text: str, levels: npt.NDArray[np.object_], symbols: Sequence[str], known: Names) -> Equation:
    is_whole = _matrices(levels, text) is not None
    found = _matrices(levels if is_whole else _with_absent(levels, text, symbols, known), text)
    if found is None:
        unknown = _unknown_terms(text, _union(known)) if re.search("[<>=]", text) else []
        if unknown:
            raise _unknown(f"linear_constraints: {text!r}", unknown[0], known)
        raise InvalidInputError(
            f"linear_constraints: {text[:100]!r} is no constraint", next_step='write it as "technology <= 0.3"'
        )
    is_equal, limits_equal, is_below, limits_below = found
    matrix, limits = (is_equal, limits_equal) if len(is_equal) else (is_below, limits_below)
    constraint = Constraint(
        name="groups",
        text=text,
        limits=np.asarray(limits, dtype=np.float64),
        linear=np.asarray(matrix, dtype=np.float64)[:, : len(symbols)],
        sense="equal" if len(is_equal) else "at_most",
    )
    return Equation(text=text, constraint=constraint, is_whole=is_whole)


def _matrices(levels: npt.NDArray[np.object_], text: str) -> tuple[Floats, Floats, Floats, Floats] | None:
    """Give the matrices of an equation; None where it names what the levels have not, or is none."""
    convert: Any = importlib.import_module("skfolio.utils.equations").equations_to_matrix
    exceptions: Any = importlib.import_module("skfolio.exceptions")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return convert(groups=levels, equations=[text], raise_if_group_missing=True)
    except (exceptions.GroupNotFoundError, exceptions.EquationToMatrixError):
        return None
    except exceptions.DuplicateGroupsError as error:
        raise InvalidInputError(f"groups cannot be read: {str(error)[:200]}") from error


def _with_absent(
    levels: npt.NDArray[np.object_], text: str, symbols: Sequence[str], known: Names
) -> npt.NDArray[np.object_]:
    """Add what an equation may name and nothing here is: a column for each, behind those of the symbols."""
    present = {str(one) for one in levels.ravel().tolist()}
    if not present.issuperset(symbols):
        levels = np.vstack([levels, np.array(symbols, dtype=object)])
        present |= set(symbols)
    absent = sorted(one for one in _union(known) if one in text and one not in present)
    # No label may be in two levels: what fills up the others is one of each level's own.
    columns = np.array([[f"\0{level}"] * len(absent) for level in range(len(levels))], dtype=object)
    if absent:
        columns[0] = absent
    return np.hstack([levels, columns.reshape(len(levels), len(absent))])


def _unknown_terms(text: str, known: Collection[str]) -> list[str]:
    """Give what an equation names beside numbers and what is known."""
    within = sorted((one for one in known if one and one in text), key=len, reverse=True)
    if within:
        choices = "|".join(map(re.escape, within))
        text = re.sub(rf"(^|[-+*<>=])\s*(?:{choices})\s*(?=$|[-+*<>=])", r"\1 ", text)
    terms = [part.strip() for part in _OPERATORS.split(text)]
    return [term for term in terms if term and not _is_number(term)]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _unknown(where: str, name: str, known: Names) -> InvalidInputError:
    shown = sorted(known.groups or ())
    if known.groups is None:
        step = "it reads no groups: add to its inputs groups: INSTANCE, or name symbols"
    else:
        more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
        step = f"name a symbol, or one of the groups: {', '.join(shown[:_SHOWN]) or 'there are none'}{more}"
    candidates = [*shown, *sorted(known.symbols)]
    return InvalidInputError(
        f"{where} names {name[:60]!r}, which is no group and no symbol{did_you_mean(name, candidates)}", next_step=step
    )
