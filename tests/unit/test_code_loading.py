"""What a definition takes, read without executing it; and loading it, which executes the code of now and no other."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from optaic.errors import FlowError, InvalidInputError, NotFoundError
from optaic.flows.code import load_definition, locate, params_schema, resolve_secrets


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    write(root, "pkg/__init__.py", "")
    write(root, "pkg/helper.py", "value = 1\n")
    write(root, "pkg/unused.py", "")
    return root


@pytest.fixture
def imports() -> Iterator[None]:
    """Undo what a test imports."""
    path, hooks, modules = list(sys.path), list(sys.path_hooks), set(sys.modules)
    yield
    sys.path[:], sys.path_hooks[:] = path, hooks
    sys.path_importer_cache.clear()
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


# ----------------------------------------------------------------------------------------------------- parameters


def schema(root: Path, text: str, name: str = "f") -> dict[str, object]:
    write(root, "mine.py", text)
    return params_schema(locate(f"mine:{name}", root))


def test_parameters_are_read_from_the_signature(root: Path) -> None:
    assert schema(root, "def f(ctx, start=None, end: str = 'x', *, n: int): ...\n") == {
        "params": {
            "end": {"type": "str", "required": False, "default": "x"},
            "n": {"type": "int", "required": True},
        },
        "open": False,
    }


@pytest.mark.parametrize(
    "text",
    [
        "from functools import partial\nf = partial(print)\n",
        "class f:\n    def __init__(self, n): ...\n",
        "from polars import col as f\n",
        "from nowhere import f\n",
        "from pkg.unused import *\n",
        "def __getattr__(name): ...\n",
        "f = f2 = lambda ctx: 1\n",
    ],
)
def test_what_cannot_be_read_takes_any_parameter(root: Path, text: str) -> None:
    assert schema(root, text)["open"] is True


@pytest.mark.parametrize(
    "text",
    [
        "from pkg.unused import g as f\n",
        "from pkg import unused\nfrom pkg.unused import g\nf = g\n",
        "try:\n    from pkg.unused import g as f\nexcept ImportError:\n    raise\n",
    ],
)
def test_parameters_are_read_also_where_the_function_is_from_another_module(root: Path, text: str) -> None:
    write(root, "pkg/unused.py", "def g(ctx, *, n: int): ...\n")
    assert schema(root, text) == {"params": {"n": {"type": "int", "required": True}}, "open": False}


def test_a_module_that_imports_itself_is_not_followed_for_ever(root: Path) -> None:
    assert schema(root, "from mine import f\n")["open"] is True


ANY = {"type": "Any", "required": False}


@pytest.mark.parametrize(
    ("body", "params", "is_open"),
    [
        ("ctx.params['n']", {"n": ANY}, False),
        ("ctx.params.get('n', 3)", {"n": ANY}, False),
        ("'n' in ctx.params", {"n": ANY}, False),
        ("ctx.progress(1); ctx.log.info('x')", {}, False),
        ("dict(ctx.params)", {}, True),
        ("ctx.params[name]", {}, True),
        ("ctx.params.items()", {}, True),
        ("helper(ctx)", {}, True),
        ("[ctx.params['a'] for _ in ctx.params['b']]", {"a": ANY, "b": ANY}, False),
    ],
)
def test_parameters_that_are_read_from_the_context_are_known_too(
    root: Path, body: str, params: dict[str, object], is_open: bool
) -> None:
    assert schema(root, f"def f(ctx, start=None):\n    {body}\n") == {"params": params, "open": is_open}


def test_a_declared_parameter_keeps_its_type_when_it_is_read_from_the_context_as_well(root: Path) -> None:
    text = "def f(ctx, *, n: int = 1):\n    helper(ctx)\n    ctx.params['n'], ctx.params['m']\n"
    assert schema(root, text) == {
        "params": {"n": {"type": "int", "required": False, "default": 1}, "m": ANY},
        "open": False,
    }


# -------------------------------------------------------------------------------------------------------- loading


@pytest.mark.usefixtures("imports")
def test_a_definition_is_loaded_from_the_file_that_was_located(root: Path) -> None:
    write(root, "mine.py", "from pkg.helper import value\ndef f(ctx): return value\n")
    assert load_definition("mine:f", root)(None) == 1


@pytest.mark.usefixtures("imports")
def test_what_is_loaded_is_the_code_of_now_whatever_python_has_cached(root: Path) -> None:
    # Same size, same time stamp: Python's own cache takes it for unchanged.
    for value in "12":
        write(root, "pkg/fresh.py", f"value = {value}\n")
        write(root, "mine.py", "from pkg.fresh import value\ndef f(ctx): return value\n")
        for name in ("pkg/fresh.py", "mine.py"):
            os.utime(root / name, (1_700_000_000, 1_700_000_000))
        assert load_definition("mine:f", root)(None) == int(value)


@pytest.mark.usefixtures("imports")
def test_projects_with_modules_of_one_name_do_not_meet(root: Path, tmp_path: Path) -> None:
    for number, folder in enumerate((root, tmp_path / "second")):
        write(folder, "mine.py", f"def f(ctx): return {number}\n")
        assert load_definition("mine:f", folder)(None) == number


@pytest.mark.usefixtures("imports")
def test_what_the_module_makes_of_the_name_must_be_a_function(root: Path) -> None:
    write(root, "mine.py", "f = int('3')\ng = print\ndel g\n")
    with pytest.raises(InvalidInputError, match="mine:f is a int, not a function"):
        load_definition("mine:f", root)
    with pytest.raises(NotFoundError, match="has no function 'g'"):
        load_definition("mine:g", root)


@pytest.mark.usefixtures("imports")
def test_what_a_module_raises_when_it_is_imported_comes_through(root: Path) -> None:
    write(root, "mine.py", "def f(ctx): ...\n1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        load_definition("mine:f", root)


@pytest.mark.usefixtures("imports")
@pytest.mark.parametrize("code_ref", ["os:system", "builtins:eval", "subprocess:run"])
def test_nothing_of_python_itself_is_ever_loaded_as_a_definition(root: Path, code_ref: str) -> None:
    with pytest.raises(InvalidInputError):
        load_definition(code_ref, root)


@pytest.mark.usefixtures("imports")
def test_the_products_own_definitions_can_be_loaded(root: Path) -> None:
    assert load_definition("optaic.sources:sp500_prices", root).__name__ == "sp500_prices"


# -------------------------------------------------------------------------------------------------------- secrets


def test_secrets_are_put_in_wherever_they_stand() -> None:
    params = {"n": 1, "token": "${env:TOKEN}", "deep": {"urls": ["https://u:${env:TOKEN}@h/${env:DB}", None]}}
    assert resolve_secrets(params, {"TOKEN": "a${env:DB}", "DB": "d"}) == {
        "n": 1,
        "token": "a${env:DB}",
        "deep": {"urls": ["https://u:a${env:DB}@h/d", None]},
    }
    assert params["token"] == "${env:TOKEN}"


def test_a_secret_that_is_missing_is_named_and_no_value_is() -> None:
    with pytest.raises(FlowError, match=r"parameter deep\.urls\[1\] needs the environment variable DB") as caught:
        resolve_secrets({"deep": {"urls": ["${env:TOKEN}", "${env:DB}"]}}, {"TOKEN": "hunter22"})
    assert caught.value.code == "secret_missing"
    assert caught.value.next_step
    assert "hunter22" not in f"{caught.value.message}{caught.value.next_step}"
